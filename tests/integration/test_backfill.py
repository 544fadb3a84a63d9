"""Backfill of a Matrix room's history: edits, reactions and redactions come with the messages that they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from daarion_appservice.city.event_fields import MESSAGE_ID, REACTION_ID
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import Author, AuthorKind, Message, MessageId, Room
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.errors import HomeserverRefused
from daarion_appservice.matrix.backfill.late_events import LateEventWriter
from daarion_appservice.matrix.backfill.metrics import MissedEvents
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.matrix.reconcile import room_backfill as backfill_module
from daarion_appservice.matrix.reconcile.room_backfill import Backfill, Backfilled
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.inbox import InboxState
from tests.parts.messaging import IDENTITIES, MessagingHarness, link, messaging_harness
from tests.parts.scripted_homeserver import Hang, ScriptedHomeserver, refused

ALICE, BOB = "@alice:city.localhost", "@bob:elsewhere.example"
OKSANAS_GHOST = "@citizen_u_1:city.localhost"
MATRIX_ROOM = "!general"
YEAR_AGO_MS = 1_700_000_000_000


@dataclass
class World:
    """A room with a history on Matrix, and the city."""

    database: Database
    desk: MessagingHarness
    backfill: Backfill
    room: Room
    homeserver: ScriptedHomeserver
    history: list[dict[str, Any]] = field(default_factory=list)

    def happens(self, event_type: str, content: dict[str, Any], sender: str = ALICE, **more: Any) -> str:
        number = len(self.history)
        event = {
            "type": event_type,
            "event_id": f"${number}",
            "sender": sender,
            "origin_server_ts": YEAR_AGO_MS + number,
            "content": content,
        }
        self.history.append(event | more)
        return f"${number}"

    def says(self, body: str, sender: str = ALICE, **more: Any) -> str:
        return self.happens("m.room.message", {"msgtype": "m.text", "body": body} | more, sender)

    def edits(self, event_id: str, body: str, sender: str = ALICE) -> str:
        new = {"msgtype": "m.text", "body": body}
        relation = {"rel_type": "m.replace", "event_id": event_id}
        return self.says(f"* {body}", sender, **{"m.new_content": new, "m.relates_to": relation})

    def reacts(self, event_id: str, key: str = "👍", sender: str = ALICE, **more: Any) -> str:
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return self.happens("m.reaction", {"m.relates_to": relation} | more, sender)

    def prunes(self, *event_ids: str) -> None:
        """Have redacted events as a homeserver shows them afterwards: without content."""
        for event in self.history:
            event["content"] = {} if event["event_id"] in event_ids else event["content"]

    def redacts(self, event_id: str, *, prunes: bool = True) -> str:
        if prunes:
            self.prunes(event_id)
        return self.happens("m.room.redaction", {"redacts": event_id})

    async def arrives(self, event_id: str) -> None:
        """An event came by transaction and was handled."""
        event = next(each for each in self.history if each["event_id"] == event_id) | {"room_id": MATRIX_ROOM}
        async with self.database.transaction() as tx:
            await self.desk.handlers().handle(tx, event)
            await tx.inbox.add([inbox_event(event)], now_ms=now_ms(), is_done=True)

    async def run(self) -> Backfilled:
        return await self.backfill.run(self.room)

    async def handle_waiting(self) -> list[str]:
        """Handle what waits in the inbox, as the service does; returns the types of these events."""
        async with self.database.read_only() as tx:
            rows = await tx.inbox.waiting(after_id=0, limit=1000)
        types = []
        for row in rows:
            async with self.database.transaction() as tx:
                event = orjson.loads(row.event)
                types.append(event["type"])
                before = MessageId(row.before_message) if row.before_message else None
                await self.desk.handlers().handle(tx, event, before=before)
                assert await tx.inbox.mark_processed([row.id])
        return types

    async def messages(self) -> list[Message]:
        async with self.database.read_only() as tx:
            return await tx.messages.before(self.room.id, None, limit=1000)

    async def bodies(self) -> list[str]:
        return [message.body for message in await self.messages()]

    async def reactions(self) -> list[tuple[str, int, tuple[str, ...]]]:
        """Of the first message: each key, how many gave it and who did."""
        return [(tally.key, tally.count, tuple(tally.by)) for tally in (await self.messages())[0].reactions]


@pytest.fixture
async def world(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(backfill_module, "_PAGE", 3)
    server, database = ScriptedHomeserver(), Database(database_url)
    async with server.serving():
        await migrate.upgrade(database)
        room = await Rooms(database, lambda _: None, now_ms, new_id).open("general", slug="general")
        async with database.transaction() as tx:
            await link(tx, room.id, MATRIX_ROOM)
            linked = await tx.rooms.find("general")
        assert linked is not None
        client, parts = Homeserver(server.url, "as_token"), messaging_harness(database, lambda _: None)
        late = LateEventWriter(database, IDENTITIES, MissedEvents(CollectorRegistry()), now_ms)
        backfill = Backfill(client, database, IDENTITIES, parts.message_events, late, now_ms)
        world = World(database, parts, backfill, linked, server)
        server.histories[MATRIX_ROOM] = world.history
        yield world
        await client.close()
        await database.close()


async def test_backfill_brings_reactions_with_their_authors(world: World) -> None:
    word = world.says("first")
    world.reacts(word, "👍", ALICE)
    for number in range(5):
        world.says(f"between {number}")
    world.reacts(word, "👍", BOB)
    world.reacts(word, "🎉", OKSANAS_GHOST)
    world.reacts("$unknown")

    assert await world.run() == Backfilled(6, 3)
    expected = [("👍", 2, (ALICE, BOB)), ("🎉", 1, ("u_1",))]
    assert await world.reactions() == expected
    assert await world.run() == Backfilled(0, 0)
    assert await world.handle_waiting() == []
    assert await world.reactions() == expected


async def test_backfill_brings_each_edit(world: World) -> None:
    word = world.says("first")
    world.edits(word, "second")
    last = world.edits(word, "third")
    world.edits(word, "not yours", BOB)
    world.says("other")

    assert await world.run() == Backfilled(2, 2)
    assert await world.bodies() == ["third", "other"]
    assert await world.run() == Backfilled(0, 0)
    await world.arrives(world.redacts(last))
    assert await world.bodies() == ["second", "other"]


async def test_backfill_omits_redacted_messages(world: World) -> None:
    word, gone = world.says("first"), world.says("gone")
    reaction, edit = world.reacts(word), world.edits(word, "edited")
    for event_id in (gone, reaction, edit):
        world.redacts(event_id)

    assert await world.run() == Backfilled(1, 0)
    assert (await world.bodies(), await world.reactions()) == (["first"], [])
    assert await world.run() == Backfilled(0, 0)
    assert await world.handle_waiting() == []


async def test_redaction_during_backfill_removes_message(world: World) -> None:
    """The service handles a redaction before the backfill stores what it is about."""
    word, gone = world.says("first"), world.says("gone")
    reaction, edit = world.reacts(word), world.edits(word, "edited")
    for event_id in (gone, reaction, edit):
        await world.arrives(world.redacts(event_id, prunes=False))

    assert await world.run() == Backfilled(2, 5)
    assert await world.handle_waiting() == ["m.room.redaction"] * 3
    assert (await world.bodies(), await world.reactions()) == (["first", ""], [])
    world.prunes(gone, reaction, edit)
    assert await world.run() == Backfilled(0, 0)


async def test_reactions_and_edits_before_message_are_applied(world: World) -> None:
    word = world.says("first")
    for _ in range(4):
        world.says("between")
    known = world.says("known")
    await world.arrives(known)
    for event_id in (world.reacts(word, "👍", BOB), world.edits(word, "edited")):
        await world.arrives(event_id)

    await world.run()
    assert (await world.bodies())[0] == "edited"
    assert await world.reactions() == [("👍", 1, (BOB,))]
    assert await world.run() == Backfilled(0, 0)
    assert await world.handle_waiting() == []


async def test_relations_of_known_messages_go_through_the_inbox(world: World) -> None:
    word = world.says("known")
    await world.arrives(word)
    world.reacts(word)
    world.edits(word, "edited")
    world.redacts(world.says("missing"))
    late = world.says("late")
    world.reacts(late, "🎉", BOB)
    deleted = world.says("deleted")
    await world.arrives(deleted)
    world.redacts(deleted)

    assert await world.run() == Backfilled(2, 3)
    types = await world.handle_waiting()
    assert sorted(types) == ["m.reaction", "m.reaction", "m.room.message", "m.room.message", "m.room.redaction"]
    assert await world.bodies() == ["edited", "late", ""]
    assert await world.reactions() == [("👍", 1, (ALICE,))]
    assert [tally.key for tally in (await world.messages())[1].reactions] == ["🎉"]
    assert await world.run() == Backfilled(0, 0)
    assert await world.handle_waiting() == []


@pytest.mark.parametrize("answered", [1, 4, 6, 7, 9, 11])
async def test_backfill_that_was_interrupted_can_be_repeated(world: World, answered: int) -> None:
    word = world.says("first")
    world.edits(word, "edited")
    for number in range(6):
        world.reacts(world.says(f"more {number}"))
    world.reacts(word, "👍", BOB)
    as_usual = asyncio.Event()
    as_usual.set()
    world.homeserver.next("messages", *[Hang(as_usual)] * answered, refused(403, "M_FORBIDDEN"))
    with pytest.raises(HomeserverRefused):
        await world.run()
    await world.run()
    await world.handle_waiting()

    assert await world.bodies() == ["edited", *[f"more {number}" for number in range(6)]]
    assert await world.reactions() == [("👍", 1, (BOB,))]
    assert all(message.reactions for message in await world.messages())
    assert await world.run() == Backfilled(0, 0)
    async with world.database.read_only() as tx:
        known = await tx.inbox.find_stored([event["event_id"] for event in world.history])
    assert {each.state for each in known.values()} <= {InboxState.DONE}


async def test_backfill_stores_at_most_100_reaction_keys(world: World) -> None:
    word = world.says("popular")
    for number in range(105):
        world.reacts(word, f"k{number}", f"@u{number}:elsewhere.example")
    world.reacts(word, "k1", BOB)

    assert await world.run() == Backfilled(1, 101)
    reactions = await world.reactions()
    assert [key for key, _, _ in reactions] == [f"k{number}" for number in range(100)]
    assert reactions[1][1] == 2
    assert await world.run() == Backfilled(0, 0)


async def test_own_reactions_and_edits_are_not_taken_twice(world: World) -> None:
    oksana = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
    message = await world.desk.post(oksana, "general", "mine")
    await world.desk.reactions.add(oksana, "general", message.id, "👍")
    await world.desk.message_edits.edit(oksana, "general", message.id, "edited")
    async with world.database.read_only() as tx:
        row = next(row for row in await tx.outbox.waiting(limit=9) if row.reaction_id)
    event = world.says("mine", OKSANAS_GHOST, **{MESSAGE_ID: message.id})
    world.reacts(event, "👍", OKSANAS_GHOST, **{REACTION_ID: row.reaction_id})
    await world.arrives(event)

    assert await world.run() == Backfilled(0, 0)
    assert (await world.bodies(), await world.reactions()) == (["edited"], [("👍", 1, ("u_1",))])


async def test_own_reactions_return_with_new_database(world: World) -> None:
    word = world.says("mine", OKSANAS_GHOST, **{MESSAGE_ID: "lost"})
    world.reacts(word, "👍", OKSANAS_GHOST, **{REACTION_ID: "lost"})
    assert await world.run() == Backfilled(1, 1)
    assert await world.reactions() == [("👍", 1, ("u_1",))]


async def test_archived_room_gets_history_with_reactions_and_edits(world: World) -> None:
    word = world.says("first")
    world.reacts(word)
    world.edits(word, "edited")
    async with world.database.transaction() as tx:
        world.room = replace(world.room, archived=True)
        await tx.rooms.change(world.room)
    assert await world.run() == Backfilled(1, 2)
    assert (await world.bodies(), len(await world.reactions())) == (["edited"], 1)


async def test_backfill_counts_votes_of_polls(world: World) -> None:
    answers = [{"id": each, "org.matrix.msc1767.text": each} for each in "ab"]
    start, text = "org.matrix.msc3381.poll.start", {"org.matrix.msc1767.text": "Куди?"}
    poll = world.happens(start, {start: {"question": text, "answers": answers}} | text)
    reference = {"m.relates_to": {"rel_type": "m.reference", "event_id": poll}}

    def votes(selection: str, sender: str) -> str:
        return world.happens(
            "org.matrix.msc3381.poll.response",
            {"org.matrix.msc3381.poll.response": {"answers": [selection]}} | reference,
            sender,
        )

    votes("a", ALICE)
    votes("b", BOB)
    votes("b", ALICE)
    world.happens("org.matrix.msc3381.poll.end", reference)
    votes("a", BOB)
    expected = ((0, 2), 2, YEAR_AGO_MS + 4)
    for found in (Backfilled(1, 5), Backfilled(0, 0)):
        assert await world.run() == found
        (message,) = await world.messages()
        results = message.poll_results
        assert results is not None
        assert (results.votes, results.voters, results.ended_at_ms) == expected
    assert await world.handle_waiting() == []
