"""The times that the steps of a message take in this process, as Prometheus metrics.

    from Matrix   transaction arrives ─stored─► commit ─published─► bus ─written─► WebSockets
    to Matrix     post ─claimed─► lane of the room ─requested─► PUT ─echoed─► the event comes back

A step that begins in one process and ends in another is not measured, except ``claimed``, whose beginning is the time in the
message's id.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from prometheus_client import Histogram

_MOST_BEGUN: Final = 1_000
"""Begun steps in memory: of more events that wait at once, the earliest are not measured."""


class Step(StrEnum):
    """The steps, with the values of the metric's label."""

    STORED = "stored"
    PUBLISHED = "published"
    WRITTEN = "written"
    CLAIMED = "claimed"
    REQUESTED = "requested"
    ECHOED = "echoed"


STEP_SECONDS: Final = Histogram(
    "daarion_message_step_seconds",
    "Duration of a message's steps in one process, by `step`. From Matrix: `stored` (from a transaction's head to its commit), "
    "`published` (until the event's handling is committed), `written` (until the first WebSockets have the frame). To Matrix: "
    "`claimed` (from the change until the room's lane takes it), `requested` (until the request to the homeserver), `echoed` "
    "(from there until the event is handled that comes back).",
    ("step",),
    buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.25, 1, 10),
    registry=None,
)
METRICS: Final = (STEP_SECONDS,)
_BY_STEP: Final = {step: STEP_SECONDS.labels(step) for step in Step}


def observe_step(step: Step, seconds: float) -> None:
    """Record the duration of a step, in seconds."""
    _BY_STEP[step].observe(max(0.0, seconds))


@contextmanager
def measured_step(step: Step) -> Iterator[None]:
    """Record the duration of the block, unless it raises."""
    began_s = time.perf_counter()
    yield
    observe_step(step, time.perf_counter() - began_s)


class BegunSteps:
    """The times at which a step began, by the id of its event or message."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._began_s: OrderedDict[str, float] = OrderedDict()

    def begin(self, name: str) -> None:
        """Record that the step of an event or message begins now."""
        self._began_s[name] = time.perf_counter()
        if len(self._began_s) > _MOST_BEGUN:
            self._began_s.popitem(last=False)

    def end(self, name: str) -> None:
        """Record the duration of the step, if it began in this process."""
        if (began_s := self._began_s.pop(name, None)) is not None:
            observe_step(self._step, time.perf_counter() - began_s)


STORED_EVENTS: Final = BegunSteps(Step.PUBLISHED)
"""Events that this process has stored and not handled yet, by their ids."""
CLAIMED_MESSAGES: Final = BegunSteps(Step.REQUESTED)
"""Messages that a lane of this process has taken, and not sent yet, by their ids."""
REQUESTED_MESSAGES: Final = BegunSteps(Step.ECHOED)
"""Messages that this process has sent, and whose events have not come back yet, by the ids of the messages."""
