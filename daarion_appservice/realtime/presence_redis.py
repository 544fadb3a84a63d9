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
from .redis_client import REDIS_ERRORS, raise_if_cancelled
from .redis_sessions import BATCH, RedisSessions, SessionUpdate, SessionUpdateResult
from .tasks import run_until_first_exit

_BLOCK_MS: Final = 1000
_MAX_EXPIRY_WAIT_MS: Final = 1000
"""Longest time between two searches for expired sessions."""
_RETRY_S: Final = 0.25
_NO_DELAY_MS: Final = 1000
"""A heartbeat that waited for less counts as sent now, which saves Redis one lookup."""
_UNCERTAIN_MS: Final = 3_000
"""How long before the loss of Redis was noticed a request may have been lost."""
_ACTIVITY_PERIOD_S: Final = 10.0
"""Period of reading the activity in other processes: their ``last_active_ms`` is at most this much too old."""
_RESTORED: Final = "restored"
"""Name of the session that replaces the sessions of a subject that Redis lost and other processes may know better."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Request:
    updates: list[SessionUpdate]
    response: asyncio.Future[list[PresenceState]]

    def resolve(self, states: list[PresenceState]) -> None:
        if not self.response.done():  # the caller may have been cancelled
            self.response.set_result(states)


@dataclass(frozen=True, slots=True)
class _Response:
    request: _Request
    results: list[SessionUpdateResult]

    @property
    def seq(self) -> int:
        """The number of the newest change that this request caused."""
        return max((result.seq or 0 for result in self.results), default=0)


class _DataLost(Exception):
    """Redis lost its data while the connection stayed open."""


class RedisPresence:
    """A PresenceStore for a city with several processes."""

    def __init__(self, sessions: RedisSessions, publish: Publish, now_ms: NowMs, *, ttl_ms: int) -> None:
        self._sessions = sessions
        self._now_ms = now_ms
        self._ttl_ms = ttl_ms
        self._replica = PresenceReplica(publish)
        self._queue: deque[_Request] = deque()
        self._queued = asyncio.Event()
        self._local_updates: OrderedDict[tuple[SubjectId, str], SessionUpdate] = OrderedDict()
        """The newest update of each local session within its lifetime, oldest first."""
        self._unreplicated: deque[_Response] = deque()
        """Responses that wait until their change returns by the stream, so that a caller who reads next sees it."""
        self._data_id: str | None = None
        """Identifier of the data in Redis; it changes when Redis loses its data."""
        self._lost_at_ms: int | None = None
        self._is_standalone = False
        """Whether updates are applied locally at once because Redis is away."""
        self.reason: str | None = "not connected yet"
        """Why Redis counts as away; None while it is connected."""

    @property
    def seq(self) -> int:
        """The number of the newest published change."""
        return self._replica.seq

    def health(self) -> str:
        """Return the state of Redis as text for the health report."""
        return "ok" if self.reason is None else f"away: {self.reason}"

    def state(self, subject: SubjectId) -> PresenceState:
        return self._replica.state(subject)

    async def record_heartbeat(self, heartbeats: Sequence[Heartbeat]) -> list[PresenceState]:
        now_ms = self._now_ms()
        updates = [SessionUpdate.from_heartbeat(heartbeat, now_ms) for heartbeat in heartbeats]
        for each in updates:
            key = (each.subject, each.session)
            self._local_updates[key] = each
            self._local_updates.move_to_end(key)
        self._drop_old_updates()
        return await self._submit(updates)

    async def set_remote(self, remote: Sequence[RemotePresence]) -> None:
        now_ms = self._now_ms()
        await self._submit([SessionUpdate.from_remote(each, now_ms) for each in remote])

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
                await self._join_and_run()
        finally:
            self._enter_standalone()

    async def _join_and_run(self) -> None:
        try:
            await self._join()
            await run_until_first_exit(
                self._send_queued(), self._replicate(), self._expire_sessions(), self._read_activity()
            )
        except ChangesMissing:
            log.warning(
                "presence_changes_missed",
                help="this process reads changes too slowly; it loads a snapshot of all subjects",
            )
        except _DataLost:
            log.debug("presence_forgotten_by_redis")
        except REDIS_ERRORS as error:
            raise_if_cancelled()
            self._connection_lost(error)
            await self._sessions.disconnect()
            await asyncio.sleep(_RETRY_S)

    async def expire(self) -> int | None:
        """Expire every session whose deadline has passed; return the milliseconds until the next deadline."""
        result = await self._sessions.expire()
        if self._data_id is not None and result.data_id != self._data_id:
            raise _DataLost
        return result.wait_ms

    # --- updates --------------------------------------------------------------------------------------

    async def _submit(self, updates: list[SessionUpdate]) -> list[PresenceState]:
        if self._is_standalone:
            return self._apply_locally(updates)
        loop = asyncio.get_running_loop()
        parts = [_Request(updates[at : at + BATCH], loop.create_future()) for at in range(0, len(updates), BATCH)]
        self._queue.extend(parts)
        self._queued.set()
        return [state for part in parts for state in await part.response]

    async def _send_queued(self) -> None:
        while True:
            await self._queued.wait()
            batch = self._next_batch()
            updates = [each for request in batch for each in request.updates]
            try:
                results = await self._send(updates)
            except BaseException:
                self._queue.extendleft(reversed(batch))
                self._queued.set()
                raise
            self._match_results(batch, results)

    def _next_batch(self) -> list[_Request]:
        batch: list[_Request] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0].updates) <= BATCH):
            batch.append(self._queue.popleft())
            size += len(batch[-1].updates)
        if not self._queue:
            self._queued.clear()
        return batch

    async def _send(self, updates: list[SessionUpdate]) -> list[SessionUpdateResult]:
        now_ms = self._now_ms()
        ages = [0 if now_ms - each.at_ms < _NO_DELAY_MS else now_ms - each.at_ms for each in updates]
        return await self._sessions.apply(updates, ages, self._predict_status)

    def _predict_status(self, update: SessionUpdate) -> Status:
        known = self._replica.state(update.subject).status
        return update.status if known is Status.OFFLINE else known

    def _match_results(self, batch: list[_Request], results: list[SessionUpdateResult]) -> None:
        start = 0
        for request in batch:
            own = results[start : start + len(request.updates)]
            start += len(request.updates)
            for update in request.updates:
                if update.status is Status.ONLINE and not update.is_remote:
                    self._replica.record_activity(update.subject, update.at_ms)
            response = _Response(request, own)
            if response.seq <= self._replica.read_seq:
                self._resolve(response)
            else:
                self._unreplicated.append(response)

    def _resolve(self, response: _Response) -> None:
        states = [
            PresenceState(result.status, result.status_msg, self._replica.state(update.subject).last_active_ms)
            for update, result in zip(response.request.updates, response.results, strict=True)
        ]
        response.request.resolve(states)

    # --- changes and expiry ---------------------------------------------------------------------------

    async def _replicate(self) -> None:
        while True:
            for change in await self._sessions.changes(self._replica.read_seq, block_ms=_BLOCK_MS):
                self._replica.apply(change)
            self._resolve_up_to(self._replica.read_seq)

    def _resolve_up_to(self, seq: int) -> None:
        while self._unreplicated and self._unreplicated[0].seq <= seq:
            self._resolve(self._unreplicated.popleft())

    async def _expire_sessions(self) -> None:
        while True:
            wait_ms = await self.expire()
            self._drop_old_updates()
            await asyncio.sleep((_MAX_EXPIRY_WAIT_MS if wait_ms is None else min(wait_ms, _MAX_EXPIRY_WAIT_MS)) / 1000)

    def _drop_old_updates(self) -> None:
        before_ms = self._now_ms() - self._ttl_ms
        while self._local_updates:
            key = next(iter(self._local_updates))
            if self._local_updates[key].at_ms > before_ms:
                return
            del self._local_updates[key]

    async def _read_activity(self) -> None:
        since_ms = 0.0
        while True:
            sessions = await self._sessions.deadlines_after(since_ms)
            for subject, session, deadline_ms in sessions:
                # For remote and restored sessions, the process that sets them reports the time of activity.
                is_remote = is_person(subject) or session == _RESTORED
                if not is_remote and self._replica.state(subject).status is Status.ONLINE:
                    self._replica.record_activity(subject, int(deadline_ms) - self._ttl_ms)
            if sessions:
                since_ms = sessions[-1][2]
            if len(sessions) < BATCH:
                await asyncio.sleep(_ACTIVITY_PERIOD_S)

    # --- connecting and disconnecting -----------------------------------------------------------------

    async def _join(self) -> None:
        """Load the state of every subject from Redis and send the updates that Redis missed."""
        position = await self._sessions.join(
            published_seq=self._replica.seq, read_seq=self._replica.read_seq, data_id=self._data_id
        )
        # Updates wait from here on: an update that was applied locally after this point would never reach Redis.
        self._is_standalone = False
        if self._data_id not in {None, position.data_id}:
            log.warning(
                "presence_lost_by_redis", help="Redis lost its data; this process sends it the state that it knows"
            )
            await self._replay(self._restoring_updates())
            await self._replay(self._updates_since(0))
        elif self._lost_at_ms is not None:
            await self._replay(self._updates_since(self._lost_at_ms - _UNCERTAIN_MS))
        snapshot = {subject: (state, seq) async for subject, state, seq in self._sessions.snapshot()}
        self._replica.load(position.seq, snapshot)
        self._resolve_up_to(position.seq)
        if self.reason is not None:
            log.info("redis_joined" if self._data_id is None else "redis_back", subjects=len(snapshot))
        self._data_id = position.data_id
        self._lost_at_ms = self.reason = None

    def _restoring_updates(self) -> list[SessionUpdate]:
        now_ms = self._now_ms()
        return [
            SessionUpdate(subject, _RESTORED, state.status, state.status_msg, now_ms, True, state.last_active_ms)
            for subject, state in self._replica.online().items()
        ]

    def _updates_since(self, since_ms: int) -> list[SessionUpdate]:
        self._drop_old_updates()
        return [self._with_status_text(update) for update in self._local_updates.values() if update.at_ms >= since_ms]

    def _with_status_text(self, update: SessionUpdate) -> SessionUpdate:
        """Replace "retain the status text" by the text itself: Redis may not have it."""
        if isinstance(update.status_msg, KeepCurrent) and update.status is not Status.OFFLINE:
            return replace(update, status_msg=self._replica.state(update.subject).status_msg)
        return update

    async def _replay(self, updates: list[SessionUpdate]) -> None:
        for start in range(0, len(updates), BATCH):
            await self._send(updates[start : start + BATCH])

    def _connection_lost(self, error: Exception) -> None:
        self.reason = str(error) or type(error).__name__
        if self._lost_at_ms is None:
            log.warning(
                "redis_gone",
                reason=self.reason,
                help="heartbeats are accepted in this process, and no subject goes offline meanwhile; trying again",
            )
        self._enter_standalone()

    def _enter_standalone(self) -> None:
        if self._lost_at_ms is None:
            self._lost_at_ms = self._now_ms()
            self._replica.enter_standalone(self._lost_at_ms)
        self._is_standalone = True
        # A change that did not return by the stream is applied locally.
        for request in [*(response.request for response in self._unreplicated), *self._queue]:
            request.resolve(self._apply_locally(request.updates))
        self._unreplicated.clear()
        self._queue.clear()
        self._queued.clear()

    def _apply_locally(self, updates: list[SessionUpdate]) -> list[PresenceState]:
        return [self._replica.apply_locally(each.subject, each.status, each.status_msg, each.at_ms) for each in updates]
