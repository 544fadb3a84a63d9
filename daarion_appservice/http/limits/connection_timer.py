"""Decides when a TCP connection has timed out. A state machine without I/O: time and buffer sizes are arguments.

aiohttp has no timeout for the head of a request, and none for a response that the peer does not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class ConnectionTimeouts:
    """The time limits of a connection in seconds, and the lowest rate of reading."""

    head_s: float = 30.0
    """From the first byte of a request, or from the connect, until the head is complete."""
    idle_s: float = 180.0
    """Between two requests of a connection. Longer than in the pools of usual proxies and of Synapse (120 s)."""
    stalled_s: float = 30.0
    """How long the write buffer may wait for a peer that reads nothing."""
    min_bytes_per_s: int = 4096
    """The rate at which the peer must read a finished response, after ``stalled_s``."""


class Expiry(Enum):
    """The reason why a connection has timed out."""

    HEAD = auto()
    """The head of a request is incomplete."""
    IDLE = auto()
    """No request has arrived."""
    UNREAD = auto()
    """The peer does not read the response, or reads it too slowly."""


class ConnectionTimer:
    """The times of one connection."""

    __slots__ = (
        "_acknowledged",
        "_has_had_request",
        "_head_since_s",
        "_idle_since_s",
        "_progress_s",
        "_unread_until_s",
        "_unsent",
        "is_busy",
    )

    def __init__(self) -> None:
        self.is_busy = False
        """Whether a handler works on a request."""
        self._has_had_request = False
        self._idle_since_s = 0.0
        self._head_since_s: float | None = None
        """When the first byte of an incomplete head arrived."""
        self._unsent = 0
        """The bytes in the write buffer at the last check."""
        self._acknowledged: int | None = None
        """The bytes that the peer had acknowledged at the last check."""
        self._progress_s = 0.0
        """When the peer last read something."""
        self._unread_until_s: float | None = None
        """The deadline for the peer to read a finished response."""

    def opened(self, now_s: float) -> None:
        self._idle_since_s = now_s

    @property
    def is_head_expected(self) -> bool:
        """Whether the next byte is the first one of a request."""
        return not self.is_busy and self._head_since_s is None

    def head_begun(self, now_s: float) -> None:
        self._head_since_s = now_s

    def request_begun(self) -> None:
        self.is_busy = self._has_had_request = True
        self._head_since_s = self._unread_until_s = None

    def request_ended(self, now_s: float) -> None:
        self.is_busy, self._idle_since_s = False, now_s

    def check(self, timeouts: ConnectionTimeouts, now_s: float, unsent: int, acknowledged: int | None) -> Expiry | None:
        """Return why the connection has timed out, or None if it has not.

        Args:
            timeouts: the time limits.
            now_s: the current time in seconds.
            unsent: the bytes in the write buffer of the transport.
            acknowledged: the bytes that the peer has acknowledged since the connect; None if unknown.
        """
        if unsent:
            return Expiry.UNREAD if self._is_unread(timeouts, now_s, unsent, acknowledged) else None
        self._unsent, self._unread_until_s = 0, None
        if self.is_busy:
            return None
        if self._head_since_s is not None:
            return Expiry.HEAD if now_s - self._head_since_s > timeouts.head_s else None
        # A connection that never had a request gets the time of a head.
        idle_s = timeouts.idle_s if self._has_had_request else timeouts.head_s
        return Expiry.IDLE if now_s - self._idle_since_s > idle_s else None

    def _is_unread(self, timeouts: ConnectionTimeouts, now_s: float, unsent: int, acknowledged: int | None) -> bool:
        # The kernel accepts more bytes only after many were acknowledged: 128 KiB take half a minute at 4 KiB/s.
        if not self._unsent or unsent < self._unsent or acknowledged != self._acknowledged:
            self._progress_s = now_s
        self._unsent, self._acknowledged = unsent, acknowledged
        if self.is_busy:
            self._unread_until_s = None
        else:
            self._idle_since_s = now_s
            if self._unread_until_s is None:
                self._unread_until_s = now_s + timeouts.stalled_s + unsent / timeouts.min_bytes_per_s
            if now_s > self._unread_until_s:
                return True
        return now_s - self._progress_s > timeouts.stalled_s
