"""The time, and the ids that are made from it: handed to parts that use them, so that tests may hand over others."""

from __future__ import annotations

import time

from ulid import ULID


def now_ms() -> int:
    """Milliseconds since 1970, for what is stored and shown."""
    return time.time_ns() // 1_000_000


_OFFSET_MS = now_ms() - time.monotonic_ns() // 1_000_000


def steady_ms() -> int:
    """The same, but never set back or forward while the process runs: for deadlines."""
    return time.monotonic_ns() // 1_000_000 + _OFFSET_MS


def new_id() -> str:
    """A ULID: ids sort as they were made."""
    return str(ULID())
