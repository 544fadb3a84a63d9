"""The commands of the command line: one module for each group, one function for each command."""
