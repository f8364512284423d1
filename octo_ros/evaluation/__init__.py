"""How often a policy does its task: episodes in the simulated cell, and what their number proves."""
