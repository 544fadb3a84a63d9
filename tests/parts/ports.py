"""Free ports on loopback."""

from __future__ import annotations

import random

from daarion_appservice.ops.ports import HOST, is_free

__all__ = ["HOST", "free_port", "is_free"]

_CANDIDATES = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections: one of those could take ours before its server does."""

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that this process has not been given before.

    Drawn at random, so that test runs and workers side by side rarely draw the same one.
    """
    while True:
        port = random.choice(_CANDIDATES)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
