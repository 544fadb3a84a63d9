"""Asks the agents core for pending replies and posts them: one reply to each request, also after a crash.

    pending ─► may the agent reply, and is it online? ─no─► a notice about that
                 └─yes─► typing ─► the agents core, with the conversation ─► a message that grows by edits ─► posted
                                       └─ busy: later;  broken or too slow: a notice about that

`reply_kinds` generates the chunks of a reply, `reply_posting` posts them, and `request_watcher` stops both when the
request is deleted or edited.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from ..city.agents import AgentDirectory
from ..city.pending_replies import PendingReply, ReplyFailure
from ..city.ports import NowMs, PresenceStore, Publish
from ..city.presence import Status
from ..city.second_me import is_second_me
from ..city.types import Message, RoomId, agent_subject
from ..errors import CircuitOpen, CityError, CoreBusy, CoreError, CoreTimeout, DatabaseError
from ..realtime.worker import Worker
from ..storage.database import Database
from .edit_throttle import EditThrottle
from .pending_request import PendingRequest, read_pending_request
from .reply_kinds import CannotReply, NotReady, ReplyKind
from .reply_posting import ReplyPoster
from .request_watcher import RequestEdited, RequestWatcher, RequestWithdrawn
from .second_me import AnotherRequestRunning
from .typing_notice import typing

_MAX_CONCURRENT: Final = 32
"""Replies that are generated at the same time."""
_BATCH: Final = 200
_MAX_IDLE_S: Final = 2.0
"""Longest time between two reads of the pending replies, in seconds, even if no event wakes the worker."""
_DATABASE_RETRY_S: Final = 1.0
_BUSY_RETRY_MS: Final = 5_000
_NOT_READY_RETRY_MS: Final = 1_000
_MAX_BUSY_MS: Final = 120_000
"""How long a request waits for a busy core, in ms."""

log = structlog.get_logger()


class ReplyWorker:
    """Works on the pending replies of all agents.

    Args:
        core_replies: generates the replies of the registry's agents.
        second_me_replies: generates the replies of Second Me.
        patience_ms: time after the start during which an offline agent may still come online before a notice is posted.
    """

    def __init__(
        self,
        database: Database,
        agents: AgentDirectory,
        presence: PresenceStore,
        core_replies: ReplyKind,
        second_me_replies: ReplyKind,
        poster: ReplyPoster,
        watcher: RequestWatcher,
        publish: Publish,
        now_ms: NowMs,
        *,
        patience_ms: int,
    ) -> None:
        self._database = database
        self._agents = agents
        self._presence = presence
        self._core_replies = core_replies
        self._second_me_replies = second_me_replies
        self._poster = poster
        self._watcher = watcher
        self._publish = publish
        self._now_ms = now_ms
        self._grace_ends_ms = now_ms() + patience_ms
        self._worker = Worker("reply_worker", idle_s=_MAX_IDLE_S)
        self._running: set[tuple[RoomId, str]] = set()
        """Rooms and agents with a running reply: an agent replies to the requests of a room one at a time, in order."""

    def wake(self) -> None:
        """Look for new pending replies."""
        self._worker.wake()

    async def run(self) -> None:
        """Process pending replies until cancelled. Can be run again."""
        self._running.clear()
        async with asyncio.TaskGroup() as tasks:
            await self._worker.run(partial(self._start_replies, tasks))

    async def _start_replies(self, tasks: asyncio.TaskGroup) -> None:
        """Start a task for each pending reply that is due and whose agent has no running reply in its room."""
        async with self._database.read_only() as tx:
            due = await tx.agent_replies.due(now_ms=self._now_ms(), limit=_BATCH)
        for reply in due:
            if len(self._running) >= _MAX_CONCURRENT:
                return
            if (reply.room_id, reply.agent) not in self._running:
                self._running.add((reply.room_id, reply.agent))
                tasks.create_task(self._process(reply))

    async def _process(self, reply: PendingReply) -> None:
        """Reply to one request. Never raises: the reply stays pending if the database does not answer."""
        try:
            await self._reply(reply)
        except DatabaseError as error:
            await _wait_for_database(error)
        except CityError as error:
            # The agent may not post in the room, or the room is archived or deleted, so no notice can be posted.
            log.info("reply_abandoned", agent=reply.agent, room=reply.room_id, error=error.detail)
            await self._abandon(reply)
        except Exception:
            log.exception("reply_failed", agent=reply.agent, room=reply.room_id)
            await self._abandon(reply)
        finally:
            self._running.discard((reply.room_id, reply.agent))
            self._worker.wake()

    async def _abandon(self, reply: PendingReply) -> None:
        try:
            await self._poster.abandon(reply)
        except DatabaseError as error:
            await _wait_for_database(error)

    async def _reply(self, reply: PendingReply) -> None:
        async with self._database.read_only() as tx:
            request = await read_pending_request(tx, self._agents, reply)
            is_requested = request is not None and await self._watcher.is_requested(tx, request)
        if request is None or not is_requested:
            await self._withdraw(reply)
        elif (failure := request.reply.failure) is not None:
            await self._poster.post_notice(request, failure)
        else:
            await self._generate(request)

    async def _generate(self, request: PendingRequest) -> None:
        """Generate and post the reply, or decide what happens instead."""
        kind = self._second_me_replies if is_second_me(request.agent.slug) else self._core_replies
        try:
            await kind.check(request)
            self._check_online(request)
            async with typing(self._publish, request.room.id, request.author):
                message = await self._watcher.cancel_on_change(request, self._post_chunks(kind, request))
        except RequestWithdrawn:
            await self._withdraw(request.reply)
        except RequestEdited:
            # The reply stays pending; the request is read again at once.
            log.info("request_edited", agent=request.reply.agent, room=request.room.id)
        except NotReady as error:
            await self._poster.postpone(request.reply, str(error), retry_at_ms=self._now_ms() + _NOT_READY_RETRY_MS)
        except (CoreBusy, CircuitOpen) as error:
            await self._postpone(request, error.detail, after_s=error.retry_after_s or 0)
        except AnotherRequestRunning as error:
            await self._postpone(request, error.detail)
        except CannotReply as error:
            await self._fail(request, error.failure)
        except CoreTimeout:
            await self._fail(request, ReplyFailure.SLOW)
        except CoreError:
            await self._fail(request, ReplyFailure.FAILED)
        else:
            await self._poster.complete(request, message)
            self._watcher.forget(request.reply.id)

    def _check_online(self, request: PendingRequest) -> None:
        """Raise CannotReply if the agent is offline; NotReady as long as it may still come online after our start."""
        if self._presence.state(agent_subject(request.agent.slug)).status is not Status.OFFLINE:
            return
        if self._now_ms() < self._grace_ends_ms:
            raise NotReady("the agent is not online yet")
        raise CannotReply(ReplyFailure.OFFLINE)

    async def _post_chunks(self, kind: ReplyKind, request: PendingRequest) -> Message:
        """Post the reply, at once or by growing edits; return the message in its final state."""
        throttle = EditThrottle(asyncio.get_running_loop().time)
        text, message = "", None
        async with kind.generate(request) as chunks:
            async for chunk in chunks:
                text += chunk
                if text.strip() and throttle.is_due():
                    await kind.check_readers(request)
                    message = await self._poster.show(request, text, message)
        await kind.check_readers(request)
        return await self._poster.show(request, text, message)

    async def _postpone(self, request: PendingRequest, reason: str, *, after_s: float = 0) -> None:
        """Try again when the core may be less busy, or give up after two minutes."""
        now_ms = self._now_ms()
        if now_ms - request.reply.requested_at_ms > _MAX_BUSY_MS:
            await self._fail(request, ReplyFailure.BUSY)
        else:
            retry_at_ms = now_ms + int(after_s * 1000) + _BUSY_RETRY_MS
            await self._poster.postpone(request.reply, reason, retry_at_ms=retry_at_ms)

    async def _fail(self, request: PendingRequest, failure: ReplyFailure) -> None:
        await self._poster.fail(request, failure)
        self._watcher.forget(request.reply.id)

    async def _withdraw(self, reply: PendingReply) -> None:
        await self._poster.withdraw(reply)
        self._watcher.forget(reply.id)


async def _wait_for_database(error: Exception) -> None:
    log.error("replies_unavailable", error=str(error), help="the database does not answer; trying again")
    await asyncio.sleep(_DATABASE_RETRY_S)
