"""Messages from Matrix are in stream order, also if transactions are lost, delayed or repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from daarion_appservice.city.event_fields import MESSAGE_ID
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import Author, AuthorKind, MatrixRoomId, MessageId, Room
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.matrix.backfill.late_events import LateEventWriter
from daarion_appservice.matrix.backfill.metrics import MissedEvents
from daarion_appservice.matrix.backfill.room_history import HistoryRange
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.inbox_writer import ReceivedTransaction
from tests.parts.messaging import IDENTITIES, MessagingHarness, link, messaging_harness

ALICE = "@alice:city.localhost"
OKSANA = Author(AuthorKind.CITIZEN, "u_123", "Оксана")
MATRIX_ROOM = MatrixRoomId("!general")

Step = tuple[str, int]
STEPS: Final = {
    "send": "A Matrix user sends this many messages.",
    "post": "A citizen posts one message.",
    "echo": "The oldest pending message of the city is sent to Matrix.",
    "deliver": "A transaction delivers this many events.",
    "lose": "This many events are never delivered.",
    "stall": "This many events are delivered later.",
    "unstall": "The events that were stalled longest are delivered.",
    "handle": "This many waiting events are processed.",
    "sweep": "A sweep since the last token is answered by a Synapse worker that is this many events behind.",
    "backfill": "The events of the sweep are inserted in their places.",
}


@dataclass
class StreamHarness:
    """A homeserver's stream of one room, and the city."""

    database: Database
    desk: MessagingHarness
    late: LateEventWriter
    room: Room
    stream: list[dict[str, Any]] = field(default_factory=list)
    sent: int = 0
    """How far transactions have come in the stream."""
    stalled: list[list[dict[str, Any]]] = field(default_factory=list)
    posted: list[MessageId] = field(default_factory=list)
    token: int = 0
    swept: tuple[int, int] | None = None
    numbers: count[int] = field(default_factory=count)

    async def run(self, steps: Sequence[Step]) -> None:
        for name, number in steps:
            await getattr(self, name)(number)

    async def send(self, number: int) -> None:
        for _ in range(number):
            body = f"m{len(self.stream)}"
            self._append(ALICE, {"msgtype": "m.text", "body": body})

    async def name(self, _: int) -> None:
        """Rename the room: an event that is not a message."""
        self._append(ALICE, {"name": "General"})
        self.stream[-1] |= {"type": "m.room.name", "state_key": ""}

    def _append(self, sender: str, content: dict[str, Any]) -> None:
        self.stream.append(
            {
                "event_id": f"${len(self.stream)}",
                "room_id": MATRIX_ROOM,
                "type": "m.room.message",
                "sender": sender,
                "origin_server_ts": now_ms(),
                "content": content,
            }
        )

    async def post(self, _: int) -> None:
        message = await self.desk.post(OKSANA, "general", f"c{len(self.posted)}")
        self.posted.append(message.id)

    async def echo(self, _: int) -> None:
        echoed = {event["content"].get(MESSAGE_ID) for event in self.stream}
        message = next((each for each in self.posted if each not in echoed), None)
        if message is not None:
            self._append("@citizen_u_123:city.localhost", {"msgtype": "m.text", "body": "c", MESSAGE_ID: message})

    def _next(self, number: int) -> list[dict[str, Any]]:
        events = self.stream[self.sent : self.sent + number]
        self.sent += len(events)
        return events

    async def deliver(self, number: int) -> None:
        await self._transaction(self._next(number))

    async def _transaction(self, events: list[dict[str, Any]]) -> None:
        rows = [inbox_event(event) for event in events]
        await self.database.inbox_writer.store(ReceivedTransaction(str(next(self.numbers)), "", rows, now_ms()))

    async def lose(self, number: int) -> None:
        self._next(number)

    async def stall(self, number: int) -> None:
        self.stalled.append(self._next(number))

    async def unstall(self, _: int) -> None:
        if self.stalled:
            await self._transaction(self.stalled.pop(0))

    async def handle(self, number: int) -> None:
        async with self.database.read_only() as tx:
            rows = await tx.inbox.waiting(after_id=0, limit=number)
        async with self.database.transaction() as tx:
            assert await tx.inbox.mark_processed(rows)
            for row in rows:
                before = MessageId(row.before_message) if row.before_message else None
                await self.desk.handlers().handle(tx, orjson.loads(row.event), before=before)

    async def sweep(self, behind: int) -> None:
        if self.swept is None:
            self.swept = self.token, max(self.token, len(self.stream) - behind)

    async def backfill(self, _: int) -> None:
        if self.swept is None:
            return
        start, end = self.swept
        if start < end:
            async with self.database.transaction() as tx:
                stretch = HistoryRange(MATRIX_ROOM, self.stream[start:end], since_token=True)
                await self.late.store(tx, stretch, is_covered=True)
        self.token, self.swept = end, None

    async def city_bodies(self) -> list[str]:
        async with self.database.read_only() as tx:
            messages = await tx.messages.before(self.room.id, None, limit=1000)
        seqs = [each.seq for each in messages]
        assert seqs == sorted(set(seqs))
        return [each.body for each in messages]

    def matrix_bodies(self) -> list[str]:
        return [event["content"]["body"] for event in self.stream if event["sender"] == ALICE]


