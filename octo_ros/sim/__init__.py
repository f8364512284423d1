"""Stand-ins for hardware: what a robot would do with the commands it is given."""
