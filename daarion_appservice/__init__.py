"""A Matrix application service for Synapse and the HTTP API of the city, in one process."""

__version__ = "0.1.0"
