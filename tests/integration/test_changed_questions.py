"""Tests of questions to agents that change while the agent answers: edited, deleted, or their author kicked or banned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete, select, update

from daarion_appservice.agents import request_watcher
from daarion_appservice.agents.reply_posting import ReplyPoster
from daarion_appservice.city.events import RoomEventStored
from daarion_appservice.city.pending_replies import PendingReply
from daarion_appservice.city.second_me import SECOND_ME
from daarion_appservice.city.types import AuthorKind, RoomId
from daarion_appservice.storage.tables import agent_replies, rooms
from tests.parts.agent_questions import ALICE, OKSANA, happens, open_quick_replies
from tests.parts.agent_replies import GENERAL, SCRIBE, VARTA, AgentReplyHarness
from tests.parts.agents_core import DONE, after, delta, pauses, says, stalls_after
from tests.parts.city import eventually
from tests.parts.messaging import link
from tests.parts.metrics import Moves

MODERATOR, OKSANAS_GHOST = "@moderator:city.localhost", "@citizen_u_1:city.localhost"


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    async with open_quick_replies(database_url, monkeypatch) as harness:
        yield harness


# --- questions that change ----------------------------------------------------------------------------


async def is_requested(harness: AgentReplyHarness, times: int = 1) -> None:
    async def is_received() -> bool:
        return len(harness.core.requests) == times

    await eventually(is_received, explain=lambda: f"received {[each.content for each in harness.core.requests]}")


async def has_begun(harness: AgentReplyHarness, room: RoomId = GENERAL) -> None:
    async def begun() -> bool:
        return any(message.author.kind is AuthorKind.AGENT for message in await harness.messages(room))

    await eventually(begun)


async def nothing_is_posted(harness: AgentReplyHarness, room: RoomId = GENERAL) -> None:
    async def hung_up() -> bool:
        return harness.core.hung_up == 1

    await eventually(hung_up)

    async def is_gone() -> bool:
        by_agents = [message for message in await harness.messages(room) if message.author.kind is AuthorKind.AGENT]
        async with harness.database.read_only() as tx:
            is_owed = await tx.agent_replies.due(now_ms=1 << 60, limit=1)
        return not is_owed and all(message.deleted for message in by_agents)

    await eventually(is_gone)


async def nothing_is_owed(harness: AgentReplyHarness) -> None:
    async def is_done() -> bool:
        async with harness.database.read_only() as tx:
            return not await tx.agent_replies.due(now_ms=1 << 60, limit=1)

    await eventually(is_done)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["not streamed", "streamed"])
async def test_deleted_question_ends_the_call(harness: AgentReplyHarness, is_streamed: bool) -> None:
    harness.core.next(stalls_after(delta("Поло")) if is_streamed else after(asyncio.Event(), says("Половина")))
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await (has_begun(harness) if is_streamed else is_requested(harness))
        await harness.messaging.message_edits.delete(OKSANA, "general", question.id, may_moderate=False)
        await nothing_is_posted(harness)


async def test_erasure_of_agent_ends_the_call(harness: AgentReplyHarness) -> None:
    harness.core_timeout_s = 600  # Longer than the test waits.
    harness.core.next(after(asyncio.Event(), says("Половина")))
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await is_requested(harness)
        async with harness.database.transaction() as tx:
            await tx.connection.execute(delete(agent_replies))  # as `storage.personal_data.erasing` does
        await nothing_is_posted(harness)


async def test_redacted_question_of_a_chat_ends_the_call(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    harness.core.next(stalls_after(delta("Поло")), says("Друга"))
    async with harness.running_worker(), harness.second_me() as second_me:
        await happens(harness, chat.id, {"msgtype": "m.text", "body": "Перша"})
        await has_begun(harness, chat.id)
        await harness.receive(chat, "m.room.redaction", {"redacts": "$1"}, sender=ALICE)
        await nothing_is_posted(harness, chat.id)
        await happens(harness, chat.id, {"msgtype": "m.text", "body": "Друга?"}, event_id="$2")
        await harness.replies(2, room=chat.id)
        remembered = await second_me.history(harness.core.requests[1].content["context"]["user_id"])
    assert [each.prompt for each in remembered] == ["Друга?"]


async def test_restart_deletes_draft_of_deleted_request(harness: AgentReplyHarness) -> None:
    harness.core.next(stalls_after(delta("Поло")))
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await has_begun(harness)
    await harness.messaging.message_edits.delete(OKSANA, "general", question.id, may_moderate=False)
    async with harness.running_worker():
        await nothing_is_posted(harness)
    assert len(harness.core.requests) == 1


async def test_deleted_request_gets_no_failure_notice(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_watcher, "_CHECK_INTERVAL_S", 60.0)
    gate = asyncio.Event()
    harness.core.next(pauses(gate, delta("Поло"), b"data: {nonsense\n\n"))
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await has_begun(harness)
        await harness.messaging.message_edits.delete(OKSANA, "general", question.id, may_moderate=False)
        gate.set()
        (begun,) = await harness.replies()
    assert begun.deleted


async def test_complete_reply_to_deleted_request_is_deleted(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_watcher, "_CHECK_INTERVAL_S", 60.0)
    gate = asyncio.Event()
    harness.core.next(pauses(gate, delta("Поло"), delta("вина"), DONE))
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await has_begun(harness)
        await harness.messaging.message_edits.delete(OKSANA, "general", question.id, may_moderate=False)
        gate.set()
        (begun,) = await harness.replies()
    assert begun.deleted


REMOVALS = [{"membership": "ban"}, {"membership": "leave"}]


async def moderate(harness: AgentReplyHarness, content: dict[str, str]) -> None:
    """Handle a membership event of Oksana's ghost in General."""
    async with harness.database.transaction() as tx:
        await tx.connection.execute(update(rooms).values(matrix_room_id="!general"))
        general = await tx.rooms.get(GENERAL)
    assert general is not None
    for event in await harness.receive(general, "m.room.member", content, sender=MODERATOR, state_key=OKSANAS_GHOST):
        if isinstance(event, RoomEventStored):
            harness.watcher.on_room_event(event)


