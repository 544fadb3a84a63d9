"""Counts the request bytes in memory of a listener: incomplete heads and bodies, requests in progress, WebSocket messages.

    Connection.data_received ─► HeldBytes (one connection) ─► RequestBytes (one listener: by address, and in total)
                                                                  │ above a budget
                                                                  └─► Excess: which connections to refuse

Bytes are counted as they arrive from the socket, before aiohttp parses them, so every kind of request is covered. The
connection that holds most is refused, not the one that is sending: many incomplete bodies do not block a short message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from prometheus_client import Counter as CounterMetric
from prometheus_client import Gauge

from ...errors import CityError, TooManyRequests, Unavailable

MAX_HEAD_BYTES: Final = 64 * 1024
"""The limit of a request head. aiohttp limits each header (8,190 bytes) and their number (128), which allows 1 MiB."""

RETRY_AFTER_S: Final = 5

_FRAMING_BYTES: Final = 16 * 1024
"""An upper bound of the chunk framing in an ordinary body of 1 MiB: 8 bytes for each KiB."""

HELD: Final = Gauge("daarion_http_request_bytes", "Bytes of requests that are held.", ("listener",), registry=None)
REFUSED: Final = CounterMetric(
    "daarion_http_requests_refused_for_bytes",
    "Connections whose request was refused because too many bytes of requests were held.",
    ("listener", "budget"),
    registry=None,
)
"""Both metrics are global to the process; ``process_registry`` exposes them."""


class Stage(Enum):
    """The stage of the current request of a connection when bytes arrive."""

    HEAD = 1
    """No request is in progress, or aiohttp has not dispatched it yet."""
    BODY = 2
    """A request is in progress, and its body is incomplete."""
    COMPLETE = 3
    """A request is in progress, and its body is complete."""


class HeldBytes:
    """The received bytes of one connection that are still in memory. A pure counter without I/O.

    Requests may follow each other without a pause (pipelining): after one is handled, the bytes behind it are still held.
    Those are never more than the bytes that arrived with the end of that request or later. The framing of a chunked body
    looks like bytes behind it: a small remainder counts as framing, so that it does not add up over thousands of requests.
    """

    __slots__ = ("_carried", "_fresh", "_taken", "later", "received", "size")

    def __init__(self) -> None:
        self.size = 0
        self.received = 0
        """All bytes received so far: a mark for ``message_taken``."""
        self.later = 0
        """Bytes that arrived after the request in progress was complete."""
        self._carried = 0
        """Bytes that were still held when the previous request ended."""
        self._fresh = 0
        """Bytes received since then until the request in progress was complete; part of them may be behind it."""
        self._taken = 0
        """Bytes of the request in progress that were forwarded."""

    def add(self, size: int, stage: Stage) -> None:
        self.size += size
        self.received += size
        match stage:
            case Stage.HEAD:
                self._fresh += size
            case Stage.BODY:
                # All earlier bytes belong to this request.
                self._carried, self._fresh = 0, size
            case Stage.COMPLETE:
                self.later += size

    def take(self, size: int) -> None:
        """Release ``size`` bytes of a body that were forwarded before the body is complete."""
        self._taken += size
        self.size = max(self.size - size, 0)

    def message_taken(self, size: int, mark: int | None, head_size: int) -> None:
        """Release a WebSocket message.

        Args:
            size: the size of its frame in bytes.
            mark: ``received`` at the time when the wait for the message began; None for a control frame, which may arrive
                between the fragments of a message.
            head_size: the size of the request that opened the WebSocket, which is held as long as the WebSocket is open.
        """
        self.size = max(self.size - size, min(self.size, head_size))
        if mark is not None and self.received > mark:
            # Bytes arrived during the wait, so no complete message was held before it. This drops the framing of
            # fragments, which is part of no message and would otherwise add up.
            self.size = min(self.size, head_size + self.received - mark)

    def end_request(self, size: int, *, is_chunked: bool = False) -> None:
        """Release a handled request.

        Args:
            size: the bytes of its head and body, without the framing of chunks.
            is_chunked: whether the body used ``Transfer-Encoding: chunked``.
        """
        left = self.size - size + self._taken
        if is_chunked and left <= _FRAMING_BYTES:
            left = 0
        behind = max(self._carried - size, 0) + self._fresh + self.later
        self.size = self._carried = max(min(left, behind), 0)
        self._fresh = self.later = self._taken = 0

    def clear(self) -> None:
        self.size = self._carried = self._fresh = self.later = self._taken = 0


@dataclass(frozen=True, slots=True)
class Excess:
    """A budget that is exceeded: the one of ``holder``, or the total, of which ``holder`` has the largest part."""

    holder: str | None
    bytes: int
    budget: str
    """``address`` or ``all``."""

    @property
    def error(self) -> CityError:
        """The error that the refused requests get as their response."""
        if self.budget == "address":
            return TooManyRequests(
                "too many bytes of requests from one address are under way; send less at a time",
                retry_after_s=RETRY_AFTER_S,
            )
        return Unavailable(
            "too_many_request_bytes",
            "too many bytes of requests are under way; try again",
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
        self._listener = listener
        self._per_address = per_address
        self._in_all = in_all
        self._held: Counter[str | None] = Counter()
        self.total = 0
        HELD.labels(listener).set_function(lambda: self.total)

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

    def refused(self, excess: Excess) -> None:
        REFUSED.labels(self._listener, excess.budget).inc()


def head_size(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the bytes of a request head, without optional whitespace."""
    return (
        len(method) + len(path) + len("  HTTP/1.1\r\n\r\n") + sum(len(name) + len(value) + 4 for name, value in headers)
    )
