"""A whole city on one machine: a real homeserver, this service, and a separate process for five agents."""