@pytest.mark.parametrize("content", REMOVALS, ids=["ban", "kick"])
async def test_removed_author_gets_no_reply(harness: AgentReplyHarness, content: dict[str, str]) -> None:
    await harness.messaging.membership.join(OKSANA, "general")
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    await moderate(harness, content)
    async with harness.running_worker():
        await harness.replies(0)
    assert harness.core.requests == []


@pytest.mark.parametrize("content", REMOVALS, ids=["ban", "kick"])
@pytest.mark.parametrize("is_streamed", [False, True], ids=["not streamed", "streamed"])
async def test_removal_of_author_ends_the_call(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch, content: dict[str, str], is_streamed: bool
) -> None:
    monkeypatch.setattr(request_watcher, "_CHECK_INTERVAL_S", 600.0)  # The event ends it.
    harness.core_timeout_s = 600
    harness.core.next(stalls_after(delta("Поло")) if is_streamed else after(asyncio.Event(), says("Половина")))
    await harness.messaging.membership.join(OKSANA, "general")
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await (has_begun(harness) if is_streamed else is_requested(harness))
        await moderate(harness, content)
        await nothing_is_posted(harness)


@pytest.mark.parametrize("end", [b"data: {nonsense\n\n", DONE], ids=["failed", "complete"])
async def test_reply_that_ends_as_its_author_is_removed_is_deleted(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr(request_watcher, "_CHECK_INTERVAL_S", 60.0)
    gate = asyncio.Event()
    harness.core.next(pauses(gate, delta("Поло"), delta("вина"), end))
    await harness.messaging.membership.join(OKSANA, "general")
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await has_begun(harness)
        await moderate(harness, REMOVALS[0])
        gate.set()
        (begun,) = await harness.replies()
    assert begun.deleted


async def test_author_who_left_gets_the_reply(harness: AgentReplyHarness) -> None:
    gate = asyncio.Event()
    harness.core.next(pauses(gate, delta("Поло"), delta("вина"), DONE))
    await harness.messaging.membership.join(OKSANA, "general")
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await has_begun(harness)
        await harness.messaging.membership.leave(OKSANA, "general")
        gate.set()
        (reply,) = await harness.replies()
    assert (reply.body, reply.deleted) == ("Половина", False)


# --- edited questions ----------------------------------------------------------------------------------


async def test_edited_request_is_answered_as_edited(harness: AgentReplyHarness) -> None:
    harness.core.next(stalls_after(delta("О першій")), says("О другій"))
    question = await harness.messaging.post(OKSANA, "general", "@scribe, о котрій обід?")
    async with harness.running_worker():
        await has_begun(harness)
        await harness.messaging.message_edits.edit(OKSANA, "general", question.id, "@scribe, о котрій вечеря?")
        await is_requested(harness, 2)
        (answer,) = await harness.replies()
    assert (answer.body, answer.deleted) == ("О другій", False)
    assert harness.core.requests[1].content["input"] == "@scribe, о котрій вечеря?"


async def test_question_edited_to_ask_another_ends_the_call(harness: AgentReplyHarness) -> None:
    harness.core.next(stalls_after(delta("Поло")), says("Я тут"))
    question = await harness.messaging.post(OKSANA, "general", "@scribe, ти тут?")
    async with harness.running_worker():
        await has_begun(harness)
        await harness.messaging.message_edits.edit(OKSANA, "general", question.id, "@varta, ти тут?")
        first, second = await harness.replies(2)
    assert (first.author.id, first.deleted) == ("scribe", True)
    assert (second.author.id, second.body) == ("varta", "Я тут")


@pytest.mark.parametrize("body", ["уже знаю", "@varta, а ти знаєш?"])
async def test_waiting_question_edited_to_ask_no_more_is_not_asked(harness: AgentReplyHarness, body: str) -> None:
    """The agent replies to the questions of a room one at a time: the second one changes while it waits."""
    is_first_answered = asyncio.Event()
    harness.core.next(after(is_first_answered, says("Перша")))
    await harness.messaging.post(OKSANA, "general", "@scribe, перше?")
    waiting = await harness.messaging.post(OKSANA, "general", "@scribe, друге?")
    async with harness.running_worker():
        await is_requested(harness)
        await harness.messaging.message_edits.edit(OKSANA, "general", waiting.id, body)
        is_first_answered.set()
        is_for_other = body.startswith("@")
        replies = await harness.replies(2 if is_for_other else 1)
    assert {each.author.id for each in replies} == ({"scribe", "varta"} if is_for_other else {"scribe"})
    assert len(harness.core.requests) == len(replies)


async def test_question_edited_again_and_again_is_answered(harness: AgentReplyHarness) -> None:
    harness.core.next(*[after(asyncio.Event(), says("…"))] * 5, says("Так"))
    question = await harness.messaging.post(OKSANA, "general", "@scribe, 0")
    async with harness.running_worker():
        for number in range(1, 6):
            await is_requested(harness, number)
            await harness.messaging.message_edits.edit(OKSANA, "general", question.id, f"@scribe, {number}")
        (answer,) = await harness.replies()
    assert answer.body == "Так"


async def test_edit_with_new_mention_requests_one_reply(harness: AgentReplyHarness) -> None:
    message = await harness.messaging.post(OKSANA, "general", "Хто знає?")
    for body in ("@scribe, хто знає?", "@scribe, хто це знає?", "Хто знає?", "@scribe, хто знає?"):
        await harness.messaging.message_edits.edit(OKSANA, "general", message.id, body)
    async with harness.running_worker():
        (answer,) = await harness.replies()
    assert answer.reply_to == message.id
    assert [received.content["input"] for received in harness.core.requests] == ["@scribe, хто знає?"]


@pytest.mark.parametrize("is_begun", [False, True], ids=["waiting", "being answered"])
async def test_question_that_mentions_the_agent_again_is_answered(harness: AgentReplyHarness, is_begun: bool) -> None:
    edit = harness.messaging.message_edits.edit
    if is_begun:
        harness.core.next(stalls_after(delta("Поло")), says("Так"))
    else:
        harness.core.next(says("Так"))
    question = await harness.messaging.post(OKSANA, "general", "@scribe, обід?")
    if not is_begun:
        await edit(OKSANA, "general", question.id, "обід?")
    async with harness.running_worker():
        if is_begun:
            await has_begun(harness)
            await edit(OKSANA, "general", question.id, "обід?")
        await nothing_is_owed(harness)
        await edit(OKSANA, "general", question.id, "@scribe, а вечеря?")
        replies = [each for each in await harness.replies(2 if is_begun else 1) if not each.deleted]
        await edit(OKSANA, "general", question.id, "обід?")
        await edit(OKSANA, "general", question.id, "@scribe, знову?")
        await nothing_is_owed(harness)
    assert [(each.body, each.reply_to) for each in replies] == [("Так", question.id)]
    assert harness.core.requests[-1].content["input"] == "@scribe, а вечеря?"


async def test_question_that_mentions_again_while_the_reply_is_withdrawn_is_answered(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit, withdraw = harness.messaging.message_edits.edit, ReplyPoster.withdraw

    async def overtaken(poster: ReplyPoster, reply: PendingReply) -> None:
        await edit(OKSANA, "general", question.id, "@scribe, а вечеря?")
        await withdraw(poster, reply)

    monkeypatch.setattr(ReplyPoster, "withdraw", overtaken)
    question = await harness.messaging.post(OKSANA, "general", "@scribe, обід?")
    await edit(OKSANA, "general", question.id, "обід?")
    harness.core.next(says("Так"))
    async with harness.running_worker():
        (answer,) = await harness.replies()
    assert (answer.body, answer.deleted) == ("Так", False)


async def test_reply_that_is_renewed_too_often_counts_as_abandoned(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit, withdraw = harness.messaging.message_edits.edit, ReplyPoster.withdraw

    async def overtaken(poster: ReplyPoster, reply: PendingReply) -> None:
        await edit(OKSANA, "general", question.id, "@scribe, а вечеря?")
        harness.published.clear()
        await withdraw(poster, reply)

    monkeypatch.setattr(ReplyPoster, "withdraw", overtaken)
    question = await harness.messaging.post(OKSANA, "general", "@scribe, обід?")
    async with harness.database.transaction() as tx:
        await tx.connection.execute(update(agent_replies).values(attempts=10))
    await edit(OKSANA, "general", question.id, "обід?")
    moves = Moves()

    async def is_counted() -> bool:
        return moves.of("daarion_agent_replies_total", outcome="abandoned") == 1

    async with harness.running_worker():
        await eventually(is_counted)
        await nothing_is_owed(harness)
    assert harness.published == []


async def test_reply_of_a_removed_agent_is_not_renewed(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    await happens(harness, chat.id, {"msgtype": "m.text", "body": "Ти тут?"})
    harness.messaging.agents.replace([VARTA])
    async with harness.running_worker():
        await nothing_is_owed(harness)
    async with harness.database.read_only() as tx:
        rows = (await tx.connection.execute(select(agent_replies.c.state, agent_replies.c.attempts))).all()
    assert [tuple(row) for row in rows] == [("abandoned", 0)]


async def test_edits_renew_a_reply_ten_times_at_most(harness: AgentReplyHarness) -> None:
    edit = harness.messaging.message_edits.edit
    question = await harness.messaging.post(OKSANA, "general", "@scribe, 0")
    async with harness.running_worker():
        for number in range(12):
            harness.core.next(after(asyncio.Event(), says("…")))
            await is_requested(harness, min(number, 10) + 1)
            await edit(OKSANA, "general", question.id, "нічого")
            await nothing_is_owed(harness)
            await edit(OKSANA, "general", question.id, f"@scribe, {number}")
        await nothing_is_owed(harness)
    assert len(harness.core.requests) == 11


async def test_matrix_edit_with_mention_requests_reply(harness: AgentReplyHarness) -> None:
    async with harness.database.transaction() as tx:
        await link(tx, GENERAL, "!general")
    await happens(harness, GENERAL, {"msgtype": "m.text", "body": "Хто знає?"})
    mentions = {"user_ids": ["@agent_scribe:city.localhost"]}
    new = {"msgtype": "m.text", "body": "Писарю, хто знає?", "m.mentions": mentions}
    edit = {"m.new_content": new, "m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}, "m.mentions": mentions}
    for number in (2, 3):
        await happens(harness, GENERAL, {"msgtype": "m.text", "body": "* …"} | edit, event_id=f"${number}")
    async with harness.running_worker():
        await harness.replies()
    assert [received.content["input"] for received in harness.core.requests] == ["Писарю, хто знає?"]


async def test_edit_of_mentioning_message_requests_nothing(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    await happens(harness, chat.id, {"msgtype": "m.text", "body": "Хто знає?"})
    async with harness.running_worker():
        await harness.replies(room=chat.id)
        edit = {"m.new_content": {"msgtype": "m.text", "body": "Хто це знає?"}, "body": "*", "msgtype": "m.text"}
        relation = {"rel_type": "m.replace", "event_id": "$1"}
        await happens(harness, chat.id, edit | {"m.relates_to": relation}, event_id="$2")
        await harness.replies(room=chat.id)
    assert len(harness.core.requests) == 1
