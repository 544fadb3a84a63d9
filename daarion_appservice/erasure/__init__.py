"""Erasure of data subjects: first the data of the city, then that of the homeserver."""
