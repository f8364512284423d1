"""The verbs of the `octo_ros` command: each parses its arguments and calls one library function.

A module has `add(verbs)`, which describes the verb's arguments.
"""
