"""Clocks and ids. Components receive them as arguments, so that tests can replace them."""

from __future__ import annotations

import time

from ulid import ULID


def now_ms() -> int:
    """Return the wall clock time in milliseconds since 1970, for stored and displayed times."""
    return time.time_ns() // 1_000_000


_OFFSET_MS = now_ms() - time.monotonic_ns() // 1_000_000


def steady_ms() -> int:
    """Return a monotonic time in milliseconds since 1970, which clock adjustments do not change: for deadlines."""
    return time.monotonic_ns() // 1_000_000 + _OFFSET_MS


def new_id() -> str:
    """Return a new ULID; ULIDs sort by the time of their creation."""
    return str(ULID())


def creation_ms(id_: str) -> int | None:
    """Return the time (ms since 1970) at which `new_id` returned ``id_``; None if it is not one of its ids."""
    try:
        return ULID.from_str(id_).milliseconds
    except ValueError:
        return None
