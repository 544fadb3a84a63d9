"""Delivers a frame to thousands of connections in slices of a few milliseconds, so that the event loop stays responsive.

    deliver ─► the first slice at once ─► other callbacks of the event loop ─► the next slice ─► …

A write to an empty socket is a system call: 10,000 of them take about 80 ms. Fewer connections than fit into a slice get
their frame before ``deliver`` returns. Each connection gets all its frames in the order of their deliveries.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from .listeners import report_failure

SLICE_S: Final = 0.005
_CALLS: Final = 32
"""The number of calls between two reads of the clock."""
_TURN: Final = 0.618
"""Which part of the receivers the beginning moves on with each delivery, so that none of them is always among the last."""
_MAX_WAITING: Final = 16
"""Unfinished deliveries. With one more, all are finished at once: their frames would fill the memory otherwise."""

L = TypeVar("L")
T = TypeVar("T")
Send = Callable[..., None]
"""Sends a frame to a listener, and returns at once."""


@dataclass(slots=True)
class _Delivery(Generic[L]):
    """One frame for a list of listeners.

    Attributes:
        sends: the function of each listener.
        content: the arguments of the functions.
        is_listening: whether a listener still gets frames.
        then: is called after the last listener.
        begin: the index of the first listener that has no frame yet.
    """

    listeners: list[L]
    sends: list[Send]
    content: tuple[Any, ...]
    is_listening: Callable[[L], bool]
    then: Callable[[], None] | None = None
    begin: int = 0


class FanOut(Generic[L]):
    """The deliveries of one stream, in their order.

    Args:
        event: the label of failed calls in log and metrics.
        slice_s: the time in seconds after which the event loop runs other callbacks.
        now_s: a monotonic clock in seconds.
    """

    def __init__(self, event: str, *, slice_s: float = SLICE_S, now_s: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._slice_s = slice_s
        self._now_s = now_s
        self._deliveries: deque[_Delivery[L]] = deque()
        self._next_slice: asyncio.Handle | None = None
        self._is_calling = False
        self._turn = 0.0

    @property
    def is_running(self) -> bool:
        """Whether receivers wait for a further slice."""
        return bool(self._deliveries)

    def deliver(self, receivers: Mapping[L, Send], *content: Any, is_listening: Callable[[L], bool]) -> None:
        """Call the function of each listener with ``content``. Exceptions are logged and counted; none is raised.

        Args:
            receivers: the listeners as of now, with their functions; those that come later do not get this frame.
            content: the arguments of the calls.
            is_listening: returns False for a listener that ended meanwhile, which is left out.
        """
        first = self._next_first(len(receivers))
        listeners, sends = _rotated(receivers, first), _rotated(receivers.values(), first)
        self._append(_Delivery(listeners, sends, content, is_listening))

    def when_done(self, then: Callable[[], None]) -> None:
        """Call ``then`` after all deliveries so far."""
        self._append(_Delivery([], [], (), lambda _: True, then))

    def finish(self) -> None:
        """Complete all deliveries before this function returns."""
        if self._next_slice is not None:
            self._next_slice.cancel()
            self._next_slice = None
        self._run(until_s=float("inf"))

    def _next_first(self, size: int) -> int:
        """Return the index of the listener that gets the next frame first; 0 if all fit into a slice."""
        if size <= _CALLS:
            return 0
        self._turn = (self._turn + _TURN) % 1
        return int(self._turn * size)

    def _append(self, delivery: _Delivery[L]) -> None:
        self._deliveries.append(delivery)
        if len(self._deliveries) > _MAX_WAITING:
            self.finish()
        elif self._next_slice is None:
            self._run_slice()

    def _run_slice(self) -> None:
        self._next_slice = None
        self._run(until_s=self._now_s() + self._slice_s)
        if self._deliveries and not self._is_calling:
            self._next_slice = asyncio.get_running_loop().call_soon(self._run_slice)

    def _run(self, *, until_s: float) -> None:
        if self._is_calling:
            return  # a receiver has begun a delivery: the loop below, which called it, comes to that one too
        self._is_calling = True
        try:
            while self._deliveries and self._call_all(self._deliveries[0], until_s):
                if (then := self._deliveries.popleft().then) is not None:
                    then()
        finally:
            self._is_calling = False

    def _call_all(self, delivery: _Delivery[L], until_s: float) -> bool:
        """Call the receivers that have no frame yet; return whether none is left when the slice ends."""
        while delivery.begin < len(delivery.listeners):
            self._call_some(delivery)
            if self._now_s() >= until_s:
                break
        return delivery.begin >= len(delivery.listeners)

    def _call_some(self, delivery: _Delivery[L]) -> None:
        begin, end = delivery.begin, delivery.begin + _CALLS
        delivery.begin = end
        content, is_listening = delivery.content, delivery.is_listening
        for listener, send in zip(delivery.listeners[begin:end], delivery.sends[begin:end], strict=True):
            try:
                if is_listening(listener):
                    send(*content)
            except Exception:  # noqa: BLE001 (logged with its traceback)
                report_failure(self._event, send)


def _rotated(items: Iterable[T], first: int) -> list[T]:
    """Return the items in a list that begins with the one at the index ``first``."""
    in_order = list(items)
    return in_order[first:] + in_order[:first] if first else in_order
