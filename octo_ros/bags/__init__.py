"""Recorded bags: reading, playing and cutting them, and replaying one through policy and safety filter."""
