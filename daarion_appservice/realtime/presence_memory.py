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
        self._has_earlier_deadline = asyncio.Event()
        self.seq = now_ms() * 1000
        """Number of the newest change. It begins at the start time in microseconds since 1970, above the numbers of any
        earlier process.
        """

    async def record_heartbeat(self, heartbeats: Sequence[Heartbeat]) -> list[PresenceState]:
        if self._machine.next_deadline_ms is None:
            self._has_earlier_deadline.set()
        return [self._record(heartbeat, self._now_ms()) for heartbeat in heartbeats]

    def _record(self, heartbeat: Heartbeat, now_ms: int) -> PresenceState:
        self._publish(
            self._machine.record_heartbeat(
                heartbeat.subject,
                now_ms=now_ms,
                status=heartbeat.status,
                status_msg=heartbeat.status_msg,
                session=heartbeat.session,
            )
        )
        return self._machine.state(heartbeat.subject)

    async def set_remote(self, remote: Sequence[RemotePresence]) -> None:
        for each in remote:
            state = each.state
            self._publish(
                self._machine.set_remote(
                    each.subject,
                    status=state.status,
                    status_msg=state.status_msg,
                    last_active_ms=state.last_active_ms,
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
            self._has_earlier_deadline.clear()
            self.expire()
            deadline_ms = self._machine.next_deadline_ms
            if deadline_ms is None:
                await self._has_earlier_deadline.wait()
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
