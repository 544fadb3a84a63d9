"""Cancels the generation of a reply when its request is withdrawn or edited."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from ..city.agent_replies import AgentReplies
from ..city.events import RoomEventStored
from ..city.pending_replies import ReplyId
from ..city.types import MessageId
from ..errors import DatabaseError
from ..storage.database import Database, Transaction
from .pending_request import PendingRequest

_CHECK_INTERVAL_S: Final = 2.0
"""How often to check the request without an event, in seconds: a process may miss an event."""
_MAX_RESTARTS: Final = 5
"""How many times a request that is edited during its reply is sent again."""

T = TypeVar("T")

log = structlog.get_logger()


class RequestWithdrawn(Exception):
    """The message was deleted or no longer mentions the agent, or a moderator kicked or banned its author."""


class RequestEdited(Exception):
    """The text of the request differs from the one that the agents core received."""


class RequestWatcher:
    """Watches the messages whose replies are being generated."""

    def __init__(self, database: Database, agent_replies: AgentReplies) -> None:
        self._database = database
        self._agent_replies = agent_replies
        self._watched: dict[ReplyId, tuple[MessageId, asyncio.Event]] = {}
        """The message of each request, and an event that is set when the message changes."""
        self._restarts: dict[ReplyId, int] = {}

    def on_room_event(self, stored: RoomEventStored) -> None:
        """Check the requests whose message changed in this event, or whose author it may have removed from the room."""
        message, is_removal = stored.event.message, stored.event.removal is not None
        for message_id, changed in self._watched.values():
            if is_removal or (message is not None and message.id == message_id):
                changed.set()

    async def is_requested(self, tx: Transaction, request: PendingRequest) -> bool:
        """Return whether the message still requests the reply: an edit or a ban may have ended that while it was waiting."""
        if await self._agent_replies.is_withdrawn(tx, request.room, request.message):
            return False
        if request.message.edited_at_ms is None:
            return True
        requested = await self._agent_replies.requested_agents(tx, request.room, request.message)
        return request.reply.agent in requested

    async def cancel_on_change(self, request: PendingRequest, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of ``work``, or cancel it when the request changes.

        Args:
            request: the request that is watched.
            work: runs as a task of its own.

        Raises:
            RequestWithdrawn, RequestEdited: the request has changed.
        """
        changed = asyncio.Event()
        self._watched[request.reply.id] = request.message.id, changed
        task = asyncio.create_task(work)
        try:
            while not task.done():
                changed.clear()
                waiting = asyncio.create_task(changed.wait())
                await asyncio.wait({task, waiting}, timeout=_CHECK_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if not task.done():
                    await self._check(request)
            return await task
        finally:
            del self._watched[request.reply.id]
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    def forget(self, reply: ReplyId) -> None:
        """Forget how often a reply was restarted, because it is posted or withdrawn."""
        self._restarts.pop(reply, None)

    async def _check(self, request: PendingRequest) -> None:
        """Raise RequestWithdrawn or RequestEdited if the request has changed."""
        agent, seen = request.reply.agent, request.message
        try:
            async with self._database.read_only() as tx:
                message = await tx.messages.get(seen.id)
                is_pending = await tx.agent_replies.get_pending(request.reply.id) is not None
                is_withdrawn = await self._agent_replies.is_withdrawn(tx, request.room, message)
                is_requested = message is not None and agent in await self._agent_replies.requested_agents(
                    tx, request.room, message
                )
        except DatabaseError as error:
            log.error("replies_unavailable", error=str(error), help="the database does not answer; trying again")
            return
        if message is None or is_withdrawn or not is_pending:  # The erasure of the agent ends the request.
            raise RequestWithdrawn
        if message.body == seen.body and message.media == seen.media:
            return
        if not is_requested:
            raise RequestWithdrawn
        restarts = self._restarts.get(request.reply.id, 0)
        if restarts < _MAX_RESTARTS:
            self._restarts[request.reply.id] = restarts + 1
            raise RequestEdited
