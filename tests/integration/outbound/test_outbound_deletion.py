"""Deletion of messages that are not sent yet, or whose request is in flight."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.rooms import room_id_of
from daarion_appservice.city.types import (
    Author,
    Delivery,
    OutboxKind,
    UserId,
)
from daarion_appservice.matrix.outbound.rendering import OutgoingEvent
from daarion_appservice.storage.database import Transaction
from daarion_appservice.storage.outbox import OutboxRow
from tests.parts.messaging import IDENTITIES, link
from tests.parts.outbound import (
    GENERAL,
    OKSANA,
    OKSANAS_GHOST,
    SCRIBE,
    OutboundHarness,
    last_message,
    receive_echo,
    until_sending,
)
from tests.parts.scripted_homeserver import (
    ScriptedHomeserver,
)


@pytest.mark.parametrize("is_linked", [True, False], ids=["linked", "not linked yet"])
async def test_message_deleted_before_sending_is_not_sent(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, is_linked: bool
) -> None:
    answer = None
    if is_linked:
        answer = homeserver.hold("send")
        await outbound.post("first")
        await until_sending(homeserver)
    else:
        await outbound.unlink_general()
    message = await outbound.post("regretted", author=OKSANA)
    await outbound.messaging.message_edits.edit(OKSANA, "general", message.id, "edited")
    await outbound.messaging.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)
    if answer is not None:
        answer.set()
    await outbound.until_empty()
    last, error = await last_message(outbound)
    assert (last.deleted, last.delivery, error) == (True, Delivery.FAILED, "deleted")
    assert "regretted" not in str(homeserver.requests)
    assert len(homeserver.all("send")) == (1 if is_linked else 0)


REDACTED_BY = pytest.mark.parametrize(
    ("by", "redactor"),
    [pytest.param(OKSANA, OKSANAS_GHOST, id="author"), pytest.param(SCRIBE, IDENTITIES.bot, id="moderator")],
)


@REDACTED_BY
async def test_message_deleted_during_send_is_redacted(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, by: Author, redactor: UserId
) -> None:
    answer = homeserver.hold("send")
    message = await outbound.post("regretted", author=OKSANA)
    await until_sending(homeserver)
    await outbound.messaging.message_edits.delete(by, "general", message.id, may_moderate=by != OKSANA)
    answer.set()
    await outbound.until_empty()
    last, error = await last_message(outbound)
    assert (last.delivery, error) == (Delivery.SENT, None)
    assert [(request.path["event"], request.user) for request in homeserver.all("redact")] == [("$0", redactor)]


@REDACTED_BY
async def test_echo_of_deleted_message_redacts_once(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, by: Author, redactor: UserId
) -> None:
    answer = homeserver.hold("send")
    message = await outbound.post("regretted", author=OKSANA)
    await until_sending(homeserver)
    await outbound.messaging.message_edits.delete(by, "general", message.id, may_moderate=by != OKSANA)
    await receive_echo(outbound, message)
    answer.set()
    await outbound.until_empty()
    assert [(request.path["event"], request.user) for request in homeserver.all("redact")] == [("$0", redactor)]


async def test_echo_after_dropped_deletion_redacts_once(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver
) -> None:
    await outbound.unlink_general()
    message = await outbound.post("regretted", author=OKSANA)
    await outbound.messaging.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)
    await outbound.until_empty()
    async with outbound.database.transaction() as tx:
        await link(tx, room_id_of("general"), GENERAL)
    for _ in range(2):
        await receive_echo(outbound, message)
    await outbound.until_empty()
    assert [request.path["event"] for request in homeserver.all("redact")] == ["$0"]


async def test_echo_while_dropping_deletion_redacts_once(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outbound.unlink_general()
    message = await outbound.post("regretted", author=OKSANA)
    render = outbound.messaging.renderer.render
    echoed: list[int] = []

    async def render_and_echo(tx: Transaction, row: OutboxRow, *known: Any) -> OutgoingEvent | None:
        event = await render(tx, row, *known)
        if row.kind is OutboxKind.DELETE and not echoed:
            # Between reading the row and dropping it.
            echoed.append(row.id)
            async with outbound.database.transaction() as writing:
                await link(writing, room_id_of("general"), GENERAL)
            await receive_echo(outbound, message)
        return event

    monkeypatch.setattr(outbound.messaging.renderer, "render", render_and_echo)
    await outbound.messaging.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)
    await outbound.until_empty()
    assert echoed
    assert [request.path["event"] for request in homeserver.all("redact")] == ["$0"]
