"""Agents that were removed from the registry, until their ghosts have left their rooms."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, or_, select

from ..city.types import AgentSlug, AuthorKind, RoomId, UserId
from .outbox import OutboxState
from .repository import Repository
from .tables import messages, outbox, reactions, removed_agents


@dataclass(frozen=True, slots=True)
class RemovedAgent:
    """One row of ``removed_agents``."""

    slug: AgentSlug
    removed_at_ms: int


class RemovedAgentRepository(Repository):
    """The table ``removed_agents``."""

    async def all(self) -> list[RemovedAgent]:
        rows = await self._connection.execute(select(removed_agents).order_by(removed_agents.c.slug))
        return [RemovedAgent(AgentSlug(row.slug), row.removed_at_ms) for row in rows]

    async def unsent(self, slug: AgentSlug, ghost: UserId) -> set[RoomId]:
        """Return the rooms with outbox entries that the agent's ghost still has to send."""
        statement = (
            select(outbox.c.room_id)
            .distinct()
            .outerjoin(messages, messages.c.id == outbox.c.message_id)
            .outerjoin(reactions, reactions.c.id == outbox.c.reaction_id)
            .where(
                outbox.c.state == OutboxState.NEW,
                or_(
                    (messages.c.author_kind == AuthorKind.AGENT) & (messages.c.author_id == slug),
                    (reactions.c.author_kind == AuthorKind.AGENT) & (reactions.c.author_id == slug),
                    outbox.c.user_id == ghost,
                ),
            )
        )
        return {RoomId(room) for room in (await self._connection.execute(statement)).scalars()}

    async def delete(self, removed: RemovedAgent) -> None:
        """Delete the row, unless the agent was added and removed again in the meantime."""
        await self._connection.execute(
            delete(removed_agents).where(
                removed_agents.c.slug == removed.slug, removed_agents.c.removed_at_ms == removed.removed_at_ms
            )
        )
