"""A whole city on one machine: a real homeserver, this service, and five agents with a runtime of their own."""
