"""Erasure of persons: first the data of the city, then that of the homeserver."""
