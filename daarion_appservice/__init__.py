"""The city's door to Matrix: an application service and the city's own API in one process."""

__version__ = "0.1.0"
