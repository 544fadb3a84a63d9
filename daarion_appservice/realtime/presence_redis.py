"""The presence store of a city that is several processes: they share its sessions in Redis, and agree on every change.

    heartbeats ─► queue ─► one request for all that came meanwhile ─► script: who is shown differently now? ─┐
                                                                                                             ▼
    PresenceChanged ◄── view (a copy in memory, from which everything is answered) ◄── stream of changes ── Redis

While Redis is away heartbeats are taken all the same: whoever comes is shown at once, in this process; nobody goes, because
nobody can tell whether they beat elsewhere. When it is back, what was said meanwhile is said to it, and nobody is ended
before everybody had the time for another heartbeat; and if it lost what it held, it is given back what we know.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from ..city.ports import NowMs, Publish
from ..city.presence import Heartbeat, PresenceState, RemotePresence, RetentionRules, Status
from ..city.types import SubjectId, is_person
from .presence_replica import ChangesMissing, PresenceReplica
from .redis_client import REDIS_ERRORS, heed_cancellation
from .redis_sessions import BATCH, Answer, RedisSessions, SessionUpdate
from .tasks import run_until_first_exit

_BLOCK_MS: Final = 1000
_LONGEST_WAIT_MS: Final = 1000
"""How long nobody looks for ended sessions at most."""
_RETRY_S: Final = 0.25
_AT_ONCE_MS: Final = 1000
"""What waited for less is as good as said now: that costs Redis a look less."""
_MAY_BE_UNHEARD_MS: Final = 3_000
"""How long before Redis was found gone a request may have been under way to it."""
_LEARN_S: Final = 10.0
"""How often to see who was active elsewhere: ``last_active_ms`` of those is at most so much too old."""
_RESTORED: Final = "restored"
"""The session that stands for those of somebody whom Redis forgot and others may know better."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Waiting:
    said: list[SessionUpdate]
    answer: asyncio.Future[list[PresenceState]]

    def resolve(self, shown: list[PresenceState]) -> None:
        if not self.answer.done():  # whoever asked may have left
            self.answer.set_result(shown)


@dataclass(frozen=True, slots=True)
class _Answered:
    waiting: _Waiting
    answers: list[Answer]

    @property
    def seq(self) -> int:
        """The number of the newest change that was made by it."""
        return max((answer.seq or 0 for answer in self.answers), default=0)


class _Forgotten(Exception):
    """Redis lost what it held, without our connection to it."""


class RedisPresence:
    """A PresenceStore for a city that is several processes."""

    def __init__(self, sessions: RedisSessions, publish: Publish, now_ms: NowMs, *, ttl_ms: int) -> None:
        self._sessions = sessions
        self._now_ms = now_ms
        self._ttl_ms = ttl_ms
        self._view = PresenceReplica(publish)
        self._queue: deque[_Waiting] = deque()
        self._queued = asyncio.Event()
        self._own: OrderedDict[tuple[SubjectId, str], SessionUpdate] = OrderedDict()
        """The newest that was said here of each session within its lifetime, oldest first."""
        self._unseen: deque[_Answered] = deque()
        """Answers that wait until the change has come back by the stream: whoever asks right afterwards must see it."""
        self._era: str | None = None
        """Of what Redis holds; another one when it lost what it held."""
        self._lost_at_ms: int | None = None
        self._is_alone = False
        """Whether what is said is taken here at once, because Redis cannot take it."""
        self.reason: str | None = "not asked yet"
        """Why Redis counts as away; None while it is there."""

    @property
    def seq(self) -> int:
        """The number of the newest change that was told."""
        return self._view.seq

    def says(self) -> str:
        """Whether Redis is there, for people."""
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
        """Say that this process ends; answers whether others go on, or may: while Redis is away nobody can tell."""
        try:
            return await self._sessions.leave() > 0
        except REDIS_ERRORS:
            return True

    async def run(self) -> None:
        """Keep in touch with the others, until cancelled."""
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
        """End every session whose deadline has passed; returns when to look again, in milliseconds from now."""
        looked = await self._sessions.expire()
        if self._era is not None and looked.era != self._era:
            raise _Forgotten
        return looked.wait_ms

    # --- saying ---------------------------------------------------------------------------------------

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
        return await self._sessions.say(said, ages, self._expect)

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

    # --- following ------------------------------------------------------------------------------------

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
                # Of placed sessions whoever places them says when somebody was active.
                is_placed = is_person(subject) or session == _RESTORED
                if not is_placed and self._view.state(subject).status is Status.ONLINE:
                    self._view.is_active(subject, int(deadline_ms) - self._ttl_ms)
            if beating:
                since_ms = beating[-1][2]
            if len(beating) < BATCH:
                await asyncio.sleep(_LEARN_S)

    # --- coming and going -----------------------------------------------------------------------------

    async def _join(self) -> None:
        """Come to know everybody's state, and tell the others what they could not hear meanwhile."""
        mark = await self._sessions.join(told_seq=self._view.seq, read_seq=self._view.read_seq, era=self._era)
        # From here on what is said waits: what was taken alone after this would be neither said to Redis nor known to it.
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
        """With the status text that was to be kept: Redis may never have heard it."""
        if isinstance(said.status_msg, RetentionRules) and said.status is not Status.OFFLINE:
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
        # Whose change was not heard back is shown as they say all the same.
        for waiting in [*(answered.waiting for answered in self._unseen), *self._queue]:
            waiting.resolve(self._take_alone(waiting.said))
        self._unseen.clear()
        self._queue.clear()
        self._queued.clear()

    def _take_alone(self, said: list[SessionUpdate]) -> list[PresenceState]:
        return [self._view.take_alone(each.subject, each.status, each.status_msg, each.at_ms) for each in said]
