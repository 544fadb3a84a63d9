"""The presence store of a city with several processes, which share the sessions in Redis.

    heartbeats ─► queue ─► one request for all that wait ─► Lua script: whose state changes? ────────────────┐
                                                                                                             ▼
    PresenceChanged ◄── replica (a copy in memory, from which all reads are answered) ◄── stream of changes ── Redis

While Redis is away, this process still accepts heartbeats. A subject comes online at once, in this process only; no
subject goes offline, because its sessions may send heartbeats to another process. When Redis is back, this process
sends it the missed heartbeats, and no session expires before it had time for another heartbeat. If Redis lost its data,
this process restores the state that it knows.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from ..city.ports import NowMs, Publish
from ..city.presence import Heartbeat, KeepCurrent, PresenceState, RemotePresence, Status
from ..city.types import SubjectId, is_person
from .presence_replica import ChangesMissing, PresenceReplica
from .redis_client import REDIS_ERRORS, heed_cancellation
from .redis_sessions import BATCH, Answer, RedisSessions, SessionUpdate
from .tasks import run_until_first_exit

_BLOCK_MS: Final = 1000
_LONGEST_WAIT_MS: Final = 1000
"""Longest time between two searches for expired sessions."""
_RETRY_S: Final = 0.25
_AT_ONCE_MS: Final = 1000
"""A heartbeat that waited for less counts as sent now, which saves Redis one lookup."""
_MAY_BE_UNHEARD_MS: Final = 3_000
"""How long before the loss of Redis was noticed a request may have been lost."""
_LEARN_S: Final = 10.0
"""Period of reading the activity in other processes: their ``last_active_ms`` is at most this much too old."""
_RESTORED: Final = "restored"
"""Name of the session that replaces the sessions of a subject that Redis lost and other processes may know better."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Waiting:
    said: list[SessionUpdate]
    answer: asyncio.Future[list[PresenceState]]

    def resolve(self, shown: list[PresenceState]) -> None:
        if not self.answer.done():  # the caller may have been cancelled
            self.answer.set_result(shown)


@dataclass(frozen=True, slots=True)
class _Answered:
    waiting: _Waiting
    answers: list[Answer]

    @property
    def seq(self) -> int:
        """The number of the newest change that this request caused."""
        return max((answer.seq or 0 for answer in self.answers), default=0)


class _Forgotten(Exception):
    """Redis lost its data while the connection stayed open."""


