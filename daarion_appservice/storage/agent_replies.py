"""Pending and posted replies of agents.

A row is written in the transaction of the request, and stays after the reply: this prevents a second reply.

    pending ──► posted      a reply, or a notice with the reason for its absence; ``message_id`` is that message
       │ └────► abandoned   no reply is wanted any more; pending again, with a new id, if an edit requests it again
       └─────── (failed)    stays pending, and is due again at retry_at_ms
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import Update, func, select, update

from ..city.pending_replies import PendingReply, ReplyFailure, ReplyId
from ..city.types import AGENT_SUBJECT, AgentSlug, MessageId, RoomId, SubjectId
from .repository import Repository
from .row_mapper import RowMapper
from .tables import agent_replies
from .upsert import insert


class ReplyState(StrEnum):
    """States of a row of ``agent_replies``."""

    PENDING = "pending"
    POSTED = "posted"
    ABANDONED = "abandoned"


_MAX_ATTEMPTS: Final = 10
"""The failed attempts and renewals after which an abandoned reply stays abandoned: edits could renew it without end."""

_pending_reply: Final = RowMapper(PendingReply)


class ReplyRepository(Repository):
    """The table ``agent_replies``."""

    async def add(self, pending: list[PendingReply], *, requester: SubjectId) -> list[PendingReply]:
        """Insert pending replies, and return those that were stored.

        Not stored are those that were requested before and not abandoned, or abandoned `_MAX_ATTEMPTS` times.
        """
        new = insert(self._connection, agent_replies)
        # The partial reply that was posted under the former id is deleted, so the row takes the new id.
        renewed = {name: new.excluded[name] for name in ("id", "depth", "requester", "requested_at_ms", "failure")}
        stored = await self._connection.execute(
            new.on_conflict_do_update(
                index_elements=[agent_replies.c.request_id, agent_replies.c.agent],
                set_=renewed
                | {
                    "state": ReplyState.PENDING,
                    "attempts": agent_replies.c.attempts + 1,
                    "retry_at_ms": 0,
                    "error": None,
                },
                where=(agent_replies.c.state == ReplyState.ABANDONED) & (agent_replies.c.attempts < _MAX_ATTEMPTS),
            ).returning(agent_replies.c.id),
            [
                {
                    "id": each.id,
                    "request_id": each.request_id,
                    "agent": each.agent,
                    "room_id": each.room_id,
                    "depth": each.depth,
                    "requester": requester,
                    "requested_at_ms": each.requested_at_ms,
                    "failure": each.failure,
                }
                for each in pending
            ],
        )
        ids = set(stored.scalars())
        return [each for each in pending if each.id in ids]

    async def count_by_agents(self, room: RoomId, *, since_ms: int) -> int:
        """Return how many replies agents requested in a room since ``since_ms``."""
        found = await self._connection.execute(
            select(func.count())
            .select_from(agent_replies)
            .where(
                agent_replies.c.room_id == room,
                agent_replies.c.requested_at_ms >= since_ms,
                agent_replies.c.requester.startswith(AGENT_SUBJECT, autoescape=True),
            )
        )
        return int(found.scalar_one())

    async def count_by_requester(self, requester: SubjectId, *, since_ms: int) -> int:
        """Return how many replies a subject requested in all rooms since ``since_ms``."""
        found = await self._connection.execute(
            select(func.count())
            .select_from(agent_replies)
            .where(agent_replies.c.requester == requester, agent_replies.c.requested_at_ms >= since_ms)
        )
        return int(found.scalar_one())

    async def get_pending(self, reply: ReplyId) -> PendingReply | None:
        """Return the pending reply in its current state; None if it was posted or abandoned."""
        found = await self._connection.execute(
            select(agent_replies).where(agent_replies.c.id == reply, agent_replies.c.state == ReplyState.PENDING)
        )
        row = found.first()
        return _pending_reply(row) if row else None

    async def posted_replies(self, requests: list[MessageId], agent: AgentSlug) -> dict[MessageId, MessageId]:
        """Return an agent's replies by the messages that requested them."""
        found = await self._connection.execute(
            select(agent_replies.c.request_id, agent_replies.c.message_id).where(
                agent_replies.c.request_id.in_(requests),
                agent_replies.c.agent == agent,
                agent_replies.c.state == ReplyState.POSTED,
                agent_replies.c.failure.is_(None),
            )
        )
        return {MessageId(row.request_id): MessageId(row.message_id) for row in found}

    async def due(self, *, now_ms: int, limit: int) -> list[PendingReply]:
        """Return the replies that are due now, in the order of their requests.

        Only the first pending reply of each agent in each room is considered: the others wait for it.
        """
        first = (
            select(func.min(agent_replies.c.id))
            .where(agent_replies.c.state == ReplyState.PENDING)
            .group_by(agent_replies.c.room_id, agent_replies.c.agent)
        )
        rows = await self._connection.execute(
            select(agent_replies)
            .where(agent_replies.c.id.in_(first), agent_replies.c.retry_at_ms <= now_ms)
            .order_by(agent_replies.c.id)
            .limit(limit)
        )
        return [_pending_reply(row) for row in rows]

    async def postpone(self, reply: ReplyId, error: str, *, retry_at_ms: int) -> None:
        """Record a failed attempt; the reply is due again at ``retry_at_ms``."""
        await self._connection.execute(
            _if_pending(reply).values(attempts=agent_replies.c.attempts + 1, retry_at_ms=retry_at_ms, error=error)
        )

    async def mark_failed(self, reply: ReplyId, failure: ReplyFailure) -> bool:
        """Store why no reply will be posted, before the notice; return False if another process posted a reply."""
        found = await self._connection.execute(_if_pending(reply).values(failure=failure))
        return bool(found.rowcount)

    async def mark_posted(self, reply: ReplyId, message: MessageId) -> bool:
        """Store the message of the reply; return False if one was posted before."""
        return await self._end(reply, ReplyState.POSTED, message)

    async def mark_abandoned(self, reply: ReplyId) -> bool:
        return await self._end(reply, ReplyState.ABANDONED, None)

    async def _end(self, reply: ReplyId, state: ReplyState, message: MessageId | None) -> bool:
        ended = await self._connection.execute(_if_pending(reply).values(state=state, message_id=message))
        return ended.rowcount > 0


def _if_pending(reply: ReplyId) -> Update:
    return update(agent_replies).where(agent_replies.c.id == reply, agent_replies.c.state == ReplyState.PENDING)
