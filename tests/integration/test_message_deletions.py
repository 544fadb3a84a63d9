"""Deletions of messages by the city, and redactions by Matrix."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.event_fields import MESSAGE_ID
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.types import (
    Delivery,
    OutboxKind,
)
from daarion_appservice.errors import Conflict, Forbidden
from tests.parts.message_exchange import (
    BOB,
    OKSANA,
    OKSANA_GHOST,
    TARAS,
    MessageExchange,
)


async def test_deletion_removes_text_feed_and_reactions(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "таємниця @alice:city.localhost")
    original = await exchange.mark_sent(message)
    await exchange.receive_reaction(original, "👀")
    deleted = await exchange.messaging.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)

    (stored,) = await exchange.messages()
    assert stored == deleted
    assert stored.deleted
    assert (stored.body, stored.formatted_body, stored.mentions, stored.reactions) == ("", None, (), ())
    assert await exchange.feed() == []
    assert all(event.message == stored for event in await exchange.history()), "not even in its history"
    (row,) = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert (rendered.sender, rendered.redacts) == (OKSANA, original)

    again = await exchange.messaging.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)
    assert again == deleted
    assert len(await exchange.outbox()) == 1


async def test_only_author_and_moderator_delete(exchange: MessageExchange) -> None:
    event_id = await exchange.receive_text("лайка")
    message = await exchange.message(event_id)
    with pytest.raises(Forbidden):
        await exchange.messaging.message_edits.delete(TARAS, "general", message.id, may_moderate=False)
    assert (await exchange.messaging.message_edits.delete(TARAS, "general", message.id, may_moderate=True)).deleted
    (row,) = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert (rendered.sender, rendered.redacts) == (None, event_id), "the bot does that"
    assert (await exchange.history())[-1].who == TARAS


@pytest.mark.parametrize("redacts_in_content", [True, False])
async def test_matrix_redaction_deletes_message(exchange: MessageExchange, *, redacts_in_content: bool) -> None:
    event_id = await exchange.receive_text("стерти")
    where: dict[str, Any] = {} if redacts_in_content else {"redacts": event_id}
    await exchange.receive("m.room.redaction", {"redacts": event_id} if redacts_in_content else {}, sender=BOB, **where)
    message = await exchange.message(event_id)
    assert (message.deleted, message.body) == (True, "")
    last = (await exchange.history())[-1]
    assert (last.kind, last.who and last.who.id) == (RoomEventKind.DELETED, BOB)
    assert await exchange.outbox() == []


async def test_deleted_message_takes_no_edit_or_reaction(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "було")
    await exchange.mark_sent(message)
    deleted = await exchange.messaging.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)
    with pytest.raises(Conflict):
        await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "є")
    with pytest.raises(Conflict):
        await exchange.messaging.reactions.add(TARAS, "general", message.id, "👍")
    event_id = await exchange.receive_text("було й тут")
    await exchange.receive_redaction(event_id)
    await exchange.receive_edit(event_id, "ще є")
    await exchange.receive_reaction(event_id, "👍")
    assert [message.body for message in await exchange.messages()] == ["", ""]
    assert deleted.id == message.id


async def test_message_deleted_before_sending_is_not_sent(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "ой")
    await exchange.messaging.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)
    async with exchange.database.read_only() as tx:
        rendered_events = [
            await exchange.messaging.renderer.render(tx, row) for row in await tx.outbox.waiting(limit=9)
        ]
    assert rendered_events == [None, None]


async def test_message_deleted_while_sending_is_redacted(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "ой")
    (sending,) = await exchange.outbox()
    await exchange.messaging.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)
    async with exchange.database.transaction() as tx:
        await tx.outbox.delete(sending.id)
        for row in await tx.outbox.waiting(limit=9):  # nobody knew its event yet
            assert await exchange.messaging.renderer.render(tx, row) is None
            await tx.outbox.delete(row.id)
    await exchange.receive(
        "m.room.message", {"msgtype": "m.text", "body": "ой", MESSAGE_ID: message.id}, sender=OKSANA_GHOST
    )
    (row,) = await exchange.outbox()
    assert row.kind is OutboxKind.DELETE
    (stored,) = await exchange.messages()
    assert (stored.deleted, stored.body, stored.delivery) == (True, "", Delivery.SENT)
