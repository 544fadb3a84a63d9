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
class BackfillHarness:
    """A Matrix room with history, and the city that backfills it."""

    database: Database
    desk: MessagingHarness
    backfill: Backfill
    room: Room
    homeserver: ScriptedHomeserver
    history: list[dict[str, Any]] = field(default_factory=list)

    def add_event(self, event_type: str, content: dict[str, Any], sender: str = ALICE, **more: Any) -> str:
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

    def add_message(self, body: str, sender: str = ALICE, **more: Any) -> str:
        return self.add_event("m.room.message", {"msgtype": "m.text", "body": body} | more, sender)

    def add_edit(self, event_id: str, body: str, sender: str = ALICE) -> str:
        new = {"msgtype": "m.text", "body": body}
        relation = {"rel_type": "m.replace", "event_id": event_id}
        return self.add_message(f"* {body}", sender, **{"m.new_content": new, "m.relates_to": relation})

    def add_reaction(self, event_id: str, key: str = "👍", sender: str = ALICE, **more: Any) -> str:
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return self.add_event("m.reaction", {"m.relates_to": relation} | more, sender)

    def prune(self, *event_ids: str) -> None:
        """Remove the content of redacted events, as a homeserver does."""
        for event in self.history:
            event["content"] = {} if event["event_id"] in event_ids else event["content"]

    def add_redaction(self, event_id: str, *, prunes: bool = True) -> str:
        if prunes:
            self.prune(event_id)
        return self.add_event("m.room.redaction", {"redacts": event_id})

    async def receive(self, event_id: str) -> None:
        """Deliver an event in a transaction and process it."""
        event = next(each for each in self.history if each["event_id"] == event_id) | {"room_id": MATRIX_ROOM}
        async with self.database.transaction() as tx:
            await self.desk.handlers().handle(tx, event)
            await tx.inbox.add([inbox_event(event)], now_ms=now_ms(), is_done=True)

    async def run(self) -> Backfilled:
        return await self.backfill.run(self.room)

    async def handle_waiting(self) -> list[str]:
        """Process the waiting events of the inbox; return their types."""
        async with self.database.read_only() as tx:
            rows = await tx.inbox.waiting(after_id=0, limit=1000)
        types = []
        for row in rows:
            async with self.database.transaction() as tx:
                event = orjson.loads(row.event)
                types.append(event["type"])
                before = MessageId(row.before_message) if row.before_message else None
                await self.desk.handlers().handle(tx, event, before=before)
                assert await tx.inbox.mark_processed([row])
        return types

    async def messages(self) -> list[Message]:
        async with self.database.read_only() as tx:
            return await tx.messages.before(self.room.id, None, limit=1000)

    async def bodies(self) -> list[str]:
        return [message.body for message in await self.messages()]

    async def reactions(self) -> list[tuple[str, int, tuple[str, ...]]]:
        """Return key, count and authors of each reaction to the first message."""
        return [(tally.key, tally.count, tuple(tally.by)) for tally in (await self.messages())[0].reactions]


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BackfillHarness]:
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
        harness = BackfillHarness(database, parts, backfill, linked, server)
        server.histories[MATRIX_ROOM] = harness.history
        yield harness
        await client.close()
        await database.close()


async def test_backfill_brings_reactions_with_their_authors(harness: BackfillHarness) -> None:
    word = harness.add_message("first")
    harness.add_reaction(word, "👍", ALICE)
    for number in range(5):
        harness.add_message(f"between {number}")
    harness.add_reaction(word, "👍", BOB)
    harness.add_reaction(word, "🎉", OKSANAS_GHOST)
    harness.add_reaction("$unknown")

    assert await harness.run() == Backfilled(6, 3)
    expected = [("👍", 2, (ALICE, BOB)), ("🎉", 1, ("u_1",))]
    assert await harness.reactions() == expected
    assert await harness.run() == Backfilled(0, 0)
    assert await harness.handle_waiting() == []
    assert await harness.reactions() == expected


async def test_backfill_brings_each_edit(harness: BackfillHarness) -> None:
    word = harness.add_message("first")
    harness.add_edit(word, "second")
    last = harness.add_edit(word, "third")
    harness.add_edit(word, "not yours", BOB)
    harness.add_message("other")

    assert await harness.run() == Backfilled(2, 2)
    assert await harness.bodies() == ["third", "other"]
    assert await harness.run() == Backfilled(0, 0)
    await harness.receive(harness.add_redaction(last))
    assert await harness.bodies() == ["second", "other"]


