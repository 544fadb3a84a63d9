"""Replies of agents in rooms: one for each request, across failures of the agents core and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from daarion_appservice.agents import edit_throttle
from daarion_appservice.agents import reply_worker as reply_worker_module
from daarion_appservice.city.agent_replies import MAX_DEPTH
from daarion_appservice.city.events import LocalUserTyping
from daarion_appservice.city.messages import Draft
from daarion_appservice.city.pending_replies import PendingReply, ReplyFailure
from daarion_appservice.city.presence import Status
from daarion_appservice.city.rooms import Rooms
from daarion_appservice.city.types import Author, AuthorKind
from daarion_appservice.clock import new_id, now_ms
from daarion_appservice.storage.agent_replies import ReplyRepository
from tests.parts.agent_replies import LATER, SCRIBE, AgentReplyHarness, open_agent_replies
from tests.parts.agents_core import DONE, after, answers, delta, pauses, says, streams
from tests.parts.city import eventually

OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    async with open_agent_replies(database_url, monkeypatch) as harness:
        yield harness


async def test_mention_gets_agent_reply(harness: AgentReplyHarness) -> None:
    await harness.messaging.post(OKSANA, "general", "Добрий день")
    question = await harness.messaging.post(OKSANA, "general", "@scribe, котра година?")
    harness.core.next(says("**Восьма**"))
    async with harness.running_worker():
        (answer,) = await harness.replies()

    assert (answer.body, answer.formatted_body) == ("**Восьма**", "<strong>Восьма</strong>")
    assert (answer.author.id, answer.author.display_name, answer.reply_to) == ("scribe", "Писар", question.id)
    (received,) = harness.core.requests
    assert received.path == "/agents/scribe/invoke"
    assert received.content == {
        "input": "@scribe, котра година?",
        "context": {
            "kind": "mention",
            "user_id": "u_1",
            "room": "general",
            "history": [{"role": "user", "content": "Оксана: Добрий день"}],
        },
    }
    typing = [event.typing for event in harness.published if isinstance(event, LocalUserTyping)]
    assert (typing[0], typing[-1]) == (True, False)


@pytest.mark.parametrize(
    "body", ["Писар, де архів?", "писар: де архів?", "@scribe де архів?", "@agent_scribe:city.localhost?"]
)
async def test_agent_mentioned_by_any_name_replies(harness: AgentReplyHarness, body: str) -> None:
    await harness.messaging.post(OKSANA, "general", body)
    async with harness.running_worker():
        await harness.replies()


async def test_reply_to_agent_requests_it_with_history(harness: AgentReplyHarness) -> None:
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        (first,) = await harness.replies()
        await harness.messaging.post(OKSANA, "general", "А чому?", reply_to=first.id)
        await harness.replies(2)
    history = harness.core.requests[1].content["context"]["history"]
    assert history == [
        {"role": "user", "content": "Оксана: @scribe?"},
        {"role": "assistant", "content": "відповідь 1"},
    ]


@pytest.mark.parametrize("body", ["Писар десь є", "e-mail: a@scribe.example", "`@scribe`", "добре"])
async def test_unmentioned_agent_does_not_reply(harness: AgentReplyHarness, body: str) -> None:
    await harness.messaging.post(OKSANA, "general", body)
    async with harness.running_worker():
        await harness.replies(0)
    assert harness.core.requests == []


async def test_mentioned_agents_reply_separately(harness: AgentReplyHarness) -> None:
    await harness.messaging.post(OKSANA, "general", "@scribe @varta @scribe, ви де?")
    async with harness.running_worker():
        both = await harness.replies(2)
    assert {answer.author.id for answer in both} == {"scribe", "varta"}


async def test_an_answer_that_takes_time_grows_by_edits(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit_throttle, "_FIRST_INTERVAL_S", 0.0)
    monkeypatch.setattr(edit_throttle, "_SECOND_INTERVAL_S", 0.0)
    gate = asyncio.Event()
    harness.core.next(pauses(gate, delta("Перше"), delta(", друге"), DONE))
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():

        async def has_begun() -> bool:
            return [message.body for message in (await harness.messages())[1:]] == ["Перше"]

        await eventually(has_begun)
        gate.set()
        (answer,) = await harness.replies()
    assert answer.body == "Перше, друге"
    assert answer.edited_at_ms is None, "a reply that grows is not an edited message"


async def test_offline_agent_posts_notice(harness: AgentReplyHarness) -> None:
    await harness.set_presence(SCRIBE, status=Status.OFFLINE)
    question = await harness.messaging.post(OKSANA, "general", "@scribe, ти тут?")
    async with harness.running_worker():
        (notice,) = await harness.replies()
    assert (notice.msgtype, notice.reply_to) == ("m.notice", question.id)
    assert "офлайн" in notice.body
    assert harness.core.requests == []


async def test_agent_without_core_posts_one_notice(harness: AgentReplyHarness) -> None:
    harness.has_core = False
    question = await harness.messaging.post(OKSANA, "general", "@scribe, ти тут?")
    asked_in_english = await harness.messaging.post(OKSANA, "general", "@varta, are you there?")
    async with harness.running_worker():
        await harness.replies(2)
        await asyncio.sleep(0.2)
        in_ukrainian, in_english = sorted(await harness.replies(2), key=lambda notice: notice.author.id)
    assert in_ukrainian.body == "Писар не може відповісти: у цьому місті не налаштовано ядро агентів."
    assert in_english.body == "Варта cannot reply: no agents core is configured in this city."
    assert (in_ukrainian.msgtype, in_ukrainian.reply_to) == ("m.notice", question.id)
    assert (in_english.msgtype, in_english.reply_to) == ("m.notice", asked_in_english.id)
    assert not [event for event in harness.published if isinstance(event, LocalUserTyping)]


async def test_reply_waits_for_agent_after_start(harness: AgentReplyHarness) -> None:
    await harness.set_presence(SCRIBE, status=Status.OFFLINE)
    harness.patience_ms = 60_000
    await harness.messaging.post(OKSANA, "general", "@scribe, ти тут?")
    async with harness.running_worker():
        await asyncio.sleep(0.1)
        await harness.set_presence(SCRIBE)
        (answer,) = await harness.replies()
    assert answer.msgtype == "m.text"


@pytest.mark.parametrize(
    ("behaviour", "word"),
    [
        (answers({}, status=500), "помилка ядра агентів"),
        (says(""), "помилка ядра агентів"),
        (says(7), "помилка ядра агентів"),
    ],
)
async def test_reply_failure_posts_one_notice(harness: AgentReplyHarness, behaviour, word: str) -> None:  # type: ignore[no-untyped-def]
    harness.core.next(behaviour)
    await harness.messaging.post(OKSANA, "general", "@scribe, як справи?")
    async with harness.running_worker():
        (notice,) = await harness.replies()
        await asyncio.sleep(0.2)
        await harness.replies()
    assert notice.msgtype == "m.notice"
    assert word in notice.body


async def test_of_an_answer_that_broke_off_nothing_stays(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit_throttle, "_FIRST_INTERVAL_S", 0.0)
    gate = asyncio.Event()
    harness.core.next(pauses(gate, delta("Половина"), b"data: {nonsense\n\n"))
    await harness.messaging.post(OKSANA, "general", "@scribe, all of it?")
    async with harness.running_worker():

        async def has_begun() -> bool:
            return len(await harness.messages()) == 2

        await eventually(has_begun)
        gate.set()
        begun, notice = await harness.replies(2)
    assert (begun.deleted, begun.body) == (True, "")
    assert notice.msgtype == "m.notice"
    assert "the agents core failed" in notice.body


async def test_reply_interrupted_by_stop_is_posted_once(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit_throttle, "_FIRST_INTERVAL_S", 0.0)
    harness.core.next(pauses(asyncio.Event(), delta("Поло")), streams("Половина", " і друга"))
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():

        async def has_begun() -> bool:
            return len(await harness.messages()) == 2

        await eventually(has_begun)
    async with harness.running_worker():
        (answer,) = await harness.replies()
    assert answer.body == "Половина і друга"
    assert len(harness.core.requests) == 2


async def test_two_processes_post_one_reply(harness: AgentReplyHarness) -> None:
    gate = asyncio.Event()
    harness.core.next(after(gate, says("раз")), after(gate, says("раз")))
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker(), harness.running_worker():

        async def both_ask() -> bool:
            return len(harness.core.requests) == 2

        await eventually(both_ask)
        gate.set()
        (answer,) = await harness.replies()
    assert answer.body == "раз"


async def test_agent_mention_depth_is_limited(harness: AgentReplyHarness) -> None:
    harness.core.next(*(says(f"@varta, @scribe, а ви? {number}") for number in range(50)))
    await harness.messaging.post(OKSANA, "general", "@scribe, хто знає?")
    async with harness.running_worker():
        await harness.replies(MAX_DEPTH)
    assert [received.path for received in harness.core.requests] == [
        f"/agents/{slug}/invoke" for slug in ("scribe", "varta", "scribe")
    ]


async def test_notice_requests_no_reply(harness: AgentReplyHarness) -> None:
    await harness.messaging.messages.post(OKSANA, "general", Draft("@scribe, ти бот?", msgtype="m.notice"))
    async with harness.running_worker():
        await harness.replies(0)


async def test_question_deleted_in_time_is_not_answered(harness: AgentReplyHarness) -> None:
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    await harness.messaging.message_edits.delete(OKSANA, "general", question.id, may_moderate=False)
    async with harness.running_worker():
        await harness.replies(0)
    assert harness.core.requests == []


async def test_short_core_outage_loses_no_request(harness: AgentReplyHarness) -> None:
    harness.core.next(*[answers({}, status=503)] * 5)
    for number in range(6):
        await harness.messaging.post(OKSANA, "general", f"@scribe, {number}?")
    async with harness.running_worker():

        async def one_waits() -> bool:
            async with harness.database.read_only() as tx:
                owed = await tx.agent_replies.due(now_ms=LATER, limit=9)
            return len(owed) == 1 and owed[0].attempts > 0

        await eventually(one_waits)
    notices = [each for each in await harness.messages() if each.msgtype == "m.notice"]
    assert len(notices) == 5, "one for each that failed, and none for who waits while the core rests"


async def test_reply_longer_than_a_message_is_cut(harness: AgentReplyHarness) -> None:
    harness.core.next(says("ї" * 29_000))
    await harness.messaging.post(OKSANA, "general", "@scribe, розкажи все")
    async with harness.running_worker():
        (answer,) = await harness.replies()
    assert answer.msgtype == "m.text"
    assert answer.body.endswith("ї…")
    assert 23_900 < len(answer.body) < 24_000


async def test_busy_room_does_not_delay_other_rooms(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_worker_module, "_BATCH", 2)
    await Rooms(harness.database, harness.published.append, now_ms, new_id).open("Builders")
    gate = asyncio.Event()
    harness.core.next(after(gate, says("зараз")))
    for number in range(5):
        await harness.messaging.post(OKSANA, "general", f"@scribe, {number}?")
    async with harness.running_worker():

        async def first_is_asked() -> bool:
            return len(harness.core.requests) == 1

        await eventually(first_is_asked)
        await harness.messaging.post(OKSANA, "builders", "@scribe, а тут?")

        async def other_is_asked() -> bool:
            return len(harness.core.requests) == 2

        await eventually(other_is_asked)
        assert harness.core.requests[1].content["context"]["room"] == "builders"
        gate.set()


async def test_endless_whitespace_response_blocks_no_other(harness: AgentReplyHarness) -> None:
    await harness.messaging.post(OKSANA, "general", " " * 40_000 + "x" * 100)
    await harness.messaging.post(OKSANA, "general", " " * 40_000 + "Писар, ти тут?")
    async with harness.running_worker():
        await harness.replies()


async def test_request_rate_limit_posts_one_notice(harness: AgentReplyHarness) -> None:
    for number in range(25):
        await harness.messaging.post(OKSANA, "general", f"@scribe, а {number}?")
    await harness.messaging.post(Author(AuthorKind.CITIZEN, "u_2", "Петро"), "general", "@scribe, а мені?")
    async with harness.running_worker():
        answers = await harness.replies(22)
    notices = [each.body for each in answers if each.msgtype == "m.notice"]
    assert notices == ["Писар не відповідає: ви питаєте забагато одразу. Спробуйте за хвилину."]
    assert harness.core.requests[-1].content["input"] == "@scribe, а мені?"


async def test_multiple_mentions_count_separately(harness: AgentReplyHarness) -> None:
    for number in range(12):
        await harness.messaging.post(OKSANA, "general", f"@scribe @varta, {number}?")
    async with harness.running_worker():
        answers = await harness.replies(21)
    assert [each.msgtype for each in answers].count("m.notice") == 1


@pytest.mark.parametrize("is_posted", [False, True], ids=["before post", "after post"])
async def test_failure_notice_survives_stop(harness: AgentReplyHarness, is_posted: bool) -> None:
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    scribe = Author(AuthorKind.AGENT, "scribe", "Писар")
    async with harness.database.transaction() as tx:
        (owed,) = await tx.agent_replies.due(now_ms=LATER, limit=9)
        await tx.agent_replies.mark_failed(owed.id, ReplyFailure.SLOW)
    begun = Draft("Нехай", reply_to=question.id, client_id=f"answer:{owed.id}")
    message = (await harness.messaging.messages.post(scribe, "general", begun, requests_replies=False)).message
    await harness.messaging.message_edits.delete(scribe, "general", message.id, may_moderate=False)
    if is_posted:
        notice = Draft("…", msgtype="m.notice", reply_to=question.id, client_id=f"answer:{owed.id}:excuse")
        await harness.messaging.messages.post(scribe, "general", notice)
    async with harness.running_worker():
        answers = await harness.replies(2)
    assert [(each.msgtype, each.deleted) for each in answers] == [("m.text", True), ("m.notice", False)]
    assert harness.core.requests == []


async def test_stale_read_of_answered_request_asks_nothing(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.database.read_only() as tx:
        stale = await tx.agent_replies.due(now_ms=LATER, limit=9)
    async with harness.running_worker():
        await harness.replies()
    reads = 0

    async def as_it_was(*_: object, **__: object) -> list[PendingReply]:
        nonlocal reads
        reads += 1
        return stale

    monkeypatch.setattr(ReplyRepository, "due", as_it_was)
    async with harness.running_worker():

        async def was_read_often() -> bool:
            return reads > 3

        await eventually(was_read_often)
    assert len(harness.core.requests) == 1
    assert len(await harness.messages()) == 2


async def test_history_includes_reply_posted_after_request(harness: AgentReplyHarness) -> None:
    harness.core.next(says("А тому"))
    await harness.messaging.post(OKSANA, "general", "@scribe, чому?")
    await harness.messaging.post(OKSANA, "general", "@scribe, а ще чому?")
    async with harness.running_worker():
        await harness.replies(2)
    assert harness.core.requests[1].history == ["Оксана: @scribe, чому?", "А тому"]


async def test_failure_after_posted_reply_is_ignored(harness: AgentReplyHarness) -> None:
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.database.transaction() as tx:
        (owed,) = await tx.agent_replies.due(now_ms=LATER, limit=9)
        assert await tx.agent_replies.mark_posted(owed.id, question.id)
        assert not await tx.agent_replies.mark_failed(owed.id, ReplyFailure.SLOW)
        await tx.agent_replies.postpone(owed.id, "busy", retry_at_ms=7)
        assert await tx.agent_replies.get_pending(owed.id) is None
        assert await tx.agent_replies.posted_replies([question.id], SCRIBE.slug) == {question.id: question.id}
