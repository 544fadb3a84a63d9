"""Edits of messages by the city and by Matrix, and redactions of edits."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from daarion_appservice.city.event_fields import MESSAGE_ID, POLLS
from daarion_appservice.city.events import OutboxChanged
from daarion_appservice.city.feed_entries import FeedKind
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.types import (
    Author,
    EventId,
    OutboxKind,
    RoomId,
)
from daarion_appservice.errors import CityError, Forbidden, InvalidInput, NotFound
from daarion_appservice.storage import tables
from tests.parts.message_exchange import (
    BOB,
    OKSANA,
    OKSANA_GHOST,
    TARAS,
    MessageExchange,
)
from tests.parts.messaging import link


async def test_edit_changes_message_history_feed_and_outbox(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "Добрй день")
    original = await exchange.mark_sent(message)

    edited = await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "**Добрий** день")

    (stored,) = await exchange.messages()
    assert stored == edited
    assert (stored.body, stored.formatted_body) == ("**Добрий** день", "<strong>Добрий</strong> день")
    assert stored.edited_at_ms is not None
    assert stored.seq == message.seq, "it stays where it was"
    assert await exchange.feed() == [(FeedKind.ROOM_MESSAGE, "Добрий день")]
    assert await exchange.event_kinds() == [RoomEventKind.MESSAGE, RoomEventKind.UPDATED, RoomEventKind.UPDATED]
    (row,) = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert (rendered.sender, rendered.event_type) == (OKSANA, "m.room.message")
    assert rendered.content["m.relates_to"] == {"rel_type": "m.replace", "event_id": original}
    assert rendered.content["m.new_content"]["body"] == "**Добрий** день"
    assert rendered.content["m.new_content"]["formatted_body"] == "<strong>Добрий</strong> день"
    assert exchange.published[-1] == OutboxChanged()


async def test_edit_with_same_text_is_ignored(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "так")
    await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "так")
    assert await exchange.event_kinds() == [RoomEventKind.MESSAGE]
    assert [row.kind for row in await exchange.outbox()] == [OutboxKind.MESSAGE]


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
async def test_refused_edit_changes_nothing(
    exchange: MessageExchange, author: Author, room: str, body: str, error: type[CityError], code: str
) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "моє")
    with pytest.raises(error) as raised:
        await exchange.messaging.message_edits.edit(author, room, message.id, body)
    assert raised.value.code == code
    assert await exchange.messages() == [message]
    assert await exchange.event_kinds() == [RoomEventKind.MESSAGE]


async def test_matrix_edit_changes_message(exchange: MessageExchange) -> None:
    event_id = await exchange.receive_text("превіт")
    await exchange.receive_edit(event_id, "привіт")
    message = await exchange.message(event_id)
    assert (message.body, message.edited_at_ms) == ("привіт", 1_700_000_000_000)
    assert await exchange.event_kinds() == [RoomEventKind.MESSAGE, RoomEventKind.UPDATED]
    assert await exchange.outbox() == [], "Matrix knows"
    assert await exchange.feed() == [(FeedKind.ROOM_MESSAGE, "привіт")]


async def test_matrix_edit_of_other_author_is_ignored(exchange: MessageExchange) -> None:
    event_id = await exchange.receive_text("моє")
    await exchange.receive_edit(event_id, "чуже", sender=BOB)
    assert (await exchange.message(event_id)).body == "моє"
    assert await exchange.event_kinds() == [RoomEventKind.MESSAGE]


async def test_matrix_edit_of_unknown_message_is_ignored(exchange: MessageExchange) -> None:
    await exchange.receive_edit("$never", "що?")
    event_id = await exchange.receive_text("моє")
    relation = {"rel_type": "m.replace", "event_id": event_id}
    content = {"msgtype": "m.text", "body": "", "m.new_content": {"msgtype": "m.text", "body": "х"}}
    await exchange.receive("m.room.message", content | {"m.relates_to": relation}, room_id="!builders")
    assert [message.body for message in await exchange.messages()] == ["моє"]


async def test_echo_of_own_edit_is_ignored(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "раз")
    original = await exchange.mark_sent(message)
    await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "два")
    await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "три")
    await exchange.receive_edit(original, "два", sender=OKSANA_GHOST, **{MESSAGE_ID: message.id})
    assert [(each.body, each.matrix_event_id) for each in await exchange.messages()] == [("три", original)]


async def test_redacted_edit_restores_previous_text(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("original")
    first = await exchange.receive_edit(event, "first edit")
    second = await exchange.receive_edit(event, "bad", origin_server_ts=1_700_000_000_001)
    await exchange.receive_redaction(second, sender="@moderator:city.localhost")
    message = await exchange.message(event)
    assert (message.body, message.edited_at_ms) == ("first edit", 1_700_000_000_000)
    last = (await exchange.history())[-1]
    assert (last.kind, last.message and last.message.body) == (RoomEventKind.UPDATED, "first edit")
    assert await exchange.feed_bodies() == ["first edit"]
    await exchange.receive_redaction(first)
    message = await exchange.message(event)
    assert (message.body, message.edited_at_ms, message.edit_seq, message.deleted) == ("original", None, None, False)
    assert await exchange.feed_bodies() == ["original"]


async def test_redacted_older_edit_changes_nothing(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("original")
    first = await exchange.receive_edit(event, "first edit")
    second = await exchange.receive_edit(event, "second edit", origin_server_ts=1_700_000_000_001)
    before = len(await exchange.history())
    await exchange.receive_redaction(first)
    assert (await exchange.message(event)).body == "second edit"
    assert len(await exchange.history()) == before
    await exchange.receive_redaction(second)
    assert (await exchange.message(event)).body == "original"


@pytest.mark.parametrize("ts", [0, 1_700_000_000_000])
async def test_early_edits_with_future_dates_displace_none(exchange: MessageExchange, ts: int) -> None:
    for number in range(200):
        await exchange.receive_edit(f"$none{number}", "bad", sender="@mallory:example.org", origin_server_ts=1 << 50)
    await exchange.receive_edit("$late", "edited", origin_server_ts=ts)
    await exchange.receive("m.room.message", {"msgtype": "m.text", "body": "original"}, event_id="$late")
    assert (await exchange.message("$late")).body == "edited"


async def test_edit_redacted_twice_is_undone_once(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("original")
    edit = await exchange.receive_edit(event, "bad")
    await exchange.receive_redaction(edit)
    before = len(await exchange.history())
    await exchange.receive_redaction(edit)
    assert (await exchange.message(event)).body == "original"
    assert len(await exchange.history()) == before


async def test_late_edit_does_not_replace_newer_edit(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("original")
    newer = await exchange.receive_edit(event, "newer", origin_server_ts=1_700_000_000_002)
    await exchange.receive_edit(event, "older", origin_server_ts=1_700_000_000_001)
    assert (await exchange.message(event)).body == "newer"
    await exchange.receive_redaction(newer)
    assert (await exchange.message(event)).body == "older"


async def test_edit_before_its_message_is_applied_later(exchange: MessageExchange) -> None:
    edit = await exchange.receive_edit("$late", "edited")
    stranger = await exchange.receive_edit("$late", "not theirs", sender=BOB)
    content = {"msgtype": "m.text", "body": "original"}
    await exchange.receive("m.room.message", content, event_id="$late")
    assert (await exchange.message("$late")).body == "edited"
    assert [each.kind for each in await exchange.history()] == [RoomEventKind.MESSAGE, RoomEventKind.UPDATED]
    await exchange.receive_redaction(stranger, sender=BOB)
    await exchange.receive_redaction(edit)
    assert (await exchange.message("$late")).body == "original"


async def test_early_edit_redacted_is_not_applied(exchange: MessageExchange) -> None:
    await exchange.receive_redaction(await exchange.receive_edit("$late", "bad"))
    await exchange.receive("m.room.message", {"msgtype": "m.text", "body": "original"}, event_id="$late")
    assert (await exchange.message("$late")).body == "original"


async def test_edit_of_an_edit_is_ignored(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("original")
    edit = await exchange.receive_edit(event, "edited")
    await exchange.receive_edit(edit, "edit of an edit")
    assert (await exchange.message(event)).body == "edited"
    assert [each.body for each in await exchange.messages()] == ["edited"]


async def test_reply_and_reaction_to_edit_reach_its_message(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("original")
    edit = await exchange.receive_edit(event, "edited")
    answer = await exchange.receive_text("answer", {"m.relates_to": {"m.in_reply_to": {"event_id": edit}}})
    await exchange.receive_reaction(edit, "👍", sender=BOB)
    message = await exchange.message(event)
    assert (await exchange.message(answer)).reply_to == message.id
    assert [tally.key for tally in message.reactions] == ["👍"]


async def test_redacted_city_edit_restores_previous_text(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "original")
    event = await exchange.mark_sent(message)
    await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "first edit")
    await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "bad")
    rows = [row for row in await exchange.outbox() if row.kind is OutboxKind.EDIT]
    for number, row in enumerate(rows):
        async with exchange.database.transaction() as tx:
            rendered = await exchange.messaging.renderer.render(tx, row)
        assert rendered is not None
        # The echo says which edit it is, whether or not the homeserver's answer came.
        assert rendered.content["m.new_content"]["body"] == ("first edit", "bad")[number]
        await exchange.receive("m.room.message", rendered.content, sender=OKSANA_GHOST, event_id=f"$edit{number}")
    await exchange.receive_redaction("$edit1", sender="@moderator:city.localhost")
    assert (await exchange.message(event)).body == "first edit"
    await exchange.receive_redaction("$edit0", sender="@moderator:city.localhost")
    assert (await exchange.message(event)).body == "original"


async def test_sent_edit_stores_its_event_id(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "original")
    event = await exchange.mark_sent(message)
    await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "bad")
    (row,) = [row for row in await exchange.outbox() if row.kind is OutboxKind.EDIT]
    async with exchange.database.transaction() as tx:
        await exchange.messaging.renderer.record_sent(tx, row, EventId("$sent"))
    await exchange.receive_redaction("$sent", sender="@moderator:city.localhost")
    assert (await exchange.message(event)).body == "original"


async def test_redacted_file_edit_restores_previous_file(exchange: MessageExchange) -> None:
    old, new = "mxc://city.localhost/old", "mxc://city.localhost/new"
    event = await exchange.receive("m.room.message", {"msgtype": "m.image", "body": "old.png", "url": old})
    relation = {"rel_type": "m.replace", "event_id": event}
    content = {"msgtype": "m.image", "body": "new.png", "url": new}
    edit = await exchange.receive("m.room.message", content | {"m.new_content": content, "m.relates_to": relation})
    assert await exchange.is_shown(new)
    assert not await exchange.is_shown(old)
    await exchange.receive_redaction(edit)
    message = await exchange.message(event)
    assert message.media is not None
    assert message.media.mxc == old
    assert await exchange.is_shown(old)
    assert not await exchange.is_shown(new)


async def test_deleted_message_has_no_revisions(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("secret")
    edit = await exchange.receive_edit(event, "still secret")
    await exchange.receive_redaction(event)
    async with exchange.database.read_only() as tx:
        for table in (tables.revisions, tables.early_edits):
            assert (await tx.connection.execute(select(table))).all() == []
    # Clients redact the edits, too.
    await exchange.receive_redaction(edit)
    message = await exchange.message(event)
    assert (message.body, message.deleted) == ("", True)


async def test_edit_redacted_in_another_room_stays(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("original")
    edit = await exchange.receive_edit(event, "edited")
    async with exchange.database.transaction() as tx:
        await link(tx, RoomId("city_builders"), "!builders")
    await exchange.receive("m.room.redaction", {"redacts": edit}, room_id="!builders")
    assert (await exchange.message(event)).body == "edited"


async def test_many_edits_keep_first_and_last_text(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("original")
    edits = [
        await exchange.receive_edit(event, f"edit {number}", origin_server_ts=1_700_000_000_001 + number)
        for number in range(60)
    ]
    await exchange.receive_redaction(edits[-1])
    assert (await exchange.message(event)).body == "edit 58"
    async with exchange.database.read_only() as tx:
        kept = (await tx.connection.execute(select(tables.revisions.c.body))).scalars().all()
    assert len(kept) == 50
    assert "original" in kept


@pytest.mark.parametrize("edited", ["m.room.message", "m.sticker", "m.poll.start", "org.matrix.msc3381.poll.start"])
@pytest.mark.parametrize("edit", ["m.room.message", "m.sticker", "m.poll.start"])
async def test_edit_of_another_event_type_is_ignored(exchange: MessageExchange, edited: str, edit: str) -> None:
    """Client-server API, "Validity of replacement events": Matrix clients show none."""

    def content(text: str) -> dict[str, Any]:
        poll = {"question": {"m.text": text}, "answers": [{"m.id": each, "m.text": each} for each in ("so", "no")]}
        return {
            "msgtype": "m.text",
            "body": text,
            "url": "mxc://city.localhost/cat",
            "m.poll": poll,
            "org.matrix.msc3381.poll.start": poll,
        }

    original = await exchange.receive(edited, content("before"))
    relation = {"m.relates_to": {"rel_type": "m.replace", "event_id": original}}
    await exchange.receive(edit, content("* after") | {"m.new_content": content("after")} | relation)
    body = (await exchange.message(original)).body
    are_alike = edited == edit or (edited in POLLS and edit in POLLS)
    assert body.startswith("after" if are_alike else "before")
