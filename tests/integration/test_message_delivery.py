"""Delivery of the city's messages to Matrix: failures, retries and echoes."""

from __future__ import annotations

import pytest

from daarion_appservice.city.delivery_errors import DeliveryError
from daarion_appservice.city.event_fields import MESSAGE_ID
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.types import (
    Delivery,
)
from daarion_appservice.errors import Forbidden
from tests.parts.message_exchange import (
    OKSANA,
    OKSANA_GHOST,
    TARAS,
    MessageExchange,
)


async def test_failed_message_is_updated_in_history(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "ніколи")
    (row,) = await exchange.outbox()
    async with exchange.database.transaction() as tx:
        await exchange.messaging.renderer.record_failed(tx, row, DeliveryError.REFUSED)
    last = (await exchange.history())[-1]
    assert (last.kind, last.message and last.message.delivery) == (RoomEventKind.UPDATED, Delivery.FAILED)
    assert last.message is not None
    assert last.message.id == message.id


async def test_message_deleted_before_sending_is_failed(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "ніколи")
    await exchange.messaging.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)
    row, redaction = await exchange.outbox()
    async with exchange.database.transaction() as tx:
        assert await exchange.messaging.renderer.render(tx, row) is None
        assert await exchange.messaging.renderer.render(tx, redaction) is None
        await exchange.messaging.renderer.record_dropped(tx, row)
        await exchange.messaging.renderer.record_dropped(tx, redaction)
    last = (await exchange.history())[-1].message
    assert last is not None
    assert (last.deleted, last.delivery, last.delivery_error) == (True, Delivery.FAILED, "deleted")


async def test_message_with_echo_stays_sent_after_refusal(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "туди")
    (row,) = await exchange.outbox()
    echo = {"msgtype": "m.text", "body": "туди", MESSAGE_ID: message.id}
    await exchange.receive("m.room.message", echo, sender=OKSANA_GHOST)
    async with exchange.database.transaction() as tx:
        assert await exchange.messaging.renderer.record_failed(tx, row, DeliveryError.REFUSED) == []
    assert [each.delivery for each in await exchange.messages()] == [Delivery.SENT]


async def test_failed_message_is_sent_again_on_request(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "ще раз")
    (row,) = await exchange.outbox()
    async with exchange.database.transaction() as tx:
        await tx.outbox.record_failure(row.id, "ні", retry_at_ms=None)
        await exchange.messaging.renderer.record_failed(tx, row, DeliveryError.REFUSED)
    assert await exchange.outbox() == []
    with pytest.raises(Forbidden):
        await exchange.messaging.messages.retry_delivery(TARAS, "general", message.id)

    again = await exchange.messaging.messages.retry_delivery(OKSANA, "general", message.id)

    assert again.delivery is Delivery.PENDING
    (waiting,) = await exchange.outbox()
    assert (waiting.txn_id, waiting.attempts) == (row.txn_id, 0), "by the number that it had"
    await exchange.mark_sent(message)
    sent = await exchange.messaging.messages.retry_delivery(OKSANA, "general", message.id)
    assert (sent.delivery, await exchange.outbox()) == (Delivery.SENT, [])


@pytest.mark.parametrize("may_moderate", [False, True], ids=["author", "moderator"])
async def test_failed_deletion_is_listed_and_sent_again(exchange: MessageExchange, may_moderate: bool) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "ой")
    await exchange.mark_sent(message)
    await exchange.messaging.message_edits.delete(
        TARAS if may_moderate else OKSANA, "general", message.id, may_moderate=may_moderate
    )
    (row,) = await exchange.outbox()
    async with exchange.database.transaction() as tx:
        await tx.outbox.record_failure(row.id, "ні", retry_at_ms=None)
        assert [each.kind for each in await tx.outbox.undelivered(is_failed=True)] == [row.kind]
        assert await tx.outbox.retry_changes(None) == 1
    assert [each.txn_id for each in await exchange.outbox()] == [row.txn_id]
