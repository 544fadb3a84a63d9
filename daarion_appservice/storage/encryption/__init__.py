"""Repositories of the rows of encryption: accounts, devices, sessions, requests, and work that waits.

The rows themselves are dataclasses of `daarion_appservice.encryption.rows`. No repository reads a pickle or keeps one
after a call. A caller that keeps ratchets in memory must drop them when the leader lock is lost.
"""
