"""Encrypted chats on Matrix: the requests, tasks and metrics around the engine of `daarion_appservice.encryption`."""
