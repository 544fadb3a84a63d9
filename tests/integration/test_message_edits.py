"""What becomes of messages after they were written: edits, deletions and reactions, from either side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy import select

from daarion_appservice.city.delivery_errors import DeliveryError
from daarion_appservice.city.event_fields import MESSAGE_ID, REACTION_ID
from daarion_appservice.city.events import CityEvent, OutboxChanged
from daarion_appservice.city.feed_entries import FeedKind
from daarion_appservice.city.message_formatting import MessageFormatter
from daarion_appservice.city.messages import Draft
from daarion_appservice.city.room_events import RoomEvent, RoomEventKind
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    Content,
    Delivery,
    EventId,
    Media,
    Message,
    OutboxKind,
    RoomId,
)
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.errors import CityError, Conflict, Forbidden, InvalidInput, NotFound
from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.outbox import OutboxRow
from tests.parts.messaging import MessagingHarness, link, messaging_harness

OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
TARAS = Author(AuthorKind.CITIZEN, "u_2", "Тарас")
SCRIBE = Author(AuthorKind.AGENT, "scribe", "Писар")
ALICE, BOB = "@alice:city.localhost", "@bob:elsewhere.example"
OKSANAS_GHOST = "@citizen_u_1:city.localhost"
GENERAL = RoomId("city_general")
MATRIX_ROOM = "!general"


@dataclass
class Town:
    """Two rooms, and whatever happens there."""

    database: Database
    desk: MessagingHarness
    published: list[CityEvent] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    async def comes(self, event_type: str, content: Any, *, sender: str = ALICE, **more: Any) -> str:
        """An event from Matrix; returns its id."""
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
            happened = await self.desk.handlers().handle(tx, event)
        self.published += happened
        return event_id

    async def says(self, body: str, content: Mapping[str, Any] = MappingProxyType({}), **more: Any) -> str:
        return await self.comes("m.room.message", {"msgtype": "m.text", "body": body, **content, **more})

    async def edits(self, event_id: str, body: str, *, sender: str = ALICE, **more: Any) -> str:
        new = {"msgtype": "m.text", "body": body}
        relation = {"rel_type": "m.replace", "event_id": event_id}
        content = {"msgtype": "m.text", "body": f"* {body}", "m.new_content": new, "m.relates_to": relation}
        when = {key: more.pop(key) for key in ("origin_server_ts",) if key in more}
        return await self.comes("m.room.message", content | more, sender=sender, **when)

    async def reacts(self, event_id: str, key: str, *, sender: str = ALICE, **more: Any) -> str:
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return await self.comes("m.reaction", {"m.relates_to": relation} | more, sender=sender)

    async def redacts(self, event_id: str, *, sender: str = ALICE) -> str:
        return await self.comes("m.room.redaction", {"redacts": event_id}, sender=sender)

    async def arrives(self, message: Message) -> EventId:
        """Matrix has a message of the city."""
        event_id = EventId(f"$ours{next(self._numbers)}")
        async with self.database.transaction() as tx:
            (row,) = [each for each in await tx.outbox.waiting(limit=99) if each.message_id == message.id]
            self.published += await self.desk.renderer.record_sent(tx, row, event_id)
            await tx.outbox.settled(row.id)
        return event_id

    async def message(self, event_id: str) -> Message:
        async with self.database.reading() as tx:
            message = await tx.messages.by_event_id(EventId(event_id))
        assert message is not None
        return message

    async def messages(self) -> list[Message]:
        async with self.database.reading() as tx:
            return await tx.messages.before(GENERAL, None, limit=99)

    async def feed_bodies(self) -> list[str]:
        async with self.database.reading() as tx:
            entries = await tx.feed.before(None, limit=99)
        return [entry.payload["body"] for entry in entries if entry.kind is FeedKind.ROOM_MESSAGE]

    async def shows(self, mxc: str) -> bool:
        async with self.database.reading() as tx:
            return await tx.media.is_shown(mxc)

    async def history(self) -> list[RoomEvent]:
        async with self.database.reading() as tx:
            return await tx.room_events.after(GENERAL, 0, limit=999)

    async def outbox(self) -> list[OutboxRow]:
        async with self.database.reading() as tx:
            return await tx.outbox.waiting(limit=99)

    async def feed(self) -> list[tuple[FeedKind, str]]:
        async with self.database.reading() as tx:
            entries = await tx.feed.before(None, limit=99)
        return [(entry.kind, entry.payload.get("body", "")) for entry in entries if entry.message_id]


@pytest.fixture
async def town(database_url: str) -> AsyncIterator[Town]:
    database = Database(database_url)
    await migrate.upgrade(database)
    published: list[CityEvent] = []
    rooms = Rooms(database, published.append, now_ms, new_id)
    for slug in ("general", "builders"):
        room = await rooms.open(slug, slug=slug)
        async with database.transaction() as tx:
            await link(tx, room.id, f"!{slug}")
    yield Town(database, messaging_harness(database, published.append), published)
    await database.close()


async def kinds(town: Town) -> list[RoomEventKind]:
    history = await town.history()
    assert [event.seq for event in history] == list(range(1, len(history) + 1)), "without a hole"
    return [event.kind for event in history]


# --- edits --------------------------------------------------------------------------------------------


async def test_an_edit_in_the_city_changes_the_message_its_history_and_the_feed_and_goes_to_matrix(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "Добрй день")
    original = await town.arrives(message)

    edited = await town.desk.changes.edit(OKSANA, "general", message.id, "**Добрий** день")

    (stored,) = await town.messages()
    assert stored == edited
    assert (stored.body, stored.formatted_body) == ("**Добрий** день", "<strong>Добрий</strong> день")
    assert stored.edited_at_ms is not None
    assert stored.seq == message.seq, "it stays where it was"
    assert await town.feed() == [(FeedKind.ROOM_MESSAGE, "Добрий день")]
    assert await kinds(town) == [RoomEventKind.MESSAGE, RoomEventKind.UPDATED, RoomEventKind.UPDATED]
    (row,) = await town.outbox()
    async with town.database.reading() as tx:
        rendered = await town.desk.renderer.render(tx, row)
    assert rendered is not None
    assert (rendered.sender, rendered.event_type) == (OKSANA, "m.room.message")
    assert rendered.content["m.relates_to"] == {"rel_type": "m.replace", "event_id": original}
    assert rendered.content["m.new_content"]["body"] == "**Добрий** день"
    assert rendered.content["m.new_content"]["formatted_body"] == "<strong>Добрий</strong> день"
    assert town.published[-1] == OutboxChanged()


async def test_the_same_text_again_is_no_edit(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "так")
    await town.desk.changes.edit(OKSANA, "general", message.id, "так")
    assert await kinds(town) == [RoomEventKind.MESSAGE]
    assert [row.kind for row in await town.outbox()] == [OutboxKind.MESSAGE]


@pytest.mark.parametrize(
    ("author", "room", "body", "error", "code"),
    [
        (TARAS, "general", "чуже", Forbidden, "not_yours"),
        (OKSANA, "general", "  ", InvalidInput, "message_empty"),
        (OKSANA, "general", "ї" * 30_000, InvalidInput, "message_too_long"),
        (OKSANA, "builders", "не тут", NotFound, "no_such_message"),
        (OKSANA, "nowhere", "ніде", NotFound, "no_such_room"),
    ],
)
async def test_an_edit_that_cannot_be_changes_nothing(
    town: Town, author: Author, room: str, body: str, error: type[CityError], code: str
) -> None:
    message = await town.desk.post(OKSANA, "general", "моє")
    with pytest.raises(error) as raised:
        await town.desk.changes.edit(author, room, message.id, body)
    assert raised.value.code == code
    assert await town.messages() == [message]
    assert await kinds(town) == [RoomEventKind.MESSAGE]


async def test_an_edit_from_matrix_changes_the_message(town: Town) -> None:
    event_id = await town.says("превіт")
    await town.edits(event_id, "привіт")
    message = await town.message(event_id)
    assert (message.body, message.edited_at_ms) == ("привіт", 1_700_000_000_000)
    assert await kinds(town) == [RoomEventKind.MESSAGE, RoomEventKind.UPDATED]
    assert await town.outbox() == [], "Matrix knows"
    assert await town.feed() == [(FeedKind.ROOM_MESSAGE, "привіт")]


async def test_nobody_edits_what_another_wrote(town: Town) -> None:
    event_id = await town.says("моє")
    await town.edits(event_id, "чуже", sender=BOB)
    assert (await town.message(event_id)).body == "моє"
    assert await kinds(town) == [RoomEventKind.MESSAGE]


async def test_an_edit_of_something_unknown_or_in_another_room_is_nothing(town: Town) -> None:
    await town.edits("$never", "що?")
    event_id = await town.says("моє")
    relation = {"rel_type": "m.replace", "event_id": event_id}
    content = {"msgtype": "m.text", "body": "", "m.new_content": {"msgtype": "m.text", "body": "х"}}
    await town.comes("m.room.message", content | {"m.relates_to": relation}, room_id="!builders")
    assert [message.body for message in await town.messages()] == ["моє"]


async def test_the_echo_of_an_edit_of_ours_is_no_message_and_no_edit(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "раз")
    original = await town.arrives(message)
    await town.desk.changes.edit(OKSANA, "general", message.id, "два")
    await town.desk.changes.edit(OKSANA, "general", message.id, "три")
    await town.edits(original, "два", sender=OKSANAS_GHOST, **{MESSAGE_ID: message.id})
    assert [(each.body, each.matrix_event_id) for each in await town.messages()] == [("три", original)]


# --- deletions ----------------------------------------------------------------------------------------


async def test_a_deletion_in_the_city_leaves_nothing_of_what_was_said(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "таємниця @alice:city.localhost")
    original = await town.arrives(message)
    await town.reacts(original, "👀")
    deleted = await town.desk.changes.delete(OKSANA, "general", message.id, may_moderate=False)

    (stored,) = await town.messages()
    assert stored == deleted
    assert stored.deleted
    assert (stored.body, stored.formatted_body, stored.mentions, stored.reactions) == ("", None, (), ())
    assert await town.feed() == []
    assert all(event.message == stored for event in await town.history()), "not even in its history"
    (row,) = await town.outbox()
    async with town.database.reading() as tx:
        rendered = await town.desk.renderer.render(tx, row)
    assert rendered is not None
    assert (rendered.sender, rendered.redacts) == (OKSANA, original)

    again = await town.desk.changes.delete(OKSANA, "general", message.id, may_moderate=False)
    assert again == deleted
    assert len(await town.outbox()) == 1


async def test_only_its_author_and_admins_delete_a_message(town: Town) -> None:
    event_id = await town.says("лайка")
    message = await town.message(event_id)
    with pytest.raises(Forbidden):
        await town.desk.changes.delete(TARAS, "general", message.id, may_moderate=False)
    assert (await town.desk.changes.delete(TARAS, "general", message.id, may_moderate=True)).deleted
    (row,) = await town.outbox()
    async with town.database.reading() as tx:
        rendered = await town.desk.renderer.render(tx, row)
    assert rendered is not None
    assert (rendered.sender, rendered.redacts) == (None, event_id), "the bot does that"
    assert (await town.history())[-1].who == TARAS


@pytest.mark.parametrize("redacts_in_content", [True, False])
async def test_a_redaction_on_matrix_deletes_the_message(town: Town, *, redacts_in_content: bool) -> None:
    event_id = await town.says("стерти")
    where: dict[str, Any] = {} if redacts_in_content else {"redacts": event_id}
    await town.comes("m.room.redaction", {"redacts": event_id} if redacts_in_content else {}, sender=BOB, **where)
    message = await town.message(event_id)
    assert (message.deleted, message.body) == (True, "")
    last = (await town.history())[-1]
    assert (last.kind, last.who and last.who.id) == (RoomEventKind.DELETED, BOB)
    assert await town.outbox() == []


async def test_what_is_deleted_is_neither_edited_nor_reacted_to_any_more(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "було")
    await town.arrives(message)
    deleted = await town.desk.changes.delete(OKSANA, "general", message.id, may_moderate=False)
    with pytest.raises(Conflict):
        await town.desk.changes.edit(OKSANA, "general", message.id, "є")
    with pytest.raises(Conflict):
        await town.desk.reactions.give(TARAS, "general", message.id, "👍")
    event_id = await town.says("було й тут")
    await town.redacts(event_id)
    await town.edits(event_id, "ще є")
    await town.reacts(event_id, "👍")
    assert [message.body for message in await town.messages()] == ["", ""]
    assert deleted.id == message.id


async def test_a_message_that_is_deleted_before_it_was_sent_is_not_sent(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "ой")
    await town.desk.changes.delete(OKSANA, "general", message.id, may_moderate=False)
    async with town.database.reading() as tx:
        rendered_events = [await town.desk.renderer.render(tx, row) for row in await tx.outbox.waiting(limit=9)]
    assert rendered_events == [None, None]


async def test_a_message_that_was_on_its_way_when_it_was_deleted_is_deleted_on_matrix_too(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "ой")
    (sending,) = await town.outbox()
    await town.desk.changes.delete(OKSANA, "general", message.id, may_moderate=False)
    async with town.database.transaction() as tx:
        await tx.outbox.settled(sending.id)
        for row in await tx.outbox.waiting(limit=9):  # nobody knew its event yet
            assert await town.desk.renderer.render(tx, row) is None
            await tx.outbox.settled(row.id)
    await town.comes(
        "m.room.message", {"msgtype": "m.text", "body": "ой", MESSAGE_ID: message.id}, sender=OKSANAS_GHOST
    )
    (row,) = await town.outbox()
    assert row.kind is OutboxKind.DELETE
    (stored,) = await town.messages()
    assert (stored.deleted, stored.body, stored.delivery) == (True, "", Delivery.SENT)


# --- reactions ----------------------------------------------------------------------------------------


async def test_reactions_of_both_sides_are_counted_together(town: Town) -> None:
    event_id = await town.says("Хто за?")
    message = await town.message(event_id)
    await town.reacts(event_id, "👍", sender=BOB)
    await town.desk.reactions.give(OKSANA, "general", message.id, "👍")
    await town.desk.reactions.give(OKSANA, "general", message.id, "👍")
    counted = await town.desk.reactions.give(SCRIBE, "general", message.id, "🎉")

    assert [(tally.key, tally.count, tally.by) for tally in counted.reactions] == [
        ("👍", 2, (BOB, "u_1")),
        ("🎉", 1, ("agent:scribe",)),
    ]
    assert await town.messages() == [counted]
    events = [(event.key, event.added, event.who and event.who.id) for event in (await town.history())[1:]]
    assert events == [("👍", True, BOB), ("👍", True, "u_1"), ("🎉", True, "scribe")]
    assert [row.kind for row in await town.outbox()] == [OutboxKind.REACT] * 2


async def test_a_reaction_that_is_taken_back_is_redacted_on_matrix(town: Town) -> None:
    message = await town.message(await town.says("Хто за?"))
    await town.desk.reactions.give(OKSANA, "general", message.id, "👍")
    (row,) = await town.outbox()
    assert row.reaction_id is not None
    await town.reacts("$whatever", "👍", sender=OKSANAS_GHOST, **{REACTION_ID: row.reaction_id})  # the echo
    counted = await town.desk.reactions.take_back(OKSANA, "general", message.id, "👍")
    assert counted.reactions == ()
    assert await town.desk.reactions.take_back(OKSANA, "general", message.id, "👍") == counted

    react, unreact = await town.outbox()
    async with town.database.transaction() as tx:
        first, second = [await town.desk.renderer.render(tx, row) for row in (react, unreact)]
        assert first is not None
        assert second is not None
        assert (second.sender, second.redacts) == (OKSANA, "$event2")
        await town.desk.renderer.record_sent(tx, unreact, EventId("$gone"))
        assert await tx.reactions.get(row.reaction_id) is None

    again = await town.desk.reactions.give(OKSANA, "general", message.id, "👍")
    assert [tally.count for tally in again.reactions] == [1], "and can be given again"


async def test_a_reaction_that_is_redacted_on_matrix_is_gone_in_the_city(town: Town) -> None:
    event_id = await town.says("Хто за?")
    reaction = await town.reacts(event_id, "👍", sender=BOB)
    await town.redacts(reaction, sender=BOB)
    message = await town.message(event_id)
    assert message.reactions == ()
    assert [(event.kind, event.added) for event in await town.history()] == [
        (RoomEventKind.MESSAGE, True),
        (RoomEventKind.REACTION, True),
        (RoomEventKind.REACTION, False),
    ]


async def test_what_is_redacted_in_one_room_stays_in_the_others(town: Town) -> None:
    event_id = await town.says("Хто за?")
    reaction = await town.reacts(event_id, "👍", sender=BOB)
    for each in (event_id, reaction):
        await town.comes("m.room.redaction", {"redacts": each}, room_id="!builders")
    message = await town.message(event_id)
    assert (message.body, [tally.count for tally in message.reactions]) == ("Хто за?", [1])
    await town.redacts(reaction)
    assert (await town.message(event_id)).reactions == ()


async def test_the_echo_of_a_reaction_and_whoever_takes_it_back_do_not_wait_for_each_other(town: Town) -> None:
    message = await town.message(await town.says("Хто за?"))
    await town.desk.reactions.give(OKSANA, "general", message.id, "👍")
    (row,) = await town.outbox()
    echo = {
        "type": "m.reaction",
        "room_id": MATRIX_ROOM,
        "event_id": "$echo",
        "sender": OKSANAS_GHOST,
        "content": {REACTION_ID: row.reaction_id},
    }
    text = {"msgtype": "m.text", "body": "Я"}
    more = echo | {"type": "m.room.message", "event_id": "$more", "sender": ALICE, "content": text}
    # Events that come together are handled in one transaction.
    async with asyncio.TaskGroup() as both, town.database.transaction() as tx:
        await town.desk.handlers().handle(tx, echo)
        both.create_task(town.desk.reactions.take_back(OKSANA, "general", message.id, "👍"))
        await asyncio.sleep(0.2)
        await town.desk.handlers().handle(tx, more)
    assert [each.reactions for each in await town.messages()] == [(), ()]


async def test_one_person_reacts_with_one_sign_once_also_when_their_server_says_it_twice(town: Town) -> None:
    event_id = await town.says("Хто за?")
    await town.reacts(event_id, "👍", sender=BOB)
    await town.reacts(event_id, "👍", sender=BOB)
    assert [tally.count for tally in (await town.message(event_id)).reactions] == [1]


async def test_of_many_who_react_at_once_all_are_counted(town: Town) -> None:
    message = await town.message(await town.says("Хто за?"))
    citizens = [Author(AuthorKind.CITIZEN, f"u_{n}", f"Citizen {n}") for n in range(60)]
    await town.desk.reactions.give(SCRIBE, "general", message.id, "🎉")
    await asyncio.gather(*(town.desk.reactions.give(citizen, "general", message.id, "👍") for citizen in citizens))
    (counted,) = await town.messages()
    assert [(tally.key, tally.count, len(set(tally.by))) for tally in counted.reactions] == [
        ("🎉", 1, 1),
        ("👍", 60, 20),
    ]
    assert await kinds(town) == [RoomEventKind.MESSAGE] + [RoomEventKind.REACTION] * 61


@pytest.mark.parametrize("key", ["", " ", "x" * 65, "\n", "a\tb", "\u200f"])
async def test_what_is_no_sign_is_refused(town: Town, key: str) -> None:
    message = await town.message(await town.says("Хто за?"))
    with pytest.raises(InvalidInput):
        await town.desk.reactions.give(OKSANA, "general", message.id, key)


@pytest.mark.parametrize("key", ["👍", "👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "так", "+1"])
async def test_every_emoji_is_a_sign(town: Town, key: str) -> None:
    message = await town.message(await town.says("Хто за?"))
    counted = await town.desk.reactions.give(OKSANA, "general", message.id, key)
    assert [tally.key for tally in counted.reactions] == [key]


# --- what a message can be ----------------------------------------------------------------------------


async def test_replies_find_what_they_answer_on_both_sides(town: Town) -> None:
    question = await town.says("Котра година?")
    message = await town.message(question)
    answer = await town.desk.post(SCRIBE, "general", "Восьма", reply_to=message.id)
    (row,) = await town.outbox()
    async with town.database.reading() as tx:
        rendered = await town.desk.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content["m.relates_to"] == {"m.in_reply_to": {"event_id": question}}
    assert rendered.content["m.mentions"] == {"user_ids": [ALICE]}, "whoever is answered is told so"
    assert await town.feed() == [(FeedKind.AGENT_REPLY, "Восьма"), (FeedKind.ROOM_MESSAGE, "Котра година?")]

    event_id = await town.arrives(answer)
    fallback = "> <@agent_scribe:city.localhost> Восьма\n\nДякую"
    thanks = await town.says(fallback, {"m.relates_to": {"m.in_reply_to": {"event_id": event_id}}})
    assert (await town.message(thanks)).reply_to == answer.id
    assert (await town.message(thanks)).body == "Дякую"
    in_thread = {"rel_type": "m.thread", "event_id": question, "is_falling_back": True}
    threaded = await town.says("у нитці", {"m.relates_to": in_thread | {"m.in_reply_to": {"event_id": event_id}}})
    assert (await town.message(threaded)).reply_to == message.id


async def test_mentions_are_known_on_both_sides(town: Town) -> None:
    heard = await town.says(
        "Оксано?", {"m.mentions": {"user_ids": [OKSANAS_GHOST, "@daarion_bot:city.localhost", 7, "bad", BOB]}}
    )
    assert (await town.message(heard)).mentions == ("u_1", BOB)
    said = await town.desk.post(OKSANA, "general", "@alice:city.localhost, привіт")
    assert said.mentions == (ALICE,)
    (row,) = await town.outbox()
    async with town.database.reading() as tx:
        rendered = await town.desk.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content["m.mentions"] == {"user_ids": [ALICE]}
    assert f"https://matrix.to/#/{ALICE}" in rendered.content["formatted_body"]


@pytest.mark.parametrize("msgtype", ["m.emote", "m.notice"])
async def test_emotes_and_notices_are_what_they_are_on_both_sides(town: Town, msgtype: str) -> None:
    heard = await town.says("махає", msgtype=msgtype)
    assert (await town.message(heard)).msgtype == msgtype
    posted = await town.desk.messages.post(OKSANA, "general", Draft("махає", msgtype=msgtype))
    (row,) = await town.outbox()
    async with town.database.reading() as tx:
        rendered = await town.desk.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content["msgtype"] == posted.message.msgtype == msgtype


async def test_html_from_matrix_is_cleaned_and_unknown_kinds_are_texts(town: Town) -> None:
    html = '<b onclick="evil()">сміливо</b><script>evil()</script>'
    bold = await town.says("сміливо", format="org.matrix.custom.html", formatted_body=html)
    assert (await town.message(bold)).formatted_body == "<b>сміливо</b>"
    place = await town.says("Київ, Майдан", msgtype="m.location", geo_uri="geo:50.45,30.52")
    assert ((await town.message(place)).msgtype, (await town.message(place)).body) == ("m.text", "Київ, Майдан")
    await town.says("?", msgtype="m.key.verification.request")
    assert len(await town.messages()) == 2


async def test_files_from_matrix_are_known_by_where_they_lie(town: Town) -> None:
    info = {"mimetype": "image/png", "size": 1234, "w": 640, "h": -1, "thumbnail_url": "mxc://city.localhost/thumb"}
    picture = await town.says(
        "кіт.png", msgtype="m.image", url="mxc://city.localhost/cat", info=info, filename="кіт.png"
    )
    media = (await town.message(picture)).media
    assert media is not None
    assert (media.mxc, media.mimetype, media.filename) == ("mxc://city.localhost/cat", "image/png", "кіт.png")
    assert (media.size, media.width, media.height, media.thumbnail_mxc) == (1234, 640, None, info["thumbnail_url"])
    secret = await town.says("таємне.png", msgtype="m.image", file={"url": "mxc://city.localhost/secret"})
    assert ((await town.message(secret)).media, (await town.message(secret)).msgtype) == (None, "m.text")


async def test_a_message_that_matrix_does_not_take_is_told_of_in_its_history(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "ніколи")
    (row,) = await town.outbox()
    async with town.database.transaction() as tx:
        await town.desk.renderer.record_failed(tx, row, DeliveryError.REFUSED)
    last = (await town.history())[-1]
    assert (last.kind, last.message and last.message.delivery) == (RoomEventKind.UPDATED, Delivery.FAILED)
    assert last.message is not None
    assert last.message.id == message.id


async def test_message_deleted_before_it_was_sent_is_failed_in_history(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "ніколи")
    await town.desk.changes.delete(OKSANA, "general", message.id, may_moderate=False)
    row, redaction = await town.outbox()
    async with town.database.transaction() as tx:
        assert await town.desk.renderer.render(tx, row) is None
        assert await town.desk.renderer.render(tx, redaction) is None
        await town.desk.renderer.record_dropped(tx, row)
        await town.desk.renderer.record_dropped(tx, redaction)
    last = (await town.history())[-1].message
    assert last is not None
    assert (last.deleted, last.delivery, last.delivery_error) == (True, Delivery.FAILED, "deleted")


async def test_a_message_that_came_back_has_arrived_whatever_the_homeserver_answers(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "туди")
    (row,) = await town.outbox()
    echo = {"msgtype": "m.text", "body": "туди", MESSAGE_ID: message.id}
    await town.comes("m.room.message", echo, sender=OKSANAS_GHOST)
    async with town.database.transaction() as tx:
        assert await town.desk.renderer.record_failed(tx, row, DeliveryError.REFUSED) == []
    assert [each.delivery for each in await town.messages()] == [Delivery.SENT]


async def test_a_message_that_matrix_did_not_take_is_sent_again_when_its_author_wants_so(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "ще раз")
    (row,) = await town.outbox()
    async with town.database.transaction() as tx:
        await tx.outbox.failed(row.id, "ні", retry_at_ms=None)
        await town.desk.renderer.record_failed(tx, row, DeliveryError.REFUSED)
    assert await town.outbox() == []
    with pytest.raises(Forbidden):
        await town.desk.messages.retry_delivery(TARAS, "general", message.id)

    again = await town.desk.messages.retry_delivery(OKSANA, "general", message.id)

    assert again.delivery is Delivery.PENDING
    (waiting,) = await town.outbox()
    assert (waiting.txn_id, waiting.attempts) == (row.txn_id, 0), "by the number that it had"
    await town.arrives(message)
    sent = await town.desk.messages.retry_delivery(OKSANA, "general", message.id)
    assert (sent.delivery, await town.outbox()) == (Delivery.SENT, [])


@pytest.mark.parametrize("may_moderate", [False, True], ids=["author", "moderator"])
async def test_deletion_that_was_given_up_is_listed_and_sent_again(town: Town, may_moderate: bool) -> None:
    message = await town.desk.post(OKSANA, "general", "ой")
    await town.arrives(message)
    await town.desk.changes.delete(TARAS if may_moderate else OKSANA, "general", message.id, may_moderate=may_moderate)
    (row,) = await town.outbox()
    async with town.database.transaction() as tx:
        await tx.outbox.failed(row.id, "ні", retry_at_ms=None)
        assert [each.kind for each in await tx.outbox.failed_rows()] == [row.kind]
        assert await tx.outbox.retry_changes(None) == 1
    assert [each.txn_id for each in await town.outbox()] == [row.txn_id]


# --- edits that are taken back --------------------------------------------------------------------------


async def test_redacted_edit_shows_the_message_before_it(town: Town) -> None:
    event = await town.says("original")
    first = await town.edits(event, "first edit")
    second = await town.edits(event, "bad", origin_server_ts=1_700_000_000_001)
    await town.redacts(second, sender="@moderator:city.localhost")
    message = await town.message(event)
    assert (message.body, message.edited_at_ms) == ("first edit", 1_700_000_000_000)
    last = (await town.history())[-1]
    assert (last.kind, last.message and last.message.body) == (RoomEventKind.UPDATED, "first edit")
    assert await town.feed_bodies() == ["first edit"]
    await town.redacts(first)
    message = await town.message(event)
    assert (message.body, message.edited_at_ms, message.edit_seq, message.deleted) == ("original", None, None, False)
    assert await town.feed_bodies() == ["original"]


async def test_redacted_older_edit_changes_nothing(town: Town) -> None:
    event = await town.says("original")
    first = await town.edits(event, "first edit")
    second = await town.edits(event, "second edit", origin_server_ts=1_700_000_000_001)
    before = len(await town.history())
    await town.redacts(first)
    assert (await town.message(event)).body == "second edit"
    assert len(await town.history()) == before
    await town.redacts(second)
    assert (await town.message(event)).body == "original"


@pytest.mark.parametrize("ts", [0, 1_700_000_000_000])
async def test_early_edits_dated_in_the_future_displace_no_others(town: Town, ts: int) -> None:
    for number in range(200):
        await town.edits(f"$none{number}", "bad", sender="@mallory:example.org", origin_server_ts=1 << 50)
    await town.edits("$late", "edited", origin_server_ts=ts)
    await town.comes("m.room.message", {"msgtype": "m.text", "body": "original"}, event_id="$late")
    assert (await town.message("$late")).body == "edited"


async def test_edit_redacted_twice_is_taken_back_once(town: Town) -> None:
    event = await town.says("original")
    edit = await town.edits(event, "bad")
    await town.redacts(edit)
    before = len(await town.history())
    await town.redacts(edit)
    assert (await town.message(event)).body == "original"
    assert len(await town.history()) == before


async def test_late_edit_does_not_replace_a_newer_one(town: Town) -> None:
    event = await town.says("original")
    newer = await town.edits(event, "newer", origin_server_ts=1_700_000_000_002)
    await town.edits(event, "older", origin_server_ts=1_700_000_000_001)
    assert (await town.message(event)).body == "newer"
    await town.redacts(newer)
    assert (await town.message(event)).body == "older"


async def test_edit_before_its_message_is_applied_when_that_comes(town: Town) -> None:
    edit = await town.edits("$late", "edited")
    stranger = await town.edits("$late", "not theirs", sender=BOB)
    content = {"msgtype": "m.text", "body": "original"}
    await town.comes("m.room.message", content, event_id="$late")
    assert (await town.message("$late")).body == "edited"
    assert [each.kind for each in await town.history()] == [RoomEventKind.MESSAGE, RoomEventKind.UPDATED]
    await town.redacts(stranger, sender=BOB)
    await town.redacts(edit)
    assert (await town.message("$late")).body == "original"


async def test_edit_redacted_before_its_message_comes_is_not_applied(town: Town) -> None:
    await town.redacts(await town.edits("$late", "bad"))
    await town.comes("m.room.message", {"msgtype": "m.text", "body": "original"}, event_id="$late")
    assert (await town.message("$late")).body == "original"


async def test_edit_of_an_edit_is_ignored(town: Town) -> None:
    event = await town.says("original")
    edit = await town.edits(event, "edited")
    await town.edits(edit, "edit of an edit")
    assert (await town.message(event)).body == "edited"
    assert [each.body for each in await town.messages()] == ["edited"]


async def test_reply_and_reaction_to_an_edit_are_of_its_message(town: Town) -> None:
    event = await town.says("original")
    edit = await town.edits(event, "edited")
    answer = await town.says("answer", {"m.relates_to": {"m.in_reply_to": {"event_id": edit}}})
    await town.reacts(edit, "👍", sender=BOB)
    message = await town.message(event)
    assert (await town.message(answer)).reply_to == message.id
    assert [tally.key for tally in message.reactions] == ["👍"]


async def test_redacted_edit_of_the_city_shows_the_message_before_it(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "original")
    event = await town.arrives(message)
    await town.desk.changes.edit(OKSANA, "general", message.id, "first edit")
    await town.desk.changes.edit(OKSANA, "general", message.id, "bad")
    rows = [row for row in await town.outbox() if row.kind is OutboxKind.EDIT]
    for number, row in enumerate(rows):
        async with town.database.transaction() as tx:
            rendered = await town.desk.renderer.render(tx, row)
        assert rendered is not None
        # The echo says which edit it is, whether or not the homeserver's answer came.
        assert rendered.content["m.new_content"]["body"] == ("first edit", "bad")[number]
        await town.comes("m.room.message", rendered.content, sender=OKSANAS_GHOST, event_id=f"$edit{number}")
    await town.redacts("$edit1", sender="@moderator:city.localhost")
    assert (await town.message(event)).body == "first edit"
    await town.redacts("$edit0", sender="@moderator:city.localhost")
    assert (await town.message(event)).body == "original"


async def test_answer_to_sending_an_edit_names_its_event(town: Town) -> None:
    message = await town.desk.post(OKSANA, "general", "original")
    event = await town.arrives(message)
    await town.desk.changes.edit(OKSANA, "general", message.id, "bad")
    (row,) = [row for row in await town.outbox() if row.kind is OutboxKind.EDIT]
    async with town.database.transaction() as tx:
        await town.desk.renderer.record_sent(tx, row, EventId("$sent"))
    await town.redacts("$sent", sender="@moderator:city.localhost")
    assert (await town.message(event)).body == "original"


async def test_redacted_edit_of_a_file_shows_the_file_before_it(town: Town) -> None:
    old, new = "mxc://city.localhost/old", "mxc://city.localhost/new"
    event = await town.comes("m.room.message", {"msgtype": "m.image", "body": "old.png", "url": old})
    relation = {"rel_type": "m.replace", "event_id": event}
    content = {"msgtype": "m.image", "body": "new.png", "url": new}
    edit = await town.comes("m.room.message", content | {"m.new_content": content, "m.relates_to": relation})
    assert await town.shows(new)
    assert not await town.shows(old)
    await town.redacts(edit)
    message = await town.message(event)
    assert message.media is not None
    assert message.media.mxc == old
    assert await town.shows(old)
    assert not await town.shows(new)


async def test_deleted_message_leaves_no_revision(town: Town) -> None:
    event = await town.says("secret")
    edit = await town.edits(event, "still secret")
    await town.redacts(event)
    async with town.database.reading() as tx:
        for table in (tables.revisions, tables.early_edits):
            assert (await tx.connection.execute(select(table))).all() == []
    # Clients redact the edits, too.
    await town.redacts(edit)
    message = await town.message(event)
    assert (message.body, message.deleted) == ("", True)


async def test_edit_redacted_in_another_room_stays(town: Town) -> None:
    event = await town.says("original")
    edit = await town.edits(event, "edited")
    async with town.database.transaction() as tx:
        await link(tx, RoomId("city_builders"), "!builders")
    await town.comes("m.room.redaction", {"redacts": edit}, room_id="!builders")
    assert (await town.message(event)).body == "edited"


async def test_long_row_of_edits_keeps_the_first_text_and_the_last(town: Town) -> None:
    event = await town.says("original")
    edits = [
        await town.edits(event, f"edit {number}", origin_server_ts=1_700_000_000_001 + number) for number in range(60)
    ]
    await town.redacts(edits[-1])
    assert (await town.message(event)).body == "edit 58"
    async with town.database.reading() as tx:
        kept = (await tx.connection.execute(select(tables.revisions.c.body))).scalars().all()
    assert len(kept) == 50
    assert "original" in kept


# --- one sign in several forms --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("👍", "👍\ufe0f", "👍"),
        ("👍\ufe0f", "👍", "👍"),
        ("👍\ufe0e", "👍\ufe0f", "👍"),
        ("❤", "❤\ufe0f", "❤\ufe0f"),
        ("❤\ufe0f", "❤", "❤\ufe0f"),
        ("1\u20e3", "1\ufe0f\u20e3", "1\ufe0f\u20e3"),
        ("❤\u200d🔥", "❤\ufe0f\u200d🔥", "❤\ufe0f\u200d🔥"),
        ("👍🏽", "👍\ufe0f🏽", "👍🏽"),
        ("й", "и\u0306", "й"),
        ("и\u0306", "й", "й"),
        (" 👍", "👍 ", "👍"),
    ],
    ids=ascii,
)
async def test_forms_of_an_emoji_are_one_sign(town: Town, one: str, other: str, shown: str) -> None:
    event = await town.says("Хто за?")
    reaction = await town.reacts(event, one)
    message = await town.message(event)
    counted = await town.desk.reactions.give(OKSANA, "general", message.id, other)
    assert [(tally.key, tally.count) for tally in counted.reactions] == [(shown, 2)]
    # The city writes it as it was written on Matrix: there, too, it is one sign then.
    (row,) = [row for row in await town.outbox() if row.kind is OutboxKind.REACT]
    async with town.database.transaction() as tx:
        rendered = await town.desk.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content["m.relates_to"]["key"] == one
    await town.desk.reactions.take_back(OKSANA, "general", message.id, one)
    await town.redacts(reaction)
    assert (await town.message(event)).reactions == ()


async def test_skin_colours_are_different_signs(town: Town) -> None:
    event = await town.says("Хто за?")
    for key in ("👍", "👍🏽", "👍🏿", "1", "1\ufe0f\u20e3"):
        await town.reacts(event, key)
    assert [tally.key for tally in (await town.message(event)).reactions] == [
        "👍",
        "👍🏽",
        "👍🏿",
        "1",
        "1\ufe0f\u20e3",
    ]


async def test_variation_selector_alone_is_no_sign(town: Town) -> None:
    event = await town.says("Хто за?")
    await town.reacts(event, "\ufe0f")
    message = await town.message(event)
    assert message.reactions == ()
    with pytest.raises(InvalidInput):
        await town.desk.reactions.give(OKSANA, "general", message.id, "\ufe0f")


@pytest.mark.parametrize("name", ["shortcode", "com.beeper.reaction.shortcode"])
async def test_picture_as_a_sign_has_its_name(town: Town, name: str) -> None:
    event = await town.says("Хто за?")
    picture = "mxc://city.localhost/party"
    assert not await town.shows(picture)
    reaction = await town.reacts(event, picture, **{name: ":par\u202ety:"})
    message = await town.message(event)
    assert [(tally.key, tally.count, tally.shortcode) for tally in message.reactions] == [(picture, 1, ":party:")]
    assert await town.shows(picture)
    await town.desk.reactions.give(OKSANA, "general", message.id, picture)
    (row,) = [row for row in await town.outbox() if row.kind is OutboxKind.REACT]
    async with town.database.transaction() as tx:
        rendered = await town.desk.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content[name] == ":party:"
    await town.redacts(reaction)
    await town.desk.reactions.take_back(OKSANA, "general", message.id, picture)
    assert not await town.shows(picture)


async def test_picture_that_nobody_gave_cannot_be_given_in_the_city(town: Town) -> None:
    message = await town.message(await town.says("Хто за?"))
    with pytest.raises(InvalidInput):
        await town.desk.reactions.give(OKSANA, "general", message.id, "mxc://city.localhost/party")


# --- files that cannot be fetched, and their names -------------------------------------------------------


@pytest.mark.parametrize("event_type", ["m.sticker", "m.room.message"])
async def test_encrypted_picture_is_its_name(town: Town, event_type: str) -> None:
    file = {"url": "mxc://city.localhost/secret", "key": {}, "iv": "", "hashes": {}, "v": "v2"}
    content = {"body": "ca\u202et.png", "file": file, "info": {}}
    event = await town.comes(event_type, content | ({"msgtype": "m.image"} if event_type != "m.sticker" else {}))
    message = await town.message(event)
    assert (message.body, message.msgtype, message.media) == ("cat.png", "m.text", None)
    assert not await town.shows("mxc://city.localhost/secret")


async def test_sticker_without_picture_and_name_is_no_message(town: Town) -> None:
    for content in ({"body": ""}, {"body": "  ", "file": {}}, {}, {"body": 1}):
        await town.comes("m.sticker", content)
    assert await town.messages() == []


# --- polls -----------------------------------------------------------------------------------------------


def poll(event_type: str, question: str, *options: str, fallback: str | None = None) -> dict[str, Any]:
    """The content that Element sends (``org.matrix.msc3381.poll.start``), or what MSC3381 became (``m.poll.start``)."""
    if event_type == "m.poll.start":
        answers: list[dict[str, Any]] = [{"m.id": each, "m.text": [{"body": each}]} for each in options]
        begun: dict[str, Any] = {"question": {"m.text": [{"mimetype": "text/html", "body": "<b>"}, {"body": question}]}}
        return {"m.poll": begun | {"answers": answers}, "m.text": [{"body": fallback or question}]}
    answers = [{"id": each, "org.matrix.msc1767.text": each} for each in options]
    begun = {"question": {"org.matrix.msc1767.text": question, "body": question, "msgtype": "m.text"}}
    return {event_type: begun | {"answers": answers}, "org.matrix.msc1767.text": fallback or question}


POLL_TYPES = ["m.poll.start", "org.matrix.msc3381.poll.start"]


@pytest.mark.parametrize("event_type", POLL_TYPES)
async def test_poll_is_its_question_and_numbered_options(town: Town, event_type: str) -> None:
    message = await town.message(await town.comes(event_type, poll(event_type, "Коли?", "Пн\n2. Вт", "Ср")))
    assert (message.body, message.msgtype) == ("Коли?\n1. Пн 2. Вт\n2. Ср", "m.text")
    assert await town.feed_bodies() == [message.body]


@pytest.mark.parametrize("event_type", POLL_TYPES)
async def test_edited_poll_shows_its_new_options(town: Town, event_type: str) -> None:
    event = await town.comes(event_type, poll(event_type, "Коли?", "Пн", "Ср"))
    content = {
        "m.new_content": poll(event_type, "Коли?", "Пн", "Чт"),
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    }
    await town.comes(event_type, content)
    assert [each.body for each in await town.messages()] == ["Коли?\n1. Пн\n2. Чт"]


@pytest.mark.parametrize("event_type", POLL_TYPES)
async def test_poll_that_cannot_be_read_is_its_fallback(town: Town, event_type: str) -> None:
    broken = poll(event_type, "", fallback="Коли? Пн, Ср")
    assert (await town.message(await town.comes(event_type, broken))).body == "Коли? Пн, Ср"
    hostile: list[Any] = [1, None, {}, {"question": [], "answers": {}}, {"question": {"m.text": [1, {"body": []}]}}]
    for value in hostile:
        await town.comes(event_type, {"m.poll": value, "org.matrix.msc3381.poll.start": value, "m.text": value})
    assert len(await town.messages()) == 1


async def test_name_of_a_file_turns_nothing(town: Town) -> None:
    content = {"msgtype": "m.file", "body": "N\u202egpj.exe", "url": "mxc://city.localhost/file"}
    message = await town.message(await town.comes("m.room.message", content))
    assert message.media is not None
    assert (message.body, message.media.filename) == ("Ngpj.exe", "Ngpj.exe")


@pytest.mark.parametrize(
    ("declared", "kept"),
    [
        ("Image/JPG", "image/jpeg"),
        ("audio/ogg; codecs=opus", "audio/ogg"),
        ("text/plain\r\nX: y", "application/octet-stream"),
        ("video/mp4\u202e", "application/octet-stream"),
        ("m" * 10_000, "application/octet-stream"),
        (None, "application/octet-stream"),
    ],
)
async def test_type_of_a_file_from_matrix_is_a_media_type(town: Town, declared: str | None, kept: str) -> None:
    content = {"msgtype": "m.file", "body": "a", "url": "mxc://city.localhost/a", "info": {"mimetype": declared}}
    message = await town.message(await town.comes("m.room.message", content))
    assert message.media is not None
    assert message.media.mimetype == kept


async def test_reaction_key_with_turning_characters_is_one_line(town: Town) -> None:
    event = await town.says("Хто за?")
    await town.reacts(event, "\u202e\u2066я")
    await town.reacts(event, "я\nні")
    await town.reacts(event, "\u202e")
    assert [tally.key for tally in (await town.message(event)).reactions] == ["я", "я ні"]


class WatchedWording:
    """Counts what is rendered, and fails where whoever waits for it holds the room or the database's write lock."""

    def __init__(self, town: Town) -> None:
        self._database = town.database
        self._formatter = town.desk.changes._formatter
        self.rendered: list[int] = []

    async def content(self, body: str, *, msgtype: str, media: Media | None) -> Content:
        self.rendered.append(len(body))
        async with asyncio.timeout(5), self._database.transaction() as tx:
            assert await tx.rooms.lock(GENERAL) is not None
        return await self._formatter.content(body, msgtype=msgtype, media=media)


