"""Free ports on loopback."""

from __future__ import annotations

import os
import random

from daarion_appservice.ops.ports import HOST, is_free

__all__ = ["HOST", "free_port", "is_free"]

_CANDIDATES = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections: one of those could take ours before its server does."""

_WORKERS = 16
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _WORKERS
"""Which of the tests' workers this is: each has ports of its own, since another's may be given out and not listened on yet."""

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that this process has not been given before.

    Drawn at random, so that test runs side by side rarely draw the same one.
    """
    while True:
        port = random.choice(_CANDIDATES[_WORKER::_WORKERS])
        if port not in _given and is_free(port):
            _given.add(port)
            return port
