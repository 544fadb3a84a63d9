"""Free ports on loopback."""

from __future__ import annotations

import itertools
import os
import random
from collections import deque

from daarion_appservice.demo.ports import HOST, is_free

__all__ = ["HOST", "free_port", "is_free"]

_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
"""The number of this pytest-xdist worker: each draws from its own ports, since another's may be drawn and not listened on yet."""

_CANDIDATES = range(10_000, 32_000)[_WORKER::_WORKERS]
"""Below the ports that Linux gives to outgoing connections: one of those could take ours before its server does."""

_drawn: deque[int] = deque(maxlen=min(1_000, len(_CANDIDATES) // 2))
"""The last ports that were drawn. A bounded number: thousands of tests draw more ports than there are."""


def free_port() -> int:
    """Return a port on which no process listens and that this process did not draw among its last 1,000.

    The draw is random, so that test runs side by side rarely draw the same port.

    Raises:
        RuntimeError: no candidate is free.
    """
    first = random.randrange(len(_CANDIDATES))
    for port in itertools.chain(_CANDIDATES[first:], _CANDIDATES[:first]):
        if port not in _drawn and is_free(port):
            _drawn.append(port)
            return port
    raise RuntimeError(f"all of {len(_CANDIDATES)} ports below {_CANDIDATES.stop} are taken")