@pytest.fixture
def formatter(town: Town, monkeypatch: pytest.MonkeyPatch) -> WatchedWording:
    watched = WatchedWording(town)
    monkeypatch.setattr(town.desk.messages, "_formatter", watched)
    monkeypatch.setattr(town.desk.changes, "_formatter", watched)
    return watched


async def test_body_that_is_too_long_is_refused_before_it_is_rendered(town: Town, formatter: WatchedWording) -> None:
    message = await town.desk.post(OKSANA, "general", "**hi**")
    formatter.rendered.clear()
    for body in ("[[[a](" * 200_000, "я" * 24_001, "\u0001" * 9_000):
        with pytest.raises(InvalidInput, match="48000 bytes"):
            await town.desk.post(OKSANA, "general", body)
        with pytest.raises(InvalidInput, match="48000 bytes"):
            await town.desk.changes.edit(OKSANA, "general", message.id, body)
    assert formatter.rendered == []


@pytest.mark.parametrize("length", [10, 10_000])
async def test_text_is_rendered_outside_the_transaction(town: Town, formatter: WatchedWording, length: int) -> None:
    body = f"**{'я' * (length // 2)}**"
    message = await town.desk.post(OKSANA, "general", "hi")
    edited = await town.desk.changes.edit(OKSANA, "general", message.id, body)
    assert edited.formatted_body == body.replace("**", "<strong>", 1).replace("**", "</strong>")
    assert formatter.rendered == [2, len(body)]


async def test_long_text_is_rendered_while_others_are_served(town: Town) -> None:
    """In a thread: the event loop goes on turning."""
    threads: list[str] = []
    formatter = town.desk.changes._formatter
    assert isinstance(formatter, MessageFormatter)
    render = formatter._content

    def note(body: str, msgtype: str, media: Media | None) -> Content:
        threads.append(threading.current_thread().name)
        return render(body, msgtype, media)

    vars(formatter)["_content"] = note
    for body in ("hi", "x" * 2_001):
        assert (await formatter.content(body, msgtype="m.text", media=None)).body == body
    assert threads == [threading.current_thread().name, "markup_0"]
