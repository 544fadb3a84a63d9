"""Messages, edits, deletions and reactions of the city and of Matrix on a database, without a homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import Any

from daarion_appservice.city.events import CityEvent
from daarion_appservice.city.feed_entries import FeedKind
from daarion_appservice.city.room_events import RoomEvent, RoomEventKind
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    EventId,
    Message,
    RoomId,
)
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.storage import tables
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.outbox import OutboxRow
from tests.parts.messaging import MessagingHarness, link, messaging_harness

OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
TARAS = Author(AuthorKind.CITIZEN, "u_2", "Тарас")
SCRIBE = Author(AuthorKind.AGENT, "scribe", "Писар")
ALICE, BOB = "@alice:city.localhost", "@bob:elsewhere.example"
OKSANA_GHOST = "@citizen_u_1:city.localhost"
GENERAL = RoomId("city_general")
MATRIX_ROOM = "!general"


@dataclass
class MessageExchange:
    """The rooms general and builders, which exchange messages with Matrix."""

    database: Database
    messaging: MessagingHarness
    published: list[CityEvent] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    async def receive(self, event_type: str, content: Any, *, sender: str = ALICE, **more: Any) -> str:
        """Handle an event from Matrix; return its id."""
        event_id = str(more.get("event_id", f"$event{next(self._numbers)}"))
        event = {
            "type": event_type,
            "room_id": MATRIX_ROOM,
            "event_id": event_id,
            "sender": sender,
            "origin_server_ts": 1_700_000_000_000,
            "content": content,
        } | more
        async with self.database.transaction() as tx:
            happened = await self.messaging.handlers().handle(tx, event)
        self.published += happened
        return event_id

    async def receive_text(self, body: str, content: Mapping[str, Any] = MappingProxyType({}), **more: Any) -> str:
        return await self.receive("m.room.message", {"msgtype": "m.text", "body": body, **content, **more})

    async def receive_edit(self, event_id: str, body: str, *, sender: str = ALICE, **more: Any) -> str:
        new = {"msgtype": "m.text", "body": body}
        relation = {"rel_type": "m.replace", "event_id": event_id}
        content = {"msgtype": "m.text", "body": f"* {body}", "m.new_content": new, "m.relates_to": relation}
        when = {key: more.pop(key) for key in ("origin_server_ts",) if key in more}
        return await self.receive("m.room.message", content | more, sender=sender, **when)

    async def receive_reaction(self, event_id: str, key: str, *, sender: str = ALICE, **more: Any) -> str:
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return await self.receive("m.reaction", {"m.relates_to": relation} | more, sender=sender)

    async def receive_redaction(self, event_id: str, *, sender: str = ALICE) -> str:
        return await self.receive("m.room.redaction", {"redacts": event_id}, sender=sender)

    async def mark_sent(self, message: Message) -> EventId:
        """Mark a message of the city as sent; return its event id."""
        event_id = EventId(f"$ours{next(self._numbers)}")
        async with self.database.transaction() as tx:
            (row,) = [each for each in await tx.outbox.waiting(limit=99) if each.message_id == message.id]
            self.published += await self.messaging.renderer.record_sent(tx, row, event_id)
            await tx.outbox.delete(row.id)
        return event_id

    async def message(self, event_id: str) -> Message:
        async with self.database.read_only() as tx:
            message = await tx.messages.by_event_id(EventId(event_id))
        assert message is not None
        return message

    async def messages(self) -> list[Message]:
        async with self.database.read_only() as tx:
            return await tx.messages.before(GENERAL, None, limit=99)

    async def feed_bodies(self) -> list[str]:
        async with self.database.read_only() as tx:
            entries = await tx.feed.before(None, limit=99)
        return [entry.payload["body"] for entry in entries if entry.kind is FeedKind.ROOM_MESSAGE]

    async def is_shown(self, mxc: str) -> bool:
        async with self.database.read_only() as tx:
            return await tx.media.is_shown(mxc)

    async def history(self) -> list[RoomEvent]:
        async with self.database.read_only() as tx:
            return await tx.room_events.after(GENERAL, 0, limit=999)

    async def outbox(self) -> list[OutboxRow]:
        async with self.database.read_only() as tx:
            return await tx.outbox.waiting(limit=99)

    async def feed(self) -> list[tuple[FeedKind, str]]:
        async with self.database.read_only() as tx:
            entries = await tx.feed.before(None, limit=99)
        return [(entry.kind, entry.payload.get("body", "")) for entry in entries if entry.message_id]

    async def event_kinds(self) -> list[RoomEventKind]:
        """Return the kinds of the room's events, whose sequence numbers must have no gap."""
        history = await self.history()
        assert [event.seq for event in history] == list(range(1, len(history) + 1))
        return [event.kind for event in history]


@asynccontextmanager
async def message_exchange(url: str) -> AsyncIterator[MessageExchange]:
    """Open the two rooms on a database with the city's tables, of which all rows are deleted first."""
    database = Database(url)
    try:
        await delete_rows(database)
        published: list[CityEvent] = []
        rooms = Rooms(database, published.append, now_ms, new_id)
        for slug in ("general", "builders"):
            room = await rooms.open(slug, slug=slug)
            async with database.transaction() as tx:
                await link(tx, room.id, f"!{slug}")
        yield MessageExchange(database, messaging_harness(database, published.append), published)
    finally:
        await database.close()


async def delete_rows(database: Database) -> None:
    """Delete the rows of all tables: much cheaper than a new database for each test."""
    async with database.transaction() as tx:
        for table in reversed(tables.metadata.sorted_tables):
            await tx.connection.execute(table.delete())
