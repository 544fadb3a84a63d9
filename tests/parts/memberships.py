"""A room of the city whose memberships Matrix and the city change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from daarion_appservice.city.events import (
    CityEvent,
)
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import (
    Agent,
    AgentSlug,
    Author,
    AuthorKind,
    MatrixRoomId,
    Message,
    OutboxKind,
    RoomId,
    UserId,
)
from daarion_appservice.city.typing_and_receipts import TypingAndReceipts
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.tables import rooms as room_table
from tests.parts.messaging import MessagingHarness, messaging_harness

OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
TARAS = Author(AuthorKind.CITIZEN, "u_2", "Тарас")
SCRIBE = Author(AuthorKind.AGENT, "scribe", "Писар")
GHOST, SCRIBES_GHOST = UserId("@citizen_u_1:city.localhost"), UserId("@agent_scribe:city.localhost")
ALICE, MODERATOR = UserId("@alice:city.localhost"), "@moderator:city.localhost"
GENERAL = RoomId("city_general")
JOIN, LEAVE = RoomEventKind.JOIN, RoomEventKind.LEAVE


@dataclass
class MembershipHarness:
    """A room, with memberships changed by Matrix and by the city."""

    database: Database
    desk: MessagingHarness
    published: list[CityEvent] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def typing_and_receipts(self) -> TypingAndReceipts:
        return TypingAndReceipts(self.database, self.published.append, self.desk.permissions)

    async def receive_member(
        self, user: str, membership: Any, *, by: str | None = None, **content: Any
    ) -> list[CityEvent]:
        """Receive an ``m.room.member`` event; return the published events."""
        event = {
            "type": "m.room.member",
            "room_id": "!general",
            "event_id": f"$event{next(self._numbers)}",
            "sender": by or user,
            "state_key": user,
            "origin_server_ts": 1_700_000_000_000,
            "content": {"membership": membership} | content,
        }
        async with self.database.transaction() as tx:
            room = await tx.rooms.find(GENERAL)
            assert room is not None
            return await self.desk.member_events.member(tx, room, event)

    async def set_columns(self, **columns: str) -> None:
        async with self.database.transaction() as tx:
            await tx.connection.execute(room_table.update().where(room_table.c.id == GENERAL).values(**columns))

    async def members(self) -> dict[str, str | None]:
        async with self.database.read_only() as tx:
            return {member.user_id: member.display_name for member in await tx.members.of_room(GENERAL)}

    async def history(self) -> list[tuple[RoomEventKind, str]]:
        """Return the joins and leaves in the room's history."""
        async with self.database.read_only() as tx:
            events = await tx.room_events.after(GENERAL, 0, limit=999)
        assert [event.seq for event in events] == list(range(1, len(events) + 1)), "without a hole"
        return [(event.kind, event.who.id) for event in events if event.kind in {JOIN, LEAVE} and event.who]

    async def outbox_kinds(self) -> list[OutboxKind]:
        async with self.database.read_only() as tx:
            return [row.kind for row in await tx.outbox.waiting(limit=99)]

    async def clear_outbox(self) -> None:
        """Delete the outbox, as if everything had been sent."""
        async with self.database.transaction() as tx:
            for row in await tx.outbox.waiting(limit=99):
                await tx.outbox.delete(row.id)

    async def post(self, author: Author, body: str = "Добрий день") -> Message:
        return await self.desk.post(author, "general", body)


@asynccontextmanager
async def open_memberships(database_url: str) -> AsyncIterator[MembershipHarness]:
    """Open a database with the room General, which is linked with a Matrix room, and an agent."""
    database = Database(database_url)
    await migrate.upgrade(database)
    published: list[CityEvent] = []
    await Rooms(database, published.append, now_ms, new_id).open(
        "General", slug="general", matrix_room=MatrixRoomId("!general")
    )
    harness = MembershipHarness(database, messaging_harness(database, published.append), published)
    harness.desk.agents.replace([Agent("scribe", AgentSlug("scribe"), "Писар")])
    yield harness
    await database.close()
