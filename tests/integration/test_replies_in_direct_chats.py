"""Tests of replies of agents in direct chats, and of what they say to later members."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.agents.second_me import MAX_PROMPT_CHARS
from daarion_appservice.city.presence import Status
from daarion_appservice.city.second_me import SECOND_ME
from daarion_appservice.city.types import Author, AuthorKind, MatrixRoomId, SubjectId
from tests.parts.agent_replies import GENERAL, LATER, SCRIBE, AgentReplyHarness, open_agent_replies
from tests.parts.agents_core import after, says
from tests.parts.city import eventually
from tests.parts.messaging import link

LINK = "https://matrix.to/#/@agent_scribe:city.localhost"

ALICE = "@alice:city.localhost"
MALLORY = "@mallory:city.localhost"


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    async with open_agent_replies(database_url, monkeypatch) as harness:
        yield harness


async def test_second_me_without_core_posts_one_notice(harness: AgentReplyHarness) -> None:
    harness.has_core = False
    await harness.set_presence(SECOND_ME, status=Status.OFFLINE)
    harness.patience_ms = 60_000
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Яка погода?")
        (notice,) = await harness.replies(room=chat.id)
    assert (notice.msgtype, "не налаштовано ядро агентів" in notice.body) == ("m.notice", True)
    assert await harness.remembered(ALICE) == []


async def test_group_chat_agent_replies_only_when_addressed(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE, is_group=True)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Бобе, ходімо обідати")
        await harness.receive_text(chat, ALICE, "@varta, а ти?")
        await harness.receive_text(chat, ALICE, "Писар, нагадай нам о другій")
        await harness.replies(room=chat.id)
    assert [received.content["input"] for received in harness.core.requests] == ["Писар, нагадай нам о другій"]


async def test_joining_user_makes_chat_a_group(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    await harness.receive(chat, "m.room.member", {"membership": "join"}, sender=MALLORY, state_key=MALLORY)
    await harness.receive_text(chat, ALICE, "Привіт")
    await harness.receive_text(chat, ALICE, "Second Me, що я питала?")
    async with harness.running_worker():
        (notice,) = await harness.replies(room=chat.id)
    assert (notice.msgtype, harness.core.requests) == ("m.notice", [])


async def test_second_me_waits_for_member_list(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    await harness.receive_text(chat, ALICE, "Привіт")
    async with harness.database.transaction() as tx:
        await tx.direct_chats.mark_pending(chat.id)
    async with harness.running_worker():

        async def is_postponed() -> bool:
            async with harness.database.read_only() as tx:
                return any(owed.attempts for owed in await tx.agent_replies.due(now_ms=LATER, limit=1))

        await eventually(is_postponed)
        assert harness.core.requests == []
        async with harness.database.transaction() as tx:
            await tx.direct_chats.mark_linked(chat.id, is_group=False)
        await harness.replies(room=chat.id)


async def test_reply_is_hidden_from_users_joining_meanwhile(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    gate = asyncio.Event()
    harness.core.next(after(gate, says("таємне")))
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Привіт")

        async def is_requested() -> bool:
            return len(harness.core.requests) == 1

        await eventually(is_requested)
        await harness.receive(chat, "m.room.member", {"membership": "join"}, sender=MALLORY, state_key=MALLORY)
        gate.set()
        (notice,) = await harness.replies(room=chat.id)
    assert notice.msgtype == "m.notice"


async def test_ended_chat_reopens_for_other_agent(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    ghost, other = "@agent_scribe:city.localhost", "@agent_varta:city.localhost"
    await harness.receive(chat, "m.room.member", {"membership": "leave"}, sender=ALICE, state_key=ghost)
    await harness.receive(chat, "m.room.member", {"membership": "invite"}, sender=ALICE, state_key=other)
    assert chat.matrix_room_id is not None
    async with harness.database.read_only() as tx:
        now = await tx.rooms.by_matrix_id(chat.matrix_room_id)
    assert now is not None
    assert (now.agent, now.archived, now.id == chat.id) == ("varta", False, False)


async def test_invitation_to_replaced_room_opens_no_chat(harness: AgentReplyHarness) -> None:
    async with harness.database.transaction() as tx:
        await link(tx, GENERAL, "!old")
        await tx.matrix_rooms.move(GENERAL, MatrixRoomId("!new"), former=MatrixRoomId("!old"))
        general = await tx.rooms.get(GENERAL)
    assert general is not None
    old = replace(general, matrix_room_id=MatrixRoomId("!old"))
    ghost = "@agent_scribe:city.localhost"
    await harness.receive(old, "m.room.member", {"membership": "invite"}, sender=ALICE, state_key=ghost)
    async with harness.database.read_only() as tx:
        assert await tx.rooms.by_matrix_id(MatrixRoomId("!old")) is None


@pytest.mark.parametrize(
    ("content", "is_requested"),
    [
        ({"body": "@agent_scribe:city.localhost, де архів?"}, True),
        ({"body": "Писарю?", "formatted_body": f'<a href="{LINK}">Писарю</a>?'}, True),
        ({"body": "@agent_scribe:city.localhost, де архів?", "m.mentions": {}}, True),
        ({"body": "@scribe: де архів?", "m.mentions": {}}, True),
        ({"body": "@Писар де архів?", "m.mentions": {}}, True),
        ({"body": "де архів, @scribe?", "m.mentions": {"user_ids": ["@bob:x.org"]}}, True),
        ({"body": "`@scribe`, де архів?", "m.mentions": {}}, False),
        ({"body": "> @scribe: де архів?\n\nот питання", "m.mentions": {}}, False),
        ({"body": "> <@bob:x.org> @agent_scribe:city.localhost\n\nага", "m.relates_to": {"m.in_reply_to": {}}}, False),
        ({"body": "ага", "formatted_body": f'<mx-reply><a href="{LINK}">Писарю</a></mx-reply>ага'}, False),
    ],
)
async def test_mention_by_older_client_requests_reply(
    harness: AgentReplyHarness, content: Any, is_requested: bool
) -> None:
    async with harness.database.transaction() as tx:
        await link(tx, GENERAL, "!general")
        general = await tx.rooms.get(GENERAL)
    assert general is not None
    text = {"msgtype": "m.text", "format": "org.matrix.custom.html"} | content
    await harness.receive(general, "m.room.message", text, sender=ALICE)
    async with harness.database.read_only() as tx:
        assert len(await tx.agent_replies.due(now_ms=LATER, limit=9)) == is_requested


async def test_second_me_does_not_reply_in_groups(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME, is_group=True)
    async with harness.running_worker():
        await harness.messaging.post(Author(AuthorKind.CITIZEN, "u_1", "Оксана"), "general", "@second_me, що я питала?")
        await harness.receive_text(chat, ALICE, "Second Me, what did I ask?")
        (in_general,) = await harness.replies()
        (in_chat,) = await harness.replies(room=chat.id)
    assert (in_general.msgtype, in_chat.msgtype) == ("m.notice", "m.notice")
    assert "наодинці" in in_general.body
    assert "invite it to a chat without other members" in in_chat.body
    assert harness.core.requests == []


async def test_response_stored_before_crash_is_posted(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    await harness.receive_text(chat, ALICE, "Де ключі?")
    async with harness.database.read_only() as tx:
        (owed,) = await tx.agent_replies.due(now_ms=LATER, limit=1)
    harness.core.next(says("На гвіздку"))
    async with (
        harness.second_me() as second_me,
        second_me.invoke(SubjectId(ALICE), "Де ключі?", interaction=owed.id) as chunks,
    ):
        assert [piece async for piece in chunks] == ["На гвіздку"]
    async with harness.running_worker():
        (answer,) = await harness.replies(room=chat.id)
    assert answer.body == "На гвіздку"
    assert await harness.remembered(ALICE) == [("Де ключі?", "На гвіздку")]
    assert len(harness.core.requests) == 1


async def test_concurrent_prompts_of_one_user_wait(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    gate = asyncio.Event()
    harness.core.next(after(gate, says("перше")), says("друге"))
    async with harness.second_me() as second_me:

        async def ask() -> None:
            async with second_me.invoke(SubjectId(ALICE), "1") as answer:
                assert [piece async for piece in answer] == ["перше"]

        asking = asyncio.create_task(ask())

        async def is_requested() -> bool:
            return len(harness.core.requests) == 1

        await eventually(is_requested)
        async with harness.running_worker():
            await harness.receive_text(chat, ALICE, "2")

            async def is_postponed() -> bool:
                async with harness.database.read_only() as tx:
                    return any(owed.attempts for owed in await tx.agent_replies.due(now_ms=LATER, limit=1))

            await eventually(is_postponed)
            gate.set()
            await asking
            (answer,) = await harness.replies(room=chat.id)
    assert answer.body == "друге"


async def test_overlong_prompt_posts_notice(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "a" * (MAX_PROMPT_CHARS + 1))
        (answer,) = await harness.replies(room=chat.id)
    assert (answer.msgtype, "too long" in answer.body) == ("m.notice", True)


async def test_direct_chat_files_are_not_served(harness: AgentReplyHarness) -> None:
    chat, secret = await harness.create_direct_chat(SCRIBE), "mxc://city.localhost/secret"
    image = {"msgtype": "m.image", "body": "фото.png", "url": secret, "info": {"mimetype": "image/png"}}
    html = {"format": "org.matrix.custom.html", "formatted_body": f'<img src="{secret}" alt="фото">'}
    edit = {"m.new_content": image | html, "m.relates_to": {"rel_type": "m.replace", "event_id": "$text"}}
    text = {"msgtype": "m.text", "body": "Дивись"}
    for event_id, content in (("$image", image), ("$text", text | html), ("$edit", image | edit)):
        event = {
            "event_id": event_id,
            "type": "m.room.message",
            "sender": ALICE,
            "origin_server_ts": 1,
            "content": content,
        }
        async with harness.database.transaction() as tx:
            await harness.messaging.message_events.message(tx, chat, event)
    kept = await harness.messages(chat.id)
    assert [(each.body, each.media and each.media.is_private) for each in kept] == [("фото.png", True)] * 2
    assert [each.formatted_body for each in kept] == [None, None]
    async with harness.database.read_only() as tx:
        assert not await tx.media.is_shown(secret)


@pytest.mark.parametrize(
    ("visibility", "is_repeated"), [("joined", False), ("invited", False), ("shared", True), ("world_readable", True)]
)
async def test_agent_repeats_nothing_to_later_members(
    harness: AgentReplyHarness, visibility: str, is_repeated: bool
) -> None:
    chat = await harness.create_direct_chat(SCRIBE, is_group=True)
    content = {"history_visibility": visibility}
    await harness.receive(chat, "m.room.history_visibility", content, sender=ALICE, state_key="")
    await harness.receive_text(chat, ALICE, "Код від сейфа 1234")
    await harness.receive(chat, "m.room.member", {"membership": "join"}, sender=MALLORY, state_key=MALLORY)
    await harness.receive_text(chat, ALICE, "Вітаю, Мелорі")
    async with harness.database.transaction() as tx:
        await tx.direct_chats.mark_linked(chat.id, is_group=True)
    async with harness.running_worker():
        await harness.receive_text(chat, MALLORY, "Писар, що казали до мене?")
        await harness.replies(room=chat.id)
    (received,) = harness.core.requests
    assert ("1234" in str(received.content)) is is_repeated
    assert "Вітаю" in str(received.content)


@pytest.mark.parametrize("visibility", ["joined", "shared"])
async def test_agent_repeats_nothing_private_in_public(harness: AgentReplyHarness, visibility: str) -> None:
    async with harness.database.transaction() as tx:
        await link(tx, GENERAL, "!general")
        general = await tx.rooms.get(GENERAL)
    assert general is not None
    for each, body in ((visibility, "Код від сейфа 1234"), ("world_readable", "Відтепер усі читають")):
        content = {"history_visibility": each}
        await harness.receive(general, "m.room.history_visibility", content, sender=ALICE, state_key="")
        await harness.receive_text(general, ALICE, body)
    async with harness.running_worker():
        await harness.receive_text(general, MALLORY, "Писар, що казали?")
        await harness.replies()
    (received,) = harness.core.requests
    assert "1234" not in str(received.content)
    assert "Відтепер" in str(received.content)
