"""``m.mentions`` of sent events: replies, edits and direct chats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.messages import Draft
from daarion_appservice.city.types import Author, AuthorKind, Message, OutboxKind, RoomId
from daarion_appservice.matrix.outbound.rendering import OutgoingEvent
from tests.parts.agent_replies import GENERAL, SCRIBE, AgentReplyHarness, open_agent_replies
from tests.parts.messaging import link

OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
WRITER = Author(AuthorKind.AGENT, "scribe", "Писар")
ALICE = "@alice:city.localhost"
BOB = "@bob:x.org"
EVE = "@eve:x.org"


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    async with open_agent_replies(database_url, monkeypatch) as harness:
        async with harness.database.transaction() as tx:
            await link(tx, GENERAL, "!general")
        yield harness


async def rendered_events(harness: AgentReplyHarness) -> list[OutgoingEvent]:
    """The events that are to be sent, as they are now."""
    async with harness.database.read_only() as tx:
        rows = await tx.outbox.waiting(limit=99)
        return [rendered for row in rows if (rendered := await harness.messaging.renderer.render(tx, row))]


async def is_sent(harness: AgentReplyHarness, message: Message) -> None:
    """Matrix has the message."""
    async with harness.database.transaction() as tx:
        for row in await tx.outbox.waiting(limit=99):
            if row.message_id == message.id and row.kind is OutboxKind.MESSAGE:
                await harness.messaging.renderer.record_sent(tx, row, f"${message.id}")  # type: ignore[arg-type]
                await tx.outbox.delete(row.id)


def mentioned(content: dict[str, Any]) -> list[str]:
    return list(content["m.mentions"].get("user_ids", []))


async def test_edit_mentions_the_newly_mentioned(harness: AgentReplyHarness) -> None:
    message = await harness.messaging.post(OKSANA, "general", f"{BOB}, глянь")
    await is_sent(harness, message)
    for body in (f"{BOB} {ALICE}, гляньте", f"{BOB} {ALICE}, гляньте!", f"{BOB} {EVE}", f"{ALICE}, глянь"):
        await harness.messaging.message_edits.edit(OKSANA, "general", message.id, body)
    sent = [rendered.content for rendered in await rendered_events(harness)]
    assert [mentioned(content) for content in sent] == [[ALICE], [], [EVE], []]
    assert [mentioned(content["m.new_content"]) for content in sent] == [
        [BOB, ALICE],
        [BOB, ALICE],
        [BOB, EVE],
        [ALICE],
    ]


async def test_late_mention_in_reply_mentions_person(harness: AgentReplyHarness) -> None:
    await harness.receive(
        await room(harness, GENERAL),
        "m.room.message",
        {"msgtype": "m.text", "body": "@scribe, хто знає?"},
        sender=ALICE,
    )
    (question,) = await harness.messages()
    draft = Draft("Зараз", reply_to=question.id)
    answer = (await harness.messaging.messages.post(WRITER, "general", draft, requests_replies=False)).message
    await is_sent(harness, answer)
    for body in ("Зараз спитаю", f"Зараз спитаю {BOB}", f"Зараз спитаю {BOB} і {ALICE}"):
        await harness.messaging.message_edits.edit(WRITER, "general", answer.id, body)
    sent = [rendered.content for rendered in await rendered_events(harness)]
    # Alice was told by the reply itself.
    assert [mentioned(content) for content in sent] == [[], [BOB], []]
    assert mentioned(sent[1]["m.new_content"]) == [BOB, ALICE]


async def room(harness: AgentReplyHarness, room_id: RoomId) -> Any:
    async with harness.database.read_only() as tx:
        return await tx.rooms.get(room_id)


@pytest.mark.parametrize("is_group", [False, True], ids=["alone", "in company"])
async def test_direct_chat_answer_is_reply_in_company(harness: AgentReplyHarness, is_group: bool) -> None:
    chat = await harness.create_direct_chat(SCRIBE, is_group=is_group)
    await harness.receive(chat, "m.room.message", {"msgtype": "m.text", "body": "Писар, ти тут?"}, sender=ALICE)
    (question,) = await harness.messages(chat.id)
    draft = Draft("Тут", reply_to=question.id)
    answer = (await harness.messaging.messages.post(WRITER, chat.id, draft, requests_replies=False)).message
    (rendered,) = await rendered_events(harness)
    await is_sent(harness, answer)
    await harness.messaging.message_edits.edit(WRITER, chat.id, answer.id, "Тут я")
    (edit,) = await rendered_events(harness)
    if is_group:
        assert rendered.content["m.relates_to"] == {"m.in_reply_to": {"event_id": question.matrix_event_id}}
        assert mentioned(rendered.content) == [ALICE]
        assert mentioned(edit.content["m.new_content"]) == [ALICE]
    else:
        assert "m.relates_to" not in rendered.content
        assert rendered.content["m.mentions"] == {}
        assert edit.content["m.new_content"]["m.mentions"] == {}
    assert edit.content["m.mentions"] == {}


async def test_notice_in_a_direct_chat_is_no_reply(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    await harness.receive(chat, "m.room.message", {"msgtype": "m.text", "body": "Ти тут?"}, sender=ALICE)
    (question,) = await harness.messages(chat.id)
    await harness.messaging.messages.post(WRITER, chat.id, Draft("Ні", msgtype="m.notice", reply_to=question.id))
    (rendered,) = await rendered_events(harness)
    assert (rendered.content["msgtype"], rendered.content["m.mentions"]) == ("m.notice", {})
    assert "m.relates_to" not in rendered.content
