"""The unread stream: how often it counts in the database, and that it agrees with the database whatever happened."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from daarion_appservice.city.events import RoomChanged
from daarion_appservice.city.history_visibility import EVERYTHING
from daarion_appservice.city.messages import Draft
from daarion_appservice.city.reader_memberships import ReaderMemberships
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    CitizenId,
    Content,
    EventId,
    HistoryVisibility,
    Message,
    RoomId,
)
from daarion_appservice.city.unread import Mention, RoomUnread
from daarion_appservice.errors import DatabaseError
from daarion_appservice.realtime import unread_stream
from daarion_appservice.realtime.unread_counts import CitizenUnread, count_unread
from daarion_appservice.realtime.unread_reader import UnreadReader
from daarion_appservice.storage.last_messages import LastMessageRepository
from daarion_appservice.storage.mentions import MentionRepository
from tests.parts.city import eventually
from tests.parts.in_process_city import InProcessCity, in_process_city

GENERAL = RoomId("city_general")
TARAS = Author(AuthorKind.CITIZEN, "u_t", "Тарас")
ALICE = Author(AuthorKind.MATRIX, "@alice:hs", "Alice")


@dataclass(eq=False)
class Listener:
    """A connection of a citizen, with the state that it was sent."""

    citizen: Author
    rooms: dict[RoomId, RoomUnread] = field(default_factory=dict)
    frames: int = 0

    def unread(self, frame: Any) -> None:
        is_snapshot, rooms = frame
        self.frames += 1
        self.rooms = ({} if is_snapshot else self.rooms) | {unread.room: unread for unread in rooms}


class Frames:
    """Frames that are objects."""

    def unread_snapshot(self, rooms: Iterable[RoomUnread]) -> Any:
        return True, list(rooms)

    def unread(self, rooms: Sequence[RoomUnread], _last: Mapping[RoomId, Message | None]) -> Any:
        return False, list(rooms)


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        city.city.unread_stream._frames = Frames()
        city.city.unread_stream._tick_s = 0.01
        yield city


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Author]:
    """The citizens whose unread messages were counted in the database, each time."""
    found: list[Author] = []

    async def counting(tx: Any, readers: Any, citizen: Author, **options: Any) -> CitizenUnread:
        found.append(citizen)
        return await count_unread(tx, readers, citizen, **options)

    monkeypatch.setattr(unread_stream, "count_unread", counting)
    return found


async def connect(city: InProcessCity, numbers: Iterable[int]) -> list[Listener]:
    listeners = [Listener(Author(AuthorKind.CITIZEN, f"u_{number}", f"C {number}")) for number in numbers]
    for listener in listeners:
        await city.city.membership.join(listener.citizen, "general")
        city.city.unread_stream.listen(listener, listener.citizen)

    async def are_connected() -> bool:
        return all(listener.frames for listener in listeners)

    await eventually(are_connected)
    return listeners


async def stored(city: InProcessCity, citizen: Author) -> dict[RoomId, tuple[int, int, int | None]]:
    await city.city.read_mark_writer._write_batch()
    async with city.city.database.read_only() as tx:
        found = (await count_unread(tx, ReaderMemberships(city.city.identities), citizen)).rooms
    return shown(found)


def shown(rooms: dict[RoomId, RoomUnread]) -> dict[RoomId, tuple[int, int, int | None]]:
    return {
        room: (each.unread, each.mentions, each.marks.main)
        for room, each in rooms.items()
        if each.unread or each.mentions or each.marks.main is not None
    }


async def agree(city: InProcessCity, listeners: list[Listener]) -> None:
    differences: list[Any] = []

    async def are_equal() -> bool:
        pairs = [(shown(each.rooms), await stored(city, each.citizen)) for each in listeners]
        differences[:] = [pair for pair in pairs if pair[0] != pair[1]]
        return not differences

    await eventually(are_equal, explain=lambda: str(differences))


async def test_message_costs_no_query_for_its_readers(city: InProcessCity, counted: list[Author]) -> None:
    listeners = await connect(city, range(30))
    counted.clear()
    for number in range(3):
        await city.city.messages.post(TARAS, "general", Draft(f"message {number}, @citizen_u_1:city.localhost"))

    async def have_all() -> bool:
        return all(each.rooms[GENERAL].unread == 3 for each in listeners)

    await eventually(have_all)
    assert [each.rooms[GENERAL].mentions for each in listeners[:3]] == [0, 3, 0]
    newest = (await city.get("/city/rooms/general"))["messages"][-1]
    for listener in listeners:
        await city.city.typing_and_receipts.mark_read(listener.citizen, "general", newest["id"])

    async def have_read_all() -> bool:
        return all((each.rooms[GENERAL].unread, each.rooms[GENERAL].mentions) == (0, 0) for each in listeners)

    await eventually(have_read_all)
    assert counted == []
    await agree(city, listeners)


async def test_direct_chats_of_others_cost_no_query(city: InProcessCity, counted: list[Author]) -> None:
    listener = Listener(Author(AuthorKind.CITIZEN, "u_1", "Оксана"))
    city.city.unread_stream.listen(listener, listener.citizen)

    async def has_snapshot() -> bool:
        return listener.frames == 1

    await eventually(has_snapshot)
    counted.clear()
    await city.city.citizen_names.record(CitizenId("u_2"), "Ще хтось")
    opened = await city.city.citizen_chats.open(TARAS, CitizenId("u_2"))
    city.city.bus.publish(RoomChanged(opened.room))
    await city.city.messages.post(TARAS, "general", Draft("@citizen_u_1:city.localhost привіт"))

    async def is_mentioned() -> bool:
        return GENERAL in listener.rooms and listener.rooms[GENERAL].mentions == 1

    await eventually(is_mentioned)
    assert len(counted) == 1  # of the mention in a room that was not opened


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("is_joined", [True, False])
async def test_mention_during_a_count_counts_once(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch, *, is_joined: bool, is_before: bool
) -> None:
    listener = Listener(Author(AuthorKind.CITIZEN, "u_1", "Оксана"))
    if is_joined:
        await city.city.membership.join(listener.citizen, "general")
    mention = Draft("@citizen_u_1:city.localhost привіт")
    await city.city.messages.post(TARAS, "general", mention)
    city.city.unread_stream.listen(listener, listener.citizen)
    await eventually(lambda: has_mentions(listener, 1))
    read = MentionRepository.unread

    async def mentioned_meanwhile(*parts: Any) -> list[Mention]:
        monkeypatch.undo()
        found = [] if is_before else await read(*parts)
        await city.city.messages.post(TARAS, "general", mention)
        return await read(*parts) if is_before else found

    monkeypatch.setattr(MentionRepository, "unread", mentioned_meanwhile)
    city.city.unread_stream.on_bus_events_lost()
    await eventually(lambda: has_mentions(listener, 2))
    await agree(city, [listener])
    await city.city.messages.post(TARAS, "general", mention)
    await eventually(lambda: has_mentions(listener, 3))


async def has_mentions(listener: Listener, number: int) -> bool:
    return GENERAL in listener.rooms and listener.rooms[GENERAL].mentions == number


async def test_mention_during_count_without_room_is_counted(city: InProcessCity) -> None:
    reader = UnreadReader(TARAS, [TARAS.subject])
    reader.end_count(reader.begin_count(), CitizenUnread({GENERAL: RoomUnread(GENERAL, mentions=1)}, {}))
    posted = await city.city.messages.post(Author(AuthorKind.CITIZEN, "u_1", "Оксана"), "general", Draft("привіт"))
    reader.stale.add(GENERAL)
    among = reader.begin_count()
    reader.add_message(posted.message, frozenset({TARAS.subject}))
    reader.end_count(among, CitizenUnread({}, {}))  # the only mention before was deleted
    assert reader.stale == {GENERAL}


async def test_newest_messages_are_read_again_after_an_error(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: Any) -> None:
        raise DatabaseError("no answer")

    builders = RoomId("city_builders")
    posted = await city.city.messages.post(TARAS, "general", Draft("привіт"))
    stream = city.city.unread_stream
    stream._last, stream._last_unknown = {GENERAL: posted.message}, {builders}
    with monkeypatch.context() as patched:
        patched.setattr(LastMessageRepository, "of_any_visibility", failing)
        with pytest.raises(DatabaseError):
            await stream._take_last()
    assert await stream._take_last() == {GENERAL: posted.message, builders: None}


def test_room_read_during_a_count_keeps_its_mark() -> None:
    reader = UnreadReader(TARAS, [TARAS.subject])
    reader.end_count(reader.begin_count(), CitizenUnread({}, {}))
    reader.stale.add(GENERAL)
    among = reader.begin_count()
    reader.read(GENERAL, 99, None)
    reader.end_count(among, CitizenUnread({}, {}))
    assert reader.floors(reader.begin_count())[GENERAL].main == 99


async def test_reader_who_left_reads_no_private_message(city: InProcessCity) -> None:
    reader = UnreadReader(TARAS, [TARAS.subject])
    counted = CitizenUnread({GENERAL: RoomUnread(GENERAL)}, {GENERAL: EVERYTHING})
    reader.end_count(reader.begin_count(), counted)
    posted = await city.city.messages.post(TARAS, "general", Draft("таємниця"))
    message = replace(posted.message, visibility=HistoryVisibility.JOINED)
    assert reader.may_read(message)
    reader.leave(GENERAL)
    assert not reader.may_read(message)
    # A leave during a count: its result has the time before.
    among = reader.begin_count()
    reader.leave(GENERAL)
    reader.end_count(among, counted)
    assert not reader.may_read(message)


class Changes:
    """Random changes of a room."""

    def __init__(self, city: InProcessCity, citizens: Sequence[Author], seed: int) -> None:
        self.parts = city.city
        self.citizens = citizens
        self.chance = random.Random(seed)
        self.posted: list[Message] = []

    async def post(self) -> None:
        chance = self.chance
        names = [f"@citizen_u_{number}:city.localhost" for number in range(3) if chance.random() < 0.3]
        root = chance.choice(self.posted) if self.posted and chance.random() < 0.3 else None
        thread_root = root.id if root is not None and root.thread_root is None else None
        draft = Draft(f"hello {' '.join(names)}", thread_root=thread_root)
        author = chance.choice([TARAS, *self.citizens])
        self.posted.append((await self.parts.messages.post(author, "general", draft)).message)

    async def insert(self) -> None:
        """Receive a message that belongs before another one."""
        event = EventId(f"$late_{self.chance.random()}")
        async with self.parts.database.transaction() as tx:
            room = await tx.rooms.lock("general")
            assert room is not None
            received = await self.parts.messages.receive(
                tx,
                room,
                ALICE,
                Content("late"),
                event_id=event,
                created_at_ms=1,
                before=self.chance.choice(self.posted).id,
            )
        for each in received.events:
            self.parts.bus.publish(each)

    async def edit(self) -> None:
        message = self.chance.choice(self.posted)
        body = f"changed {self.chance.random()} @citizen_u_{self.chance.randrange(3)}:city.localhost"
        await self.parts.message_edits.edit(message.author, "general", message.id, body)

    async def delete(self) -> None:
        message = self.posted.pop(self.chance.randrange(len(self.posted)))
        await self.parts.message_edits.delete(message.author, "general", message.id, may_moderate=False)

    async def read(self) -> None:
        message = self.chance.choice(self.posted)
        await self.parts.typing_and_receipts.mark_read(self.chance.choice(self.citizens), "general", message.id)

    async def move(self) -> None:
        """Leave the room, and mostly join it again."""
        citizen = self.chance.choice(self.citizens)
        await self.parts.membership.leave(citizen, "general")
        if self.chance.random() < 0.7:
            await self.parts.membership.join(citizen, "general")

    async def any(self) -> None:
        post, read = self.post, self.read
        changes = [post, post, post, read, read, self.edit, self.delete, self.insert, self.move]
        await (self.chance.choice(changes) if self.posted else post)()


@pytest.mark.parametrize("seed", range(3))
async def test_stream_agrees_with_database_after_any_changes(city: InProcessCity, seed: int) -> None:
    listeners = await connect(city, range(3))
    changes = Changes(city, [listener.citizen for listener in listeners], seed)
    for step in range(40):
        await changes.any()
        if step % 10 == 9:
            await agree(city, listeners)
