"""Bytes of requests that a listener holds: heads and bodies that are not complete, requests under way, WebSocket messages.

    Connection.data_received ─► HeldBytes (one connection) ─► RequestBytes (all of a listener: by address, and in all)
                                                                  │ beyond a budget
                                                                  └─► Excess: which connections to refuse

Counted is what comes from the socket, before aiohttp parses it, so that no kind of request escapes. The connection that holds
most is refused, not the one that sends at the moment: many half-sent bodies do not keep others from sending a short message.
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
"""Of the head of a request. aiohttp bounds each header (8,190 bytes) and their number (128), which is 1 MiB together."""

RETRY_AFTER_S: Final = 5

_FRAMING_BYTES: Final = 16 * 1024
"""More than the sizes of the chunks take in an honest body of 1 MiB: 8 bytes for each KiB."""

HELD: Final = Gauge("daarion_http_request_bytes", "Bytes of requests that are held.", ("listener",), registry=None)
REFUSED: Final = CounterMetric(
    "daarion_http_requests_refused_for_bytes",
    "Connections whose request was refused because too many bytes of requests were held.",
    ("listener", "budget"),
    registry=None,
)
"""Both of the process: ``process_registry`` shows them."""


class Stage(Enum):
    """Of a connection when bytes come."""

    HEAD = 1
    """No request is under way, or aiohttp has not begun it yet."""
    BODY = 2
    """A request is under way, and its body is not complete."""
    COMPLETE = 3
    """A request is under way, and all of it is there."""


class HeldBytes:
    """The bytes that one connection has sent and that are still held. A pure counter, without I/O.

    Requests may follow each other without a pause (pipelining): when one has been handled, the bytes behind it are still held.
    They are never more than what came with the end of that request or later. The framing of a chunked body looks like bytes
    behind it: where it is little it is taken for framing, so that it does not add up over thousands of requests.
    """

    __slots__ = ("_carried", "_fresh", "_taken", "later", "received", "size")

    def __init__(self) -> None:
        self.size = 0
        self.received = 0
        """All bytes that ever came: a mark for ``message_taken``."""
        self.later = 0
        """Bytes that came after the request under way was complete."""
        self._carried = 0
        """Bytes that were held already when the request before ended."""
        self._fresh = 0
        """Bytes that came since, up to the end of the request under way, and may be behind it."""
        self._taken = 0
        """Bytes of the request under way that were passed on."""

    def add(self, size: int, stage: Stage) -> None:
        self.size += size
        self.received += size
        match stage:
            case Stage.HEAD:
                self._fresh += size
            case Stage.BODY:
                # What came before is a part of this request.
                self._carried, self._fresh = 0, size
            case Stage.COMPLETE:
                self.later += size

    def take(self, size: int) -> None:
        """Release ``size`` bytes of a body that are passed on while others still come."""
        self._taken += size
        self.size = max(self.size - size, 0)

    def message_taken(self, size: int, mark: int | None, head_size: int) -> None:
        """Release a WebSocket message of ``size`` bytes.

        ``mark`` is ``received`` as it was when the message was waited for; None for a control frame, which may come between the
        fragments of a message. When bytes came meanwhile, nothing complete was held before: so the framing of fragments, which is
        in no message, does not add up. ``head_size``: of the request that opened the WebSocket, which is held as long as that
        is open.
        """
        self.size = max(self.size - size, min(self.size, head_size))
        if mark is not None and self.received > mark:
            self.size = min(self.size, head_size + self.received - mark)

    def end_request(self, size: int, *, is_chunked: bool = False) -> None:
        """Release a request of ``size`` bytes, head and body, without the framing of its chunks."""
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
    """More is held than may be: by ``holder`` alone, or by all, of whom ``holder`` has most."""

    holder: str | None
    bytes: int
    budget: str
    """``address`` or ``all``."""

    @property
    def error(self) -> CityError:
        """What the refused requests are answered."""
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
    """The bytes that all connections of a listener hold. 0 for a budget: no limit.

    A holder is an address; None stands for this machine and for heads that come from a trusted proxy: they have no budget of
    their own, and count as one holder in the budget of all.
    """

    def __init__(self, listener: str, *, per_address: int, in_all: int) -> None:
        self._listener = listener
        self._per_address = per_address
        self._in_all = in_all
        self._held: Counter[str | None] = Counter()
        self.total = 0
        HELD.labels(listener).set_function(lambda: self.total)

    def change(self, holder: str | None, size: int) -> None:
        """Count ``size`` bytes more of ``holder``, or fewer."""
        if not size:
            return
        self.total += size
        self._held[holder] += size
        if not self._held[holder]:
            del self._held[holder]

    def of(self, holder: str | None) -> int:
        """How many bytes ``holder`` has."""
        return self._held[holder]

    def excess(self, holder: str | None) -> Excess | None:
        """What has to be refused after ``holder`` sent something; None when all is within the budgets."""
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
    """How many bytes the head of a request has, but for spaces that mean nothing."""
    return (
        len(method) + len(path) + len("  HTTP/1.1\r\n\r\n") + sum(len(name) + len(value) + 4 for name, value in headers)
    )
