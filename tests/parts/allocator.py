"""Settings of glibc's allocator for a process that runs thousands of tests."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 256 * 1024


def return_freed_memory() -> None:
    """Have ``malloc`` return freed blocks to the system; does nothing where the C library is not glibc.

    By default glibc raises its threshold for ``mmap`` to the largest block that was freed (24 MB after the tests of unread
    responses), and keeps smaller ones in an arena of each thread, of which aiosqlite starts one for each connection: after the
    tests of connections, transactions and encryption a worker held 501 MB, and with these settings 277 MB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