async def test_cached_read_follows_backfill(harness: BackfillHarness) -> None:
    async def read() -> list[Message]:
        return await harness.database.read_cache.get("page", harness.messages, len, room="general")

    word = harness.add_message("first")
    await harness.run()
    assert [each.body for each in await read()] == ["first"]
    harness.add_edit(word, "second")
    await harness.run()
    assert await read() == await harness.messages()
    harness.add_reaction(word)
    await harness.run()
    assert (await read())[0].reactions == (await harness.messages())[0].reactions != ()


async def test_backfill_omits_redacted_messages(harness: BackfillHarness) -> None:
    word, gone = harness.add_message("first"), harness.add_message("gone")
    reaction, edit = harness.add_reaction(word), harness.add_edit(word, "edited")
    for event_id in (gone, reaction, edit):
        harness.add_redaction(event_id)

    assert await harness.run() == Backfilled(1, 0)
    assert (await harness.bodies(), await harness.reactions()) == (["first"], [])
    assert await harness.run() == Backfilled(0, 0)
    assert await harness.handle_waiting() == []


async def test_redaction_during_backfill_removes_message(harness: BackfillHarness) -> None:
    """The service handles a redaction before the backfill stores what it is about."""
    word, gone = harness.add_message("first"), harness.add_message("gone")
    reaction, edit = harness.add_reaction(word), harness.add_edit(word, "edited")
    for event_id in (gone, reaction, edit):
        await harness.receive(harness.add_redaction(event_id, prunes=False))

    assert await harness.run() == Backfilled(2, 5)
    assert await harness.handle_waiting() == ["m.room.redaction"] * 3
    assert (await harness.bodies(), await harness.reactions()) == (["first", ""], [])
    harness.prune(gone, reaction, edit)
    assert await harness.run() == Backfilled(0, 0)


async def test_relations_before_their_message_are_applied(harness: BackfillHarness) -> None:
    word = harness.add_message("first")
    for _ in range(4):
        harness.add_message("between")
    known = harness.add_message("known")
    await harness.receive(known)
    for event_id in (harness.add_reaction(word, "👍", BOB), harness.add_edit(word, "edited")):
        await harness.receive(event_id)

    await harness.run()
    assert (await harness.bodies())[0] == "edited"
    assert await harness.reactions() == [("👍", 1, (BOB,))]
    assert await harness.run() == Backfilled(0, 0)
    assert await harness.handle_waiting() == []


async def test_relations_of_known_messages_go_through_inbox(harness: BackfillHarness) -> None:
    word = harness.add_message("known")
    await harness.receive(word)
    harness.add_reaction(word)
    harness.add_edit(word, "edited")
    harness.add_redaction(harness.add_message("missing"))
    late = harness.add_message("late")
    harness.add_reaction(late, "🎉", BOB)
    deleted = harness.add_message("deleted")
    await harness.receive(deleted)
    harness.add_redaction(deleted)

    assert await harness.run() == Backfilled(2, 3)
    types = await harness.handle_waiting()
    assert sorted(types) == ["m.reaction", "m.reaction", "m.room.message", "m.room.message", "m.room.redaction"]
    assert await harness.bodies() == ["edited", "late", ""]
    assert await harness.reactions() == [("👍", 1, (ALICE,))]
    assert [tally.key for tally in (await harness.messages())[1].reactions] == ["🎉"]
    assert await harness.run() == Backfilled(0, 0)
    assert await harness.handle_waiting() == []


