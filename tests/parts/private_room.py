"""A city room, the events of its Matrix room, and the readers of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from daarion_appservice.city.types import MatrixRoomId, RoomId
from daarion_appservice.storage import tables
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city

GENERAL, MATRIX_ROOM = RoomId("city_general"), "!hall:city.localhost"
OKSANA, TARAS, ADMIN = (
    citizen_token("u_1", "Оксана"),
    citizen_token("u_2", "Тарас"),
    citizen_token("u_3", "Ада", role="admin"),
)
OKSANA_GHOST, TARAS_GHOST = "@citizen_u_1:city.localhost", "@citizen_u_2:city.localhost"
ALICE, BOT = "@alice:city.localhost", "@daarion_bot:city.localhost"
PICTURE = "mxc://city.localhost/picture"


@dataclass
class PrivateRoom:
    """The room General and its Matrix room."""

    city: InProcessCity
    count: int = field(default=0)

    async def receive(self, event_type: str, content: Any, **more: Any) -> str:
        self.count += 1
        event = {
            "event_id": f"${self.count}",
            "room_id": MATRIX_ROOM,
            "type": event_type,
            "sender": ALICE,
            "content": content,
            "origin_server_ts": 1_700_000_000_000 + self.count,
        } | more
        await self.city.handle(event)
        return f"${self.count}"

    async def receive_text(self, body: str, **more: Any) -> str:
        return await self.receive("m.room.message", {"msgtype": "m.text", "body": body} | more)

    async def set_visibility(self, visibility: str, join_rule: str = "invite") -> None:
        await self.receive("m.room.join_rules", {"join_rule": join_rule}, state_key="")
        await self.receive("m.room.history_visibility", {"history_visibility": visibility}, state_key="")

    async def member(self, user: str, membership: str) -> None:
        await self.receive("m.room.member", {"membership": membership}, state_key=user, sender=user)

    async def invite(self, user: str) -> None:
        await self.receive("m.room.member", {"membership": "invite"}, state_key=user)

    async def read(self, token: str | None = None, query: str = "") -> list[str]:
        return [each["body"] for each in await self.city.get(f"/city/rooms/general/messages{query}", token=token)]

    async def feed_bodies(self, token: str | None = None) -> list[str]:
        """Return the bodies of the feed's messages, oldest first."""
        entries = await self.city.get("/city/feed?limit=100", token=token)
        return [
            each["payload"]["body"] for each in reversed(entries) if each["kind"] in {"room_message", "agent_reply"}
        ]


@asynccontextmanager
async def private_room(database_url: str, **sections: dict[str, Any]) -> AsyncIterator[PrivateRoom]:
    """Open a city with the room; ``sections`` are those of ``in_process_city``."""
    async with in_process_city(database_url, **sections) as city:
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.link(GENERAL, MatrixRoomId(MATRIX_ROOM))
        yield PrivateRoom(city)


async def make_private(harness: PrivateRoom) -> None:
    """Make the room private as if it had never been public."""
    await harness.set_visibility("joined")
    async with harness.city.city.database.transaction() as tx:
        await tx.connection.execute(tables.rooms.update().where(tables.rooms.c.id == GENERAL).values(was_public=False))
        await tx.connection.execute(
            tables.feed.update().where(tables.feed.c.room_id == GENERAL).values(visibility="joined")
        )
    await harness.invite(OKSANA_GHOST)
    await harness.member(OKSANA_GHOST, "join")
    await harness.receive_text("таємниця")
