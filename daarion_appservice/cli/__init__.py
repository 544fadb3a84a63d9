"""The commands that work on a city: one module a group, one function a command."""
