"""Counts the received bytes of one connection that are still in memory. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

MAX_HEAD_BYTES: Final = 64 * 1024
"""The limit of a request head. aiohttp limits each header (8,190 bytes) and their number (128), which allows 1 MiB."""

_FRAMING_BYTES: Final = 16 * 1024
"""An upper bound of the chunk framing in an ordinary body of 1 MiB: 8 bytes for each KiB."""


class Stage(Enum):
    """The stage of the current request of a connection when bytes arrive."""

    HEAD = 1
    """No request is in progress, or aiohttp has not dispatched it yet."""
    BODY = 2
    """A request is in progress, and its body is incomplete."""
    COMPLETE = 3
    """A request is in progress, and its body is complete."""


class HeldBytes:
    """The held bytes of one connection.

    Requests may follow each other without a pause (pipelining): after one is handled, the bytes behind it are still held.
    Those are never more than the bytes that arrived with the end of that request or later. The framing of a chunked body
    looks like bytes behind it: a small remainder counts as framing, so that it does not add up over thousands of requests.
    """

    __slots__ = ("_carried", "_forwarded", "_fresh", "pipelined", "received", "size")

    def __init__(self) -> None:
        self.size = 0
        self.received = 0
        """All bytes received so far: a mark for ``message_taken``."""
        self.pipelined = 0
        """Bytes that arrived after the request in progress was complete."""
        self._carried = 0
        """Bytes that were still held when the previous request ended."""
        self._fresh = 0
        """Bytes received since then until the request in progress was complete; part of them may be behind it."""
        self._forwarded = 0
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
                self.pipelined += size

    def body_forwarded(self, size: int) -> None:
        """Release ``size`` bytes of a body that were forwarded before the body is complete."""
        self._forwarded += size
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
        left = self.size - size + self._forwarded
        if is_chunked and left <= _FRAMING_BYTES:
            left = 0
        behind = max(self._carried - size, 0) + self._fresh + self.pipelined
        self.size = self._carried = max(min(left, behind), 0)
        self._fresh = self.pipelined = self._forwarded = 0

    def clear(self) -> None:
        self.size = self._carried = self._fresh = self.pipelined = self._forwarded = 0


def head_size(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the bytes of a request head, without optional whitespace."""
    return (
        len(method) + len(path) + len("  HTTP/1.1\r\n\r\n") + sum(len(name) + len(value) + 4 for name, value in headers)
    )
