"""The newest messages of an agent in the city's rooms, for the page of the agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, func, literal_column, not_, select

from ..city.history_visibility import ReadableRanges
from ..city.types import AgentSlug, AuthorKind, Message, RoomId
from .message_rows import read_message
from .readable import message_is_readable_in, room_is_listed
from .repository import Repository
from .tables import messages, rooms

# A literal instead of a parameter: only then is the index of the messages of agents used.
_BY_AGENTS: ColumnElement[bool] = messages.c.author_kind == literal_column("'agent'")

_MOST_MESSAGES: Final = 20_000
"""The number of newest messages of a room among which its writers are found."""


class AgentMessageRepository(Repository):
    """The messages of agents in the table ``messages``."""

    async def newest(
        self, agent: AgentSlug, ranges_by_room: Mapping[RoomId, ReadableRanges], *, limit: int
    ) -> list[Message]:
        """Return messages of an agent in listed rooms that a reader may read, the newest first. Direct chats have none.

        Args:
            agent: The slug of the agent.
            ranges_by_room: The reader's readable ranges by room, ``PUBLIC`` by default.
            limit: The maximum number of messages.
        """
        table = messages.c
        readable = message_is_readable_in(ranges_by_room)
        statement = (
            select(messages)
            .join(rooms, rooms.c.id == table.room_id)
            .where(_BY_AGENTS, table.author_id == agent, not_(table.deleted))
            .where(rooms.c.agent.is_(None), room_is_listed(), readable)
            .order_by(table.created_at_ms.desc(), table.id.desc())
            .limit(limit)
        )
        return [read_message(row) for row in await self._connection.execute(statement)]

    async def writers_first(self, room: RoomId, agents: Sequence[AgentSlug]) -> list[AgentSlug]:
        """Return agents in another order: first those who wrote in a room, the one with the newest message first.

        Args:
            room: The room, of which the newest `_MOST_MESSAGES` messages are read.
            agents: The agents; those who wrote nothing keep their order.
        """
        table = messages.c
        newest = (
            select(table.author_kind, table.author_id, table.seq)
            .where(table.room_id == room)
            .order_by(table.seq.desc())
            .limit(_MOST_MESSAGES)
            .subquery()
        )
        last = func.max(newest.c.seq)
        statement = select(newest.c.author_id).where(newest.c.author_kind == AuthorKind.AGENT)
        found = await self._connection.scalars(statement.group_by(newest.c.author_id).order_by(last.desc()))
        known = set(agents)
        writers = [AgentSlug(slug) for slug in found if slug in known]
        return list(dict.fromkeys([*writers, *agents]))
