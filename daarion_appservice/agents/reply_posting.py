"""Posts the replies of agents, their growing parts and the notices about failures, and updates the pending replies.

A reply is posted under a ``client_id`` of its own, and its row is completed in the same transaction that stores the
replies that it requests from other agents. If the process ends in between and the reply is generated again, the same
message is therefore edited. The reason for a failure is stored before the notice is posted, so that a restarted process
posts the notice and does not ask the core again.
"""

from __future__ import annotations

from ..city.agent_replies import AgentReplies
from ..city.background_parsing import parsed_ahead, prose_ahead
from ..city.events import RepliesPending
from ..city.message_edits import MessageEdits
from ..city.message_size import truncate_body
from ..city.messages import Draft, Messages
from ..city.pending_replies import PendingReply, ReplyFailure
from ..city.ports import NowMs, Publish
from ..city.types import Author, AuthorKind, Message
from ..storage.database import Database
from .metrics import ABANDONED, REPLIED, REPLIES, REPLY_SECONDS
from .pending_request import PendingRequest


class ReplyPoster:
    """Posts replies and notices, each once, also after a crash."""

    def __init__(
        self,
        database: Database,
        messages: Messages,
        edits: MessageEdits,
        agent_replies: AgentReplies,
        publish: Publish,
        now_ms: NowMs,
    ) -> None:
        self._database = database
        self._messages = messages
        self._edits = edits
        self._agent_replies = agent_replies
        self._publish = publish
        self._now_ms = now_ms

    async def show(self, request: PendingRequest, text: str, message: Message | None) -> Message:
        """Post the text that has arrived, or edit ``message``, the one that shows the text so far.

        In the city such a message does not count as edited; Matrix clients mark it, because it grows by ``m.replace``.
        """
        text = truncate_body(text)
        if message is None:
            draft = Draft(text, reply_to=request.message.id, client_id=_client_id(request.reply))
            posted = await self._messages.post(request.author, request.room.id, draft, requests_replies=False)
            if posted.is_new:
                return posted.message
            message = posted.message
        return await self._edits.edit(request.author, request.room.id, message.id, text, is_growth=True)

    async def complete(self, request: PendingRequest, message: Message) -> None:
        """Mark the reply as posted, and store the replies that it requests from other agents.

        A reply whose request was withdrawn meanwhile is deleted.
        """
        async with parsed_ahead(prose_ahead(message.body)), self._database.transaction() as tx:
            requested: list[PendingReply] = []
            request_message = await tx.messages.get(request.message.id)
            is_withdrawn = await self._agent_replies.is_withdrawn(tx, request.room, request_message)
            is_new = not is_withdrawn and await tx.agent_replies.mark_posted(request.reply.id, message.id)
            if is_new:
                requested = await self._agent_replies.add(tx, request.room, message, depth=request.reply.depth + 1)
        if is_withdrawn:
            await self.withdraw(request.reply)
        if is_new:
            REPLIES.labels(REPLIED).inc()
            REPLY_SECONDS.observe(max(0, self._now_ms() - request.reply.requested_at_ms) / 1000)
        if requested:
            self._publish(RepliesPending())

    async def fail(self, request: PendingRequest, failure: ReplyFailure) -> None:
        """Store why there will be no reply, and post the notice about it."""
        async with self._database.transaction() as tx:
            is_pending = await tx.agent_replies.mark_failed(request.reply.id, failure)
        if is_pending:
            await self.post_notice(request, failure)

    async def post_notice(self, request: PendingRequest, failure: ReplyFailure) -> None:
        """Post a notice with the stored reason for the missing reply, and delete the partial reply."""
        async with self._database.read_only() as tx:
            partial = await tx.messages.by_client_id(request.author, request.room.id, _client_id(request.reply))
            request_message = await tx.messages.get(request.message.id)
            is_withdrawn = await self._agent_replies.is_withdrawn(tx, request.room, request_message)
        if is_withdrawn:
            await self.withdraw(request.reply)
            return
        await self._delete(request.author, partial)
        draft = Draft(
            request.failure_notice(failure),
            msgtype="m.notice",
            reply_to=request.message.id,
            client_id=f"{_client_id(request.reply)}:excuse",
        )
        posted = await self._messages.post(request.author, request.room.id, draft)
        async with self._database.transaction() as tx:
            is_new = await tx.agent_replies.mark_posted(request.reply.id, posted.message.id)
        if is_new:
            REPLIES.labels(failure).inc()

    async def withdraw(self, reply: PendingReply) -> None:
        """Abandon a pending reply without a notice, and delete the partial reply.

        If the request was edited meanwhile so that it requests the reply again, that is pending under a new id.
        """
        author = Author(AuthorKind.AGENT, reply.agent, reply.agent)
        async with self._database.read_only() as tx:
            is_pending = await tx.agent_replies.get_pending(reply.id) is not None
            partial = await tx.messages.by_client_id(author, reply.room_id, _client_id(reply)) if is_pending else None
            message = await tx.messages.get(reply.request_id)
        await self._delete(author, partial)
        async with parsed_ahead(prose_ahead(message.body) if message else []), self._database.transaction() as tx:
            # An edit locks the room, too: it comes before this check, or it finds the reply abandoned.
            room, message = await tx.rooms.lock_any(reply.room_id), await tx.messages.get(reply.request_id)
            is_new = await tx.agent_replies.mark_abandoned(reply.id)
            renewed = await self._agent_replies.renew(tx, room, message, reply) if is_new and room and message else []
        if renewed:
            self._publish(RepliesPending())
        elif is_new:
            REPLIES.labels(ABANDONED).inc()

    async def abandon(self, reply: PendingReply) -> None:
        """Mark a pending reply as abandoned, and post nothing."""
        async with self._database.transaction() as tx:
            is_new = await tx.agent_replies.mark_abandoned(reply.id)
        if is_new:
            REPLIES.labels(ABANDONED).inc()

    async def postpone(self, reply: PendingReply, reason: str, *, retry_at_ms: int) -> None:
        """Store why a reply is not possible yet; it is due again at ``retry_at_ms``."""
        async with self._database.transaction() as tx:
            await tx.agent_replies.postpone(reply.id, reason, retry_at_ms=retry_at_ms)

    async def _delete(self, author: Author, message: Message | None) -> None:
        if message is not None and not message.deleted:
            await self._edits.delete(author, message.room_id, message.id, may_moderate=False)


def _client_id(reply: PendingReply) -> str:
    return f"answer:{reply.id}"
