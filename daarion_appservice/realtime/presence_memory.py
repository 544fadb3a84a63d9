"""The presence store of a city with a single process: the state machine, a clock, and a task that expires sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..city.events import PresenceChanged
from ..city.ports import NowMs, Publish
from ..city.presence import Heartbeat, Presence, PresenceState, RemotePresence, Transition
from ..city.types import SubjectId


class MemoryPresence:
    """A PresenceStore in memory. Remote presence stays until the process ends."""

    def __init__(self, publish: Publish, now_ms: NowMs, *, ttl_ms: int) -> None:
        self._publish_event = publish
        self._now_ms = now_ms
        self._machine = Presence(ttl_ms=ttl_ms)
        self._deadline_came_closer = asyncio.Event()
        self.seq = now_ms() * 1000
        """Number of the newest change. It begins at the start time in microseconds since 1970, above the numbers of any
        earlier process.
        """

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
        """Return whether other processes of the city go on when this one ends: there are none."""
        return False

    async def run(self) -> None:
        """Expire sessions at their deadlines until cancelled."""
        while True:
            self._deadline_came_closer.clear()
            self.expire()
            deadline_ms = self._machine.next_deadline_ms
            if deadline_ms is None:
                await self._deadline_came_closer.wait()
            else:
                await asyncio.sleep(max(0.0, (deadline_ms - self._now_ms()) / 1000))

    def expire(self) -> None:
        """Expire every session whose deadline has passed."""
        for transition in self._machine.expire(now_ms=self._now_ms()):
            self._publish(transition)

    def _publish(self, transition: Transition | None) -> None:
        if transition is not None:
            self.seq += 1
            self._publish_event(PresenceChanged(transition, self.seq))
