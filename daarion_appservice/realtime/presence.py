"""The presence store of one process: the state machine, a clock, and a task that ends what was not kept alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..city.events import PresenceChanged
from ..city.presence import KEEP, Keep, Presence, Shown, Status, Transition
from ..city.types import SubjectId
from .bus import Bus


class MemoryPresence:
    """Presence in memory. Every change is published once, as PresenceChanged."""

    def __init__(self, bus: Bus, now_ms: Callable[[], int], *, ttl_ms: int) -> None:
        self._bus = bus
        self._now_ms = now_ms
        self._machine = Presence(ttl_ms=ttl_ms)
        self._deadline_came_closer = asyncio.Event()

    async def beat(
        self,
        subject: SubjectId,
        *,
        status: Status = Status.ONLINE,
        status_msg: str | Keep | None = KEEP,
        session: str = "",
    ) -> Shown:
        """A sign of life; returns what is shown now."""
        if self._machine.next_deadline_ms is None:
            self._deadline_came_closer.set()
        self._publish(
            self._machine.beat(subject, now_ms=self._now_ms(), status=status, status_msg=status_msg, session=session)
        )
        return self._machine.shown(subject)

    async def place(
        self, subject: SubjectId, *, status: Status, status_msg: str | None, last_active_ms: int | None, session: str
    ) -> None:
        """What the homeserver says of one of its people."""
        self._publish(
            self._machine.place(
                subject, status=status, status_msg=status_msg, last_active_ms=last_active_ms, session=session
            )
        )

    def shown(self, subject: SubjectId) -> Shown:
        return self._machine.shown(subject)

    async def run(self) -> None:
        """End sessions when their deadline passes; until cancelled."""
        while True:
            self._deadline_came_closer.clear()
            for transition in self._machine.expire(now_ms=self._now_ms()):
                self._publish(transition)
            deadline_ms = self._machine.next_deadline_ms
            if deadline_ms is None:
                await self._deadline_came_closer.wait()
            else:
                await asyncio.sleep(max(0.0, (deadline_ms - self._now_ms()) / 1000))

    def _publish(self, transition: Transition | None) -> None:
        if transition is not None:
            self._bus.publish(PresenceChanged(transition))
