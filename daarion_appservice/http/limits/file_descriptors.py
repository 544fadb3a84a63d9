"""Divides the file descriptors of the process between the two listeners and everything else.

Each connection uses one. The matrix listener has a reserved share, so the homeserver and ``/readyz`` get a connection however
many the city listener has. Another share is for the database, Redis, the homeserver and files.
"""

from __future__ import annotations

import resource
from typing import Final

from ...config import LimitsSettings
from .listener_limits import ListenerLimits

_DESIRED_FILES: Final = 65_536
_RESERVED_FILES: Final = 128
"""File descriptors that are not connections of a listener."""
_MIN_CONNECTIONS: Final = 16
_MATRIX_SHARE: Final = 8
"""The matrix listener has an eighth of the file descriptors."""


def raise_limit() -> None:
    """Raise the soft limit of open files (1,024 on many systems) to 65,536 or the hard limit, whichever is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    desired = _DESIRED_FILES if hard == resource.RLIM_INFINITY else min(_DESIRED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < desired:
        resource.setrlimit(resource.RLIMIT_NOFILE, (desired, hard))


def open_files() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _DESIRED_FILES if soft == resource.RLIM_INFINITY else soft


def city_listener_limits(limits: LimitsSettings, open_files: int) -> ListenerLimits:
    """Return the limits of the city listener.

    Args:
        limits: the configured limits.
        open_files: the number of file descriptors that the process may have.
    """
    available = max(open_files - _RESERVED_FILES - _matrix_connections(open_files), _MIN_CONNECTIONS)
    return ListenerLimits(
        connections=min(limits.connections or available, available),
        connections_per_address=limits.connections_per_address,
        responses_per_address=limits.responses_per_address,
        unread_bytes_per_address=limits.unread_bytes_per_address,
        unread_bytes=limits.unread_bytes,
        request_bytes_per_address=limits.request_bytes_per_address,
        request_bytes=limits.request_bytes,
    )


def matrix_listener_limits(limits: LimitsSettings, open_files: int) -> ListenerLimits:
    """Return the limits of the matrix listener: its clients are few and trusted, so none is counted by address."""
    return ListenerLimits(
        connections=_matrix_connections(open_files),
        unread_bytes=limits.unread_bytes,
        request_bytes=limits.request_bytes,
    )


def _matrix_connections(open_files: int) -> int:
    return max(open_files // _MATRIX_SHARE, _MIN_CONNECTIONS)
