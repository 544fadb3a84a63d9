"""The route ``/api/v1/agents/{agent_id}/messages``: what an agent last wrote in the city's rooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from ...city.agents import AgentDirectory
from ...city.excerpts import excerpt
from ...city.history_visibility import PUBLIC, as_seen
from ...city.identity import Identities
from ...city.reader_memberships import ReaderMemberships
from ...storage.database import Database
from .. import schemas
from ..auth.principals import Access, author_of
from ..message_views import message_view
from ..routing import Call, NoBody, Query, endpoint

_EXCERPT_CHARS: Final = 280


class AgentMessageListQuery(Query):
    limit: int = Field(5, ge=1, le=50, description="The maximum number of messages.", examples=[5])


@dataclass(frozen=True, slots=True)
class AgentMessageRoutes:
    database: Database
    agents: AgentDirectory
    readers: ReaderMemberships
    identities: Identities

    @endpoint(
        "GET",
        "/api/v1/agents/{agent_id}/messages",
        access=Access.READERS,
        query=AgentMessageListQuery,
        summary="List the newest messages of an agent",
        response=list[schemas.AgentMessage],
        errors=("no_such_agent",),
    )
    async def list_agent_messages(self, call: Call[NoBody, AgentMessageListQuery]) -> list[schemas.AgentMessage]:
        """Returns messages of listed rooms that the client may read, the newest first; none of direct chats."""
        agent = self.agents.find(call.path["agent_id"])
        async with self.database.read_only() as tx:
            ranges_by_room = await self.readers.ranges_by_room(tx, author_of(call.principal))
            found = await tx.agent_messages.newest(agent.slug, ranges_by_room, limit=call.query.limit)
            rooms = {room.id: room for room in await tx.rooms.by_ids({message.room_id for message in found})}
        return [
            {
                "message": message_view(as_seen(message, room, ranges_by_room.get(room.id, PUBLIC)), self.identities),
                "room": {"id": room.id, "slug": room.slug, "name": room.name},
                "excerpt": excerpt(message.body, message.formatted_body, _EXCERPT_CHARS),
            }
            for message in found
            if (room := rooms.get(message.room_id)) is not None
        ]
