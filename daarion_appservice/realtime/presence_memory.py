"""The presence store of one process: the state machine, a clock, and a task that ends what was not kept alive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..city.events import PresenceChanged
from ..city.ports import NowMs, Publish
from ..city.presence import Heartbeat, Presence, PresenceState, RemotePresence, Transition
from ..city.types import SubjectId


class MemoryPresence:
    """A PresenceStore for a city that is one process. What is placed holds until the process ends."""

    def __init__(self, publish: Publish, now_ms: NowMs, *, ttl_ms: int) -> None:
        self._publish_event = publish
        self._now_ms = now_ms
        self._machine = Presence(ttl_ms=ttl_ms)
        self._deadline_came_closer = asyncio.Event()
        self.seq = now_ms() * 1000
        """The number of the newest change; begins at the start's microseconds since 1970, above those of any earlier process."""

    async def record_heartbeat(self, beats: Sequence[Heartbeat]) -> list[PresenceState]:
        if self._machine.next_deadline_ms is None:
            self._deadline_came_closer.set()
        return [self._beat(beat, self._now_ms()) for beat in beats]

    def _beat(self, beat: Heartbeat, now_ms: int) -> PresenceState:
        self._publish(
            self._machine.record_heartbeat(
                beat.subject, now_ms=now_ms, status=beat.status, status_msg=beat.status_msg, session=beat.session
            )
        )
        return self._machine.state(beat.subject)

    async def set_remote(self, placed: Sequence[RemotePresence]) -> None:
        for each in placed:
            shown = each.shown
            self._publish(
                self._machine.set_remote(
                    each.subject,
                    status=shown.status,
                    status_msg=shown.status_msg,
                    last_active_ms=shown.last_active_ms,
                    session=each.session,
                )
            )

    def state(self, subject: SubjectId) -> PresenceState:
        return self._machine.state(subject)

    async def leave(self) -> bool:
        """Whether other processes of the city go on when this one ends: there are none."""
        return False

    async def run(self) -> None:
        """End sessions when their deadline passes; until cancelled."""
        while True:
            self._deadline_came_closer.clear()
            self.expire()
            deadline_ms = self._machine.next_deadline_ms
            if deadline_ms is None:
                await self._deadline_came_closer.wait()
            else:
                await asyncio.sleep(max(0.0, (deadline_ms - self._now_ms()) / 1000))

    def expire(self) -> None:
        """End every session whose deadline has passed."""
        for transition in self._machine.expire(now_ms=self._now_ms()):
            self._publish(transition)

    def _publish(self, transition: Transition | None) -> None:
        if transition is not None:
            self.seq += 1
            self._publish_event(PresenceChanged(transition, self.seq))
