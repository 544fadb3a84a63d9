"""The newest messages of an agent in the city's rooms, for the page of the agent."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, literal_column, not_, select

from ..city.history_visibility import ReadableRanges
from ..city.types import AgentSlug, Message, RoomId
from .message_rows import read_message
from .readable import message_is_readable_in, room_is_listed
from .repository import Repository
from .tables import messages, rooms

# A literal instead of a parameter: only then is the index of the messages of agents used.
_BY_AGENTS: ColumnElement[bool] = messages.c.author_kind == literal_column("'agent'")


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