class RedisPresence:
    """A PresenceStore for a city with several processes."""

    def __init__(self, sessions: RedisSessions, publish: Publish, now_ms: NowMs, *, ttl_ms: int) -> None:
        self._sessions = sessions
        self._now_ms = now_ms
        self._ttl_ms = ttl_ms
        self._view = PresenceReplica(publish)
        self._queue: deque[_Waiting] = deque()
        self._queued = asyncio.Event()
        self._own: OrderedDict[tuple[SubjectId, str], SessionUpdate] = OrderedDict()
        """The newest update of each local session within its lifetime, oldest first."""
        self._unseen: deque[_Answered] = deque()
        """Responses that wait until their change returns by the stream, so that a caller who reads next sees it."""
        self._era: str | None = None
        """Identifier of the data in Redis; it changes when Redis loses its data."""
        self._lost_at_ms: int | None = None
        self._is_alone = False
        """Whether updates are applied locally at once because Redis is away."""
        self.reason: str | None = "not asked yet"
        """Why Redis counts as away; None while it is connected."""

    @property
    def seq(self) -> int:
        """The number of the newest published change."""
        return self._view.seq

    def says(self) -> str:
        """Return the state of Redis as text for the health report."""
        return "ok" if self.reason is None else f"away: {self.reason}"

    def state(self, subject: SubjectId) -> PresenceState:
        return self._view.state(subject)

    async def record_heartbeat(self, beats: Sequence[Heartbeat]) -> list[PresenceState]:
        now_ms = self._now_ms()
        said = [SessionUpdate.of_beat(beat, now_ms) for beat in beats]
        for each in said:
            key = (each.subject, each.session)
            self._own[key] = each
            self._own.move_to_end(key)
        self._forget_old()
        return await self._say(said)

    async def set_remote(self, placed: Sequence[RemotePresence]) -> None:
        now_ms = self._now_ms()
        await self._say([SessionUpdate.of_placed(each, now_ms) for each in placed])

    async def leave(self) -> bool:
        """Unregister this process; return whether other processes go on, or may while Redis is away."""
        try:
            return await self._sessions.leave() > 0
        except REDIS_ERRORS:
            return True

    async def run(self) -> None:
        """Stay connected to Redis and reconnect after errors, until cancelled."""
        try:
            while True:
                await self._be_one_of_them()
        finally:
            self._go_on_alone()

    async def _be_one_of_them(self) -> None:
        try:
            await self._join()
            await run_until_first_exit(self._write(), self._follow(), self._expire(), self._learn())
        except ChangesMissing:
            log.warning(
                "presence_changes_missed", help="too slow for all that changed; everybody's state is taken anew"
            )
        except _Forgotten:
            log.debug("presence_forgotten_by_redis")
        except REDIS_ERRORS as error:
            heed_cancellation()
            self._is_lost(error)
            await self._sessions.hang_up()
            await asyncio.sleep(_RETRY_S)

    async def expire(self) -> int | None:
        """Expire every session whose deadline has passed; return when to look again, in milliseconds from now."""
        looked = await self._sessions.expire()
        if self._era is not None and looked.era != self._era:
            raise _Forgotten
        return looked.wait_ms

    # --- updates --------------------------------------------------------------------------------------

    async def _say(self, said: list[SessionUpdate]) -> list[PresenceState]:
        if self._is_alone:
            return self._take_alone(said)
        loop = asyncio.get_running_loop()
        parts = [_Waiting(said[at : at + BATCH], loop.create_future()) for at in range(0, len(said), BATCH)]
        self._queue.extend(parts)
        self._queued.set()
        return [shown for part in parts for shown in await part.answer]

    async def _write(self) -> None:
        while True:
            await self._queued.wait()
            batch = self._next_batch()
            said = [each for waiting in batch for each in waiting.said]
            try:
                answers = await self._send(said)
            except BaseException:
                self._queue.extendleft(reversed(batch))
                self._queued.set()
                raise
            self._hand_out(batch, answers)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0].said) <= BATCH):
            batch.append(self._queue.popleft())
            size += len(batch[-1].said)
        if not self._queue:
            self._queued.clear()
        return batch

    async def _send(self, said: list[SessionUpdate]) -> list[Answer]:
        now_ms = self._now_ms()
        ages = [0 if now_ms - each.at_ms < _AT_ONCE_MS else now_ms - each.at_ms for each in said]
        return await self._sessions.apply(said, ages, self._expect)

    def _expect(self, said: SessionUpdate) -> Status:
        known = self._view.state(said.subject).status
        return said.status if known is Status.OFFLINE else known

    def _hand_out(self, batch: list[_Waiting], answers: list[Answer]) -> None:
        start = 0
        for waiting in batch:
            own = answers[start : start + len(waiting.said)]
            start += len(waiting.said)
            for said in waiting.said:
                if said.status is Status.ONLINE and not said.is_placed:
                    self._view.is_active(said.subject, said.at_ms)
            answered = _Answered(waiting, own)
            if answered.seq <= self._view.read_seq:
                self._resolve(answered)
            else:
                self._unseen.append(answered)

    def _resolve(self, answered: _Answered) -> None:
        shown = [
            PresenceState(answer.status, answer.status_msg, self._view.state(said.subject).last_active_ms)
            for said, answer in zip(answered.waiting.said, answered.answers, strict=True)
        ]
        answered.waiting.resolve(shown)

    # --- changes and expiry ---------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            for change in await self._sessions.changes(self._view.read_seq, block_ms=_BLOCK_MS):
                self._view.follow(change)
            self._release(self._view.read_seq)

    def _release(self, seq: int) -> None:
        while self._unseen and self._unseen[0].seq <= seq:
            self._resolve(self._unseen.popleft())

    async def _expire(self) -> None:
        while True:
            wait_ms = await self.expire()
            self._forget_old()
            await asyncio.sleep((_LONGEST_WAIT_MS if wait_ms is None else min(wait_ms, _LONGEST_WAIT_MS)) / 1000)

    def _forget_old(self) -> None:
        before_ms = self._now_ms() - self._ttl_ms
        while self._own:
            key = next(iter(self._own))
            if self._own[key].at_ms > before_ms:
                return
            del self._own[key]

    async def _learn(self) -> None:
        since_ms = 0.0
        while True:
            beating = await self._sessions.beating_since(since_ms)
            for subject, session, deadline_ms in beating:
                # For remote and restored sessions, the process that sets them reports the time of activity.
                is_placed = is_person(subject) or session == _RESTORED
                if not is_placed and self._view.state(subject).status is Status.ONLINE:
                    self._view.is_active(subject, int(deadline_ms) - self._ttl_ms)
            if beating:
                since_ms = beating[-1][2]
            if len(beating) < BATCH:
                await asyncio.sleep(_LEARN_S)

    # --- connecting and disconnecting -----------------------------------------------------------------

    async def _join(self) -> None:
        """Load the state of every subject from Redis and send the updates that Redis missed."""
        mark = await self._sessions.join(told_seq=self._view.seq, read_seq=self._view.read_seq, era=self._era)
        # Updates wait from here on: an update that was applied locally after this point would never reach Redis.
        self._is_alone = False
        if self._era not in {None, mark.era}:
            log.warning("presence_lost_by_redis", help="it was started without what it had; it is told what we know")
            await self._say_again(self._restored())
            await self._say_again(self._said_since(0))
        elif self._lost_at_ms is not None:
            await self._say_again(self._said_since(self._lost_at_ms - _MAY_BE_UNHEARD_MS))
        everybody = {subject: (shown, seq) async for subject, shown, seq in self._sessions.everybody()}
        self._view.begin(mark.seq, everybody)
        self._release(mark.seq)
        if self.reason is not None:
            log.info("redis_joined" if self._era is None else "redis_back", subjects=len(everybody))
        self._era = mark.era
        self._lost_at_ms = self.reason = None

    def _restored(self) -> list[SessionUpdate]:
        now_ms = self._now_ms()
        return [
            SessionUpdate(subject, _RESTORED, shown.status, shown.status_msg, now_ms, True, shown.last_active_ms)
            for subject, shown in self._view.here().items()
        ]

    def _said_since(self, since_ms: int) -> list[SessionUpdate]:
        self._forget_old()
        return [self._with_text(said) for said in self._own.values() if said.at_ms >= since_ms]

    def _with_text(self, said: SessionUpdate) -> SessionUpdate:
        """Replace "retain the status text" by the text itself: Redis may not have it."""
        if isinstance(said.status_msg, KeepCurrent) and said.status is not Status.OFFLINE:
            return replace(said, status_msg=self._view.state(said.subject).status_msg)
        return said

    async def _say_again(self, said: list[SessionUpdate]) -> None:
        for start in range(0, len(said), BATCH):
            await self._send(said[start : start + BATCH])

    def _is_lost(self, error: Exception) -> None:
        self.reason = str(error) or type(error).__name__
        if self._lost_at_ms is None:
            log.warning(
                "redis_gone",
                reason=self.reason,
                help="heartbeats are taken all the same, and nobody is shown offline meanwhile; trying again",
            )
        self._go_on_alone()

    def _go_on_alone(self) -> None:
        if self._lost_at_ms is None:
            self._lost_at_ms = self._now_ms()
            self._view.go_alone(self._lost_at_ms)
        self._is_alone = True
        # A change that did not return by the stream is applied locally.
        for waiting in [*(answered.waiting for answered in self._unseen), *self._queue]:
            waiting.resolve(self._take_alone(waiting.said))
        self._unseen.clear()
        self._queue.clear()
        self._queued.clear()

    def _take_alone(self, said: list[SessionUpdate]) -> list[PresenceState]:
        return [self._view.take_alone(each.subject, each.status, each.status_msg, each.at_ms) for each in said]