@asynccontextmanager
async def open_harness(url: str) -> AsyncIterator[StreamHarness]:
    database = Database(url)
    try:
        await migrate.upgrade(database)
        async with database.transaction() as tx:
            for table in ("messages", "room_events", "inbox", "transactions", "feed", "rooms"):
                await tx.connection.exec_driver_sql(f"DELETE FROM {table}")
        rooms = Rooms(database, lambda _: None, now_ms, new_id)
        room = await rooms.open("general", slug="general")
        async with database.transaction() as tx:
            await link(tx, room.id, MATRIX_ROOM)
        late = LateEventWriter(database, IDENTITIES, MissedEvents(CollectorRegistry()), now_ms)
        yield StreamHarness(database, messaging_harness(database, lambda _: None), late, room)
    finally:
        await database.close()


async def happened(url: str, steps: Sequence[Step]) -> tuple[StreamHarness, list[str]]:
    async with open_harness(url) as harness:
        await harness.run(steps)
        # In the end a look sees everything.
        await harness.run(
            [("handle", 2), ("backfill", 0), ("handle", 1), ("sweep", 0), ("backfill", 0), ("handle", 1000)]
        )
        return harness, await harness.city_bodies()


def check(url: str, steps: Sequence[Step]) -> None:
    harness, city = asyncio.run(happened(url, steps))
    assert [body for body in city if body.startswith("m")] == harness.matrix_bodies()
    assert [body for body in city if body.startswith("c")] == [f"c{number}" for number in range(len(harness.posted))]


LATE_TRANSACTION: list[Step] = [
    ("send", 4), ("stall", 2), ("deliver", 2), ("handle", 9), ("unstall", 0), ("handle", 9),
]  # fmt: skip
DELIVERED_AFTER_THE_SWEEP: list[Step] = [
    ("send", 3), ("lose", 3), ("sweep", 0), ("send", 2), ("deliver", 2), ("handle", 9), ("backfill", 0), ("handle", 9),
]  # fmt: skip
WAITING_FROM_AN_EARLIER_SWEEP: list[Step] = [
    ("send", 2), ("deliver", 2), ("sweep", 0), ("backfill", 0), ("send", 3), ("lose", 3), ("sweep", 0), ("backfill", 0),
]  # fmt: skip
OWN_MESSAGE_EARLIER_IN_THE_CITY: list[Step] = [
    ("post", 0), ("send", 2), ("deliver", 2), ("handle", 9), ("sweep", 0), ("backfill", 0),
    ("send", 1), ("lose", 1), ("echo", 0), ("deliver", 1), ("handle", 9), ("sweep", 0), ("backfill", 0),
]  # fmt: skip

WAITING_BESIDE_AN_OWN_MESSAGE: list[Step] = [
    ("backfill", 0), ("post", 0), ("post", 0), ("echo", 0), ("send", 3), ("lose", 3), ("deliver", 1), ("echo", 0), ("deliver", 1),
    ("sweep", 3),
]  # fmt: skip
WAITING_FOR_THE_END_OF_THE_ROOM: list[Step] = [
    ("send", 3), ("post", 0), ("lose", 3), ("echo", 0), ("sweep", 3), ("sweep", 0), ("post", 0), ("sweep", 0), ("deliver", 4),
    ("handle", 3), ("backfill", 0), ("sweep", 0), ("backfill", 0),
]  # fmt: skip


@pytest.mark.parametrize(
    "steps",
    [
        LATE_TRANSACTION,
        DELIVERED_AFTER_THE_SWEEP,
        WAITING_FROM_AN_EARLIER_SWEEP,
        OWN_MESSAGE_EARLIER_IN_THE_CITY,
        WAITING_BESIDE_AN_OWN_MESSAGE,
        WAITING_FOR_THE_END_OF_THE_ROOM,
    ],
    ids=[
        "late",
        "delivered after the sweep",
        "waiting from an earlier sweep",
        "own earlier",
        "waiting beside an own",
        "waiting for the end",
    ],
)
def test_messages_follow_stream_order(database_url: str, steps: list[Step]) -> None:
    check(database_url, steps)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 4)), min_size=10, max_size=40))
@example(steps=[*OWN_MESSAGE_EARLIER_IN_THE_CITY, *LATE_TRANSACTION, *DELIVERED_AFTER_THE_SWEEP])
def test_random_transactions_follow_stream_order(database_url: str, steps: list[Step]) -> None:
    check(database_url, steps)


@pytest.mark.parametrize("handled", [0, 9], ids=["waiting", "handled"])
async def test_invisible_event_stays_before_later_ones(database_url: str, handled: int) -> None:
    """The first sweep reads as a user who joined after an event of a members-only history."""
    async with open_harness(database_url) as harness:
        await harness.run([("send", 2), ("name", 0), ("deliver", 3), ("handle", handled), ("send", 2), ("lose", 2)])
        async with harness.database.transaction() as tx:
            seen = [event for index, event in enumerate(harness.stream) if index != 1]
            await harness.late.store(tx, HistoryRange(MATRIX_ROOM, seen, len(seen), is_first=True), is_covered=True)
        harness.token = len(harness.stream)
        await harness.run([("handle", 9), ("send", 1), ("lose", 1), ("sweep", 0), ("backfill", 0), ("handle", 9)])
        assert await harness.city_bodies() == ["m0", "m1", "m3", "m4", "m5"]


async def test_moved_message_is_sent_to_clients(database_url: str) -> None:
    database = Database(database_url)
    harness, city = await happened(database_url, LATE_TRANSACTION)
    assert city == ["m0", "m1", "m2", "m3"]
    try:
        async with database.read_only() as tx:
            events = await tx.room_events.after(harness.room.id, 0, limit=100)
    finally:
        await database.close()
    assert RoomEventKind.RESYNC in {event.kind for event in events}
