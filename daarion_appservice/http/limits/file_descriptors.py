"""File descriptors: how many this process may have open, and how the two listeners share them.

A connection takes one. The rest is for the database, Redis, the homeserver and files, and for the matrix listener: however many
connections the city listener has, the homeserver and ``/readyz`` get theirs.
"""

from __future__ import annotations

import resource
from typing import Final

from ...config import LimitsSettings
from .tcp_connections import Caps

_WANTED: Final = 65_536
_OWN: Final = 128
"""For what is no connection of a listener."""
_LEAST: Final = 16
_SHARE: Final = 8


def raise_limit() -> None:
    """Raise the soft limit of open files as far as the hard one allows: many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_files() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _WANTED if soft == resource.RLIM_INFINITY else soft


def city_caps(limits: LimitsSettings, open_files: int) -> Caps:
    """What the city listener may take of so many descriptors."""
    left = max(open_files - _OWN - _of_the_matrix_listener(open_files), _LEAST)
    return Caps(
        connections=min(limits.connections or left, left),
        per_address=limits.connections_per_address,
        answers_per_address=limits.answers_per_address,
        unread_bytes_per_address=limits.unread_bytes_per_address,
        unread_bytes=limits.unread_bytes,
        request_bytes_per_address=limits.request_bytes_per_address,
        request_bytes=limits.request_bytes,
    )


def matrix_caps(limits: LimitsSettings, open_files: int) -> Caps:
    """What the matrix listener may take: its clients are few and trusted, and none is counted by address."""
    return Caps(
        connections=_of_the_matrix_listener(open_files),
        unread_bytes=limits.unread_bytes,
        request_bytes=limits.request_bytes,
    )


def _of_the_matrix_listener(open_files: int) -> int:
    return max(open_files // _SHARE, _LEAST)
