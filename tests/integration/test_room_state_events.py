"""State events of Matrix rooms: applied, reported or ignored, also in hostile form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daarion_appservice.city.events import CityEvent, RoomChanged, RoomCheckRequested
from daarion_appservice.city.feed_entries import FeedKind
from daarion_appservice.city.rooms import Rooms, RoomUpdate
from daarion_appservice.city.types import MatrixRoomId, Room
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.matrix.inbound.dispatch import EventHandlers
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts.messaging import IDENTITIES, link, messaging_harness

HALL, FORMER = "!hall:city.localhost", "!former:city.localhost"
ALICE, SCRIBE = "@alice:city.localhost", "@agent_scribe:city.localhost"
TYPES = [
    "m.room.name",
    "m.room.topic",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.encryption",
    "m.room.pinned_events",
    "m.room.avatar",
    "m.room.encrypted",
    "m.room.tombstone",
    "m.room.canonical_alias",
    "m.room.member",
]

json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
contents = st.dictionaries(
    st.sampled_from(
        [
            "name",
            "topic",
            "users",
            "events",
            "join_rule",
            "algorithm",
            "replacement_room",
            "membership",
            "pinned",
            "url",
        ]
    ),
    json,
)


@dataclass
class RoomStateHarness:
    """A room and the handlers of its state events."""

    database: Database
    rooms: Rooms
    handlers: EventHandlers
    count: int = field(default=0)

    async def receive(self, event_type: str, content: Any, **more: Any) -> list[CityEvent]:
        self.count += 1
        event = {
            "event_id": f"${self.count}",
            "room_id": HALL,
            "type": event_type,
            "sender": ALICE,
            "state_key": "",
            "content": content,
        } | more
        async with self.database.transaction() as tx:
            return await self.handlers.handle(tx, event)

    async def room(self) -> Room:
        async with self.database.read_only() as tx:
            room = await tx.rooms.find("hall")
        assert room is not None
        return room

    async def set_applied_archived(self, archived: bool) -> None:
        async with self.database.transaction() as tx:
            room = await self.room()
            applied = await tx.matrix_rooms.applied_state(room.id)
            await tx.matrix_rooms.set_applied_state(
                room.id, type(applied)(applied.name, applied.topic, None, None, archived)
            )


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[RoomStateHarness]:
    database = Database(database_url)
    await migrate.upgrade(database)
    rooms = Rooms(database, lambda _: None, now_ms, new_id)
    room = await rooms.open("Hall", slug="hall")
    async with database.transaction() as tx:
        await link(tx, room.id, FORMER)
        await tx.matrix_rooms.move(room.id, MatrixRoomId(HALL), former=MatrixRoomId(FORMER))
    yield RoomStateHarness(database, rooms, messaging_harness(database, lambda _: None).handlers())
    await database.close()


@pytest.fixture
async def sqlite_harness(tmp_path: Path) -> AsyncIterator[RoomStateHarness]:
    database = Database(f"sqlite:///{tmp_path / 'harness.db'}")
    await migrate.upgrade(database)
    rooms = Rooms(database, lambda _: None, now_ms, new_id)
    room = await rooms.open("Hall", slug="hall")
    async with database.transaction() as tx:
        await link(tx, room.id, HALL)
    yield RoomStateHarness(database, rooms, messaging_harness(database, lambda _: None).handlers())
    await database.close()


async def test_matrix_room_name_is_stored_and_published(harness: RoomStateHarness) -> None:
    (changed,) = await harness.receive("m.room.name", {"name": "Зал"})
    assert isinstance(changed, RoomChanged)
    assert changed.room.name == (await harness.room()).name == "Зал"
    async with harness.database.read_only() as tx:
        (entry,) = [each for each in await tx.feed.before(None, limit=10) if each.kind is FeedKind.SYSTEM]
    assert entry.payload == {"what": "room_renamed", "slug": "hall", "name": "Зал", "was": "Hall"}
    assert await harness.receive("m.room.name", {"name": "Зал"}) == [], "said again it is no news"


async def test_matrix_name_does_not_reopen_archived_room(harness: RoomStateHarness) -> None:
    await harness.rooms.change("hall", RoomUpdate(archived=True))
    await harness.receive("m.room.name", {"name": "Зал"})
    assert (await harness.room()).archived is True


async def test_echo_of_city_name_changes_nothing(harness: RoomStateHarness) -> None:
    before = await harness.room()
    assert await harness.receive("m.room.name", {"name": before.name}, sender=IDENTITIES.bot) == []
    assert await harness.receive("m.room.topic", {"topic": before.description}, sender=IDENTITIES.bot) == []
    assert await harness.room() == before


async def test_overtaken_city_name_requests_room_check(harness: RoomStateHarness) -> None:
    await harness.receive("m.room.name", {"name": "what Alice says first"})
    happened = await harness.receive("m.room.name", {"name": "what the city says next"}, sender=IDENTITIES.bot)
    assert [type(each) for each in happened] == [RoomCheckRequested]
    async with harness.database.read_only() as tx:
        applied = await tx.matrix_rooms.applied_state((await harness.room()).id)
    assert applied.name == "what the city says next"
    assert (await harness.room()).name == "what Alice says first"


async def test_read_only_power_levels_are_not_stored(harness: RoomStateHarness) -> None:
    await harness.receive("m.room.power_levels", {"events_default": 0, "users": {ALICE: 50}})
    open_levels = (await harness.room()).power_levels
    assert open_levels == '{"events_default":0,"users":{"@alice:city.localhost":50}}'
    await harness.set_applied_archived(True)
    assert await harness.receive("m.room.power_levels", {"events_default": 100}, sender=IDENTITIES.bot) == []
    assert [type(each) for each in await harness.receive("m.room.power_levels", {"events_default": 10})] == [
        RoomCheckRequested
    ]
    assert (await harness.room()).power_levels == open_levels


async def test_power_levels_of_replaced_room_are_ignored(harness: RoomStateHarness) -> None:
    before = (await harness.room()).power_levels
    assert [type(each) for each in await harness.receive("m.room.tombstone", {"replacement_room": "!new"})] == [
        RoomCheckRequested
    ]
    assert await harness.receive("m.room.power_levels", {"events_default": 50}) == []
    assert (await harness.room()).power_levels == before
    await harness.receive("m.room.tombstone", {})
    await harness.receive("m.room.power_levels", {"events_default": 50})
    assert (await harness.room()).power_levels == '{"events_default":50}'


async def test_only_bot_membership_requests_room_check(harness: RoomStateHarness) -> None:
    async def doubts(user: str, membership: str) -> bool:
        return any(
            isinstance(each, RoomCheckRequested)
            for each in await harness.receive("m.room.member", {"membership": membership}, state_key=user)
        )

    assert [await doubts(IDENTITIES.bot, each) for each in ("leave", "ban", "invite")] == [True] * 3
    assert not await doubts(IDENTITIES.bot, "join")
    assert not any([await doubts(user, "leave") for user in (ALICE, SCRIBE, IDENTITIES.observer)])


async def test_encryption_is_noticed_once_and_never_ends(harness: RoomStateHarness) -> None:
    assert await harness.receive("m.room.encryption", {"algorithm": 7}) == []
    assert [type(each) for each in await harness.receive("m.room.encryption", {"algorithm": "m.megolm"})] == [
        RoomCheckRequested
    ]
    assert await harness.receive("m.room.encryption", {}) == []
    assert await harness.receive("m.room.encryption", {"algorithm": "m.megolm"}) == []
    assert (await harness.room()).encrypted is True


async def test_replaced_room_changes_no_room_state(harness: RoomStateHarness) -> None:
    content = {"msgtype": "m.text", "body": "from the old room"}
    assert len(await harness.receive("m.room.message", content, room_id=FORMER)) == 1
    assert await harness.receive("m.room.name", {"name": "stale"}, room_id=FORMER) == []
    assert await harness.receive("m.room.tombstone", {"replacement_room": HALL}, room_id=FORMER) == []
    assert (await harness.room()).name == "Hall"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    event_type=st.sampled_from(TYPES),
    content=contents | json,
    state_key=st.sampled_from(["", "x", IDENTITIES.bot, None, 7]),
    sender=st.sampled_from([ALICE, IDENTITIES.bot]),
)
async def test_no_content_breaks_anything(
    sqlite_harness: RoomStateHarness, event_type: str, content: Any, state_key: Any, sender: str
) -> None:
    happened = await sqlite_harness.receive(event_type, content, state_key=state_key, sender=sender)
    assert all(isinstance(each, RoomChanged | RoomCheckRequested) for each in happened)
    room = await sqlite_harness.room()
    assert room.name
    assert len(room.join_rule) <= 32
    assert len(room.power_levels) <= 65_536
    assert room.matrix_room_id == HALL


async def test_matrix_name_and_topic_are_bounded(harness: RoomStateHarness) -> None:
    await harness.receive("m.room.name", {"name": "N\u202egpj" + "x" * 5000})
    await harness.receive("m.room.topic", {"topic": "я" * 20_000})
    room = await harness.room()
    assert (room.name, room.description) == ("Ngpj" + "x" * 251, "я" * 2000)
    async with harness.database.read_only() as tx:
        applied = await tx.matrix_rooms.applied_state(room.id)
    assert (applied.name, applied.topic) == (room.name, room.description), "nothing is to be told to Matrix"


@pytest.mark.parametrize("content", [{}, {"name": ""}, {"name": None}, {"name": 7}, {"name": "\u202e"}])
@pytest.mark.parametrize("is_named_by_city", [False, True])
async def test_room_without_name_on_matrix_has_its_slug_as_name(
    harness: RoomStateHarness, content: Any, is_named_by_city: bool
) -> None:
    """As in an adopted room: Matrix clients show the alias, which the slug is a part of."""
    sender = IDENTITIES.bot if is_named_by_city and "name" not in content else ALICE  # Redacted: the content is empty.
    (changed,) = await harness.receive("m.room.name", content, sender=sender)
    assert isinstance(changed, RoomChanged)
    assert changed.room.name == (await harness.room()).name == "hall"
    async with harness.database.read_only() as tx:
        applied = await tx.matrix_rooms.applied_state(changed.room.id)
    assert applied.name == "hall", "nothing is to be sent to Matrix"
    assert await harness.receive("m.room.name", content, sender=sender) == []
    await harness.receive("m.room.name", {"name": "Зал"})
    assert (await harness.room()).name == "Зал"


async def test_redacted_topic_of_the_city_is_not_sent_again(harness: RoomStateHarness) -> None:
    await harness.receive("m.room.topic", {"topic": "Усе"})
    (changed,) = await harness.receive("m.room.topic", {}, sender=IDENTITIES.bot)
    assert isinstance(changed, RoomChanged)
    assert changed.room.description == (await harness.room()).description == ""


@pytest.mark.parametrize("content", [{}, {"url": 7}, {"url": "https://example.org/a.png"}])
async def test_missing_picture_is_replaced_by_house(harness: RoomStateHarness, content: Any) -> None:
    # Also where the city has shown the house before, so that nothing of its own changes.
    for _ in range(2):
        events = await harness.receive("m.room.avatar", content)
        assert [type(event) for event in events] == [RoomCheckRequested]
    await harness.receive("m.room.avatar", {"url": "mxc://example.org/a"})
    assert RoomCheckRequested in map(type, await harness.receive("m.room.avatar", content))
