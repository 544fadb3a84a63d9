"""Limits the open WebSockets and event streams of one citizen, agent or address in this process."""

from __future__ import annotations

from collections import Counter
from typing import Final, Self

from ...errors import TooManyRequests
from .metrics import count_hit

_RETRY_AFTER_S: Final = 10.0
"""An estimate for Retry-After: the time of the next close is unknown."""


class ConnectionLimiter:
    """Counts open connections.

    Args:
        per_subject: the limit for one citizen or agent; 0 for no limit.
        per_address: the limit for one address; 0 for no limit.
    """

    def __init__(self, *, per_subject: int, per_address: int) -> None:
        self._per_subject = per_subject
        self._per_address = per_address
        self._subjects: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def take(self, subject: str | None, address: str | None) -> ConnectionLease:
        """Count a connection and return its lease, a context manager that ends the count on exit.

        Args:
            subject: the citizen or agent; None is not counted.
            address: the address; None is not counted.

        Raises:
            TooManyRequests: a limit is reached.
        """
        lease = ConnectionLease(self)
        lease.move(subject, address)
        return lease

    def __len__(self) -> int:
        """Return the number of counted subjects and addresses."""
        return self._subjects.total() + self._addresses.total()

    def check(self, subject: str | None, address: str | None) -> None:
        """Raise TooManyRequests if the subject or the address has reached its limit."""
        if _is_full(self._subjects, subject, self._per_subject):
            count_hit("sockets_per_subject")
            raise _too_many(f"{self._per_subject} of one citizen or agent")
        if _is_full(self._addresses, address, self._per_address):
            count_hit("sockets_per_address")
            raise _too_many(f"{self._per_address} from one address")

    def count(self, subject: str | None, address: str | None, change: int) -> None:
        for counter, name in ((self._subjects, subject), (self._addresses, address)):
            if name is not None:
                counter[name] += change
                if not counter[name]:
                    del counter[name]


class ConnectionLease:
    """One counted connection. The count ends on exit of the ``with`` block."""

    def __init__(self, limiter: ConnectionLimiter) -> None:
        self._limiter = limiter
        self._counted: tuple[str | None, str | None] = (None, None)

    def move(self, subject: str | None, address: str | None) -> None:
        """Count the connection for another subject and address.

        Raises:
            TooManyRequests: a limit is reached; the connection stays counted as before.
        """
        counted = self._counted
        self._limiter.count(*counted, -1)
        try:
            self._limiter.check(subject, address)
        except TooManyRequests:
            self._limiter.count(*counted, 1)
            raise
        self._limiter.count(subject, address, 1)
        self._counted = (subject, address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._limiter.count(*self._counted, -1)
        self._counted = (None, None)


def _is_full(counter: Counter[str], name: str | None, maximum: int) -> bool:
    return name is not None and maximum > 0 and counter[name] >= maximum


def _too_many(limit: str) -> TooManyRequests:
    return TooManyRequests(f"too many open WebSockets and event streams: at most {limit}", retry_after_s=_RETRY_AFTER_S)
