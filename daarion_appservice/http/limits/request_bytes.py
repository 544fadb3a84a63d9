"""Counts the request bytes in memory of a listener: incomplete heads and bodies, requests in progress, WebSocket messages.

    TcpConnection.data_received ─► HeldBytes (one connection) ─► RequestBytes (one listener: by address, and in total)
                                                                  │ above a budget
                                                                  └─► Excess: which connections to refuse

Bytes are counted as they arrive from the socket, before aiohttp parses them, so every kind of request is covered. The
connection that holds most is refused, not the one that is sending: many incomplete bodies do not block a short message.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ...errors import CityError, TooManyRequests, Unavailable
from .metrics import HELD_BYTES
from .raw_responses import RETRY_AFTER_S


@dataclass(frozen=True, slots=True)
class Excess:
    """A budget that is exceeded: the one of ``holder``, or the total, of which ``holder`` has the largest part."""

    holder: str | None
    bytes: int
    budget: str
    """``address`` or ``all``."""

    @property
    def limit(self) -> str:
        """The name of the exceeded setting."""
        return "request_bytes_per_address" if self.budget == "address" else "request_bytes"

    @property
    def error(self) -> CityError:
        """The error that the refused requests get as their response."""
        if self.budget == "address":
            return TooManyRequests(
                "the requests of one address exceed the memory limit; send fewer at a time",
                retry_after_s=RETRY_AFTER_S,
            )
        return Unavailable(
            "too_many_request_bytes",
            "the requests in progress exceed the memory limit; try again",
            retry_after_s=RETRY_AFTER_S,
        )


class RequestBytes:
    """The bytes that all connections of a listener hold.

    A holder is an address, or None for loopback and for request heads from a trusted proxy: they have no budget of their own,
    and count as one holder in the total.

    Args:
        listener: the name of the listener, for metrics.
        per_address: the budget of one address in bytes; 0 for no limit.
        in_all: the total budget in bytes; 0 for no limit.
    """

    def __init__(self, listener: str, *, per_address: int, in_all: int) -> None:
        self._per_address = per_address
        self._in_all = in_all
        self._held: Counter[str | None] = Counter()
        self.total = 0
        HELD_BYTES.labels(listener).set_function(lambda: self.total)

    def change(self, holder: str | None, size: int) -> None:
        """Add ``size`` bytes, which may be negative, to those of ``holder``."""
        if not size:
            return
        self.total += size
        self._held[holder] += size
        if not self._held[holder]:
            del self._held[holder]

    def of(self, holder: str | None) -> int:
        """Return how many bytes ``holder`` has."""
        return self._held[holder]

    def excess(self, holder: str | None) -> Excess | None:
        """Return the exceeded budget after ``holder`` sent bytes, or None if all budgets hold."""
        own = self._held[holder]
        if holder is not None and 0 < self._per_address < own:
            return Excess(holder, own - self._per_address, "address")
        if 0 < self._in_all < self.total:
            most = max(self._held, key=self._held.__getitem__)
            return Excess(most, self.total - self._in_all, "all")
        return None