@pytest.mark.parametrize("answered", [1, 4, 6, 7, 9, 11])
async def test_backfill_that_was_interrupted_can_be_repeated(harness: BackfillHarness, answered: int) -> None:
    word = harness.add_message("first")
    harness.add_edit(word, "edited")
    for number in range(6):
        harness.add_reaction(harness.add_message(f"more {number}"))
    harness.add_reaction(word, "👍", BOB)
    as_usual = asyncio.Event()
    as_usual.set()
    harness.homeserver.next("messages", *[Hang(as_usual)] * answered, refused(403, "M_FORBIDDEN"))
    with pytest.raises(HomeserverRefused):
        await harness.run()
    await harness.run()
    await harness.handle_waiting()

    assert await harness.bodies() == ["edited", *[f"more {number}" for number in range(6)]]
    assert await harness.reactions() == [("👍", 1, (BOB,))]
    assert all(message.reactions for message in await harness.messages())
    assert await harness.run() == Backfilled(0, 0)
    async with harness.database.read_only() as tx:
        known = await tx.inbox.find_stored([event["event_id"] for event in harness.history])
    assert {each.state for each in known.values()} <= {InboxState.DONE}


async def test_backfill_stores_at_most_100_reaction_keys(harness: BackfillHarness) -> None:
    word = harness.add_message("popular")
    for number in range(105):
        harness.add_reaction(word, f"k{number}", f"@u{number}:elsewhere.example")
    harness.add_reaction(word, "k1", BOB)

    assert await harness.run() == Backfilled(1, 101)
    reactions = await harness.reactions()
    assert [key for key, _, _ in reactions] == [f"k{number}" for number in range(100)]
    assert reactions[1][1] == 2
    assert await harness.run() == Backfilled(0, 0)


async def test_own_reactions_and_edits_are_not_taken_twice(harness: BackfillHarness) -> None:
    oksana = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
    message = await harness.desk.post(oksana, "general", "mine")
    await harness.desk.reactions.add(oksana, "general", message.id, "👍")
    await harness.desk.message_edits.edit(oksana, "general", message.id, "edited")
    async with harness.database.read_only() as tx:
        row = next(row for row in await tx.outbox.waiting(limit=9) if row.reaction_id)
    event = harness.add_message("mine", OKSANAS_GHOST, **{MESSAGE_ID: message.id})
    harness.add_reaction(event, "👍", OKSANAS_GHOST, **{REACTION_ID: row.reaction_id})
    await harness.receive(event)

    assert await harness.run() == Backfilled(0, 0)
    assert (await harness.bodies(), await harness.reactions()) == (["edited"], [("👍", 1, ("u_1",))])


async def test_own_reactions_return_with_new_database(harness: BackfillHarness) -> None:
    word = harness.add_message("mine", OKSANAS_GHOST, **{MESSAGE_ID: "lost"})
    harness.add_reaction(word, "👍", OKSANAS_GHOST, **{REACTION_ID: "lost"})
    assert await harness.run() == Backfilled(1, 1)
    assert await harness.reactions() == [("👍", 1, ("u_1",))]


async def test_backfill_of_archived_room_includes_changes(harness: BackfillHarness) -> None:
    word = harness.add_message("first")
    harness.add_reaction(word)
    harness.add_edit(word, "edited")
    async with harness.database.transaction() as tx:
        harness.room = replace(harness.room, archived=True)
        await tx.rooms.change(harness.room)
    assert await harness.run() == Backfilled(1, 2)
    assert (await harness.bodies(), len(await harness.reactions())) == (["edited"], 1)


async def test_backfill_counts_votes_of_polls(harness: BackfillHarness) -> None:
    answers = [{"id": each, "org.matrix.msc1767.text": each} for each in "ab"]
    start, text = "org.matrix.msc3381.poll.start", {"org.matrix.msc1767.text": "Куди?"}
    poll = harness.add_event(start, {start: {"question": text, "answers": answers}} | text)
    reference = {"m.relates_to": {"rel_type": "m.reference", "event_id": poll}}

    def votes(selection: str, sender: str) -> str:
        return harness.add_event(
            "org.matrix.msc3381.poll.response",
            {"org.matrix.msc3381.poll.response": {"answers": [selection]}} | reference,
            sender,
        )

    votes("a", ALICE)
    votes("b", BOB)
    votes("b", ALICE)
    harness.add_event("org.matrix.msc3381.poll.end", reference)
    votes("a", BOB)
    expected = ((0, 2), 2, YEAR_AGO_MS + 4)
    for found in (Backfilled(1, 5), Backfilled(0, 0)):
        assert await harness.run() == found
        (message,) = await harness.messages()
        results = message.poll_results
        assert results is not None
        assert (results.votes, results.voters, results.ended_at_ms) == expected
    assert await harness.handle_waiting() == []
