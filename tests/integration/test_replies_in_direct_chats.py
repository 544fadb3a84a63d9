"""What is said to an agent in a chat of its own; and Second Me, who tells nobody what it was asked by somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.agents.second_me import MAX_PROMPT_CHARS
from daarion_appservice.city.presence import Status
from daarion_appservice.city.second_me import SECOND_ME
from daarion_appservice.city.types import Author, AuthorKind, CitizenId, MatrixRoomId, SubjectId, UserId
from daarion_appservice.clock import new_id
from daarion_appservice.errors import Conflict, Forbidden
from tests.parts.agent_replies import GENERAL, LATER, SCRIBE, AgentReplyHarness, open_agent_replies
from tests.parts.agents_core import after, says
from tests.parts.city import eventually
from tests.parts.messaging import link

ALICE = "@alice:city.localhost"
MALLORY = "@mallory:city.localhost"
OKSANA = CitizenId("u_1")
LINK = "https://matrix.to/#/@agent_scribe:city.localhost"


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    async with open_agent_replies(database_url, monkeypatch) as harness:
        yield harness


async def remembered(harness: AgentReplyHarness, who: str) -> list[tuple[str, str]]:
    async with harness.second_me() as second_me:
        return [(each.prompt, each.response) for each in await second_me.history(SubjectId(who))]


async def links(harness: AgentReplyHarness, user: str, citizen: CitizenId) -> None:
    await harness.accounts.link(citizen, f"{new_id()} {user}", "city.localhost", None)


async def test_second_me_without_core_posts_one_notice(harness: AgentReplyHarness) -> None:
    harness.has_core = False
    await harness.set_presence(SECOND_ME, status=Status.OFFLINE)
    harness.patience_ms = 60_000
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Яка погода?")
        (notice,) = await harness.replies(room=chat.id)
    assert (notice.msgtype, "не налаштовано ядро агентів" in notice.body) == ("m.notice", True)
    assert await remembered(harness, ALICE) == []


async def test_in_company_an_agent_answers_whoever_turns_to_it(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE, is_group=True)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Бобе, ходімо обідати")
        await harness.receive_text(chat, ALICE, "@varta, а ти?")
        await harness.receive_text(chat, ALICE, "Писар, нагадай нам о другій")
        await harness.replies(room=chat.id)
    assert [asked.content["input"] for asked in harness.core.asked] == ["Писар, нагадай нам о другій"]


async def test_second_me_remembers_in_a_chat_what_was_asked_there(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    harness.core.next(says("Сонце"), says("Так"))
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Яка погода?")
        await harness.replies(1, room=chat.id)
        await harness.receive_text(chat, ALICE, "Точно?")
        _, answer = await harness.replies(2, room=chat.id)
    assert answer.body == "Так"
    assert harness.core.asked[1].path == "/agents/second_me/invoke"
    assert harness.core.asked[1].content["context"] == {
        "kind": "secondme",
        "user_id": ALICE,
        "room": None,
        "history": [{"role": "user", "content": "Яка погода?"}, {"role": "assistant", "content": "Сонце"}],
    }
    assert await remembered(harness, ALICE) == [("Яка погода?", "Сонце"), ("Точно?", "Так")]


async def test_of_a_linked_person_it_remembers_the_same_in_the_city(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    harness.core.next(says("давнє"), says("перше"), says("друге"))
    async with harness.running_worker(), harness.second_me() as second_me:
        await harness.receive_text(chat, ALICE, "0")
        await harness.replies(1, room=chat.id)
        await links(harness, ALICE, OKSANA)
        await harness.receive_text(chat, ALICE, "1")
        await harness.replies(2, room=chat.id)
        async with second_me.invoke(SubjectId(OKSANA), "2") as answer:
            assert [piece async for piece in answer] == ["друге"]
    assert await remembered(harness, OKSANA) == [("1", "перше"), ("2", "друге")]
    assert harness.core.asked[2].history == ["1", "перше"]
    # Whoever got hold of a token of Alice's learns nothing of what she asked before.
    assert await remembered(harness, ALICE) == [("0", "давнє")]
    await harness.accounts.unlink(OKSANA)
    assert await harness.accounts.subject_of(UserId(ALICE)) == ALICE


async def test_an_account_is_one_citizens_and_a_citizen_has_one(harness: AgentReplyHarness) -> None:
    bob, carol, petro = "@bob:city.localhost", "@carol:city.localhost", CitizenId("u_2")
    await links(harness, ALICE, OKSANA)
    with pytest.raises(Conflict):
        await links(harness, ALICE, petro)
    assert (await harness.accounts.of(OKSANA), await harness.accounts.of(petro)) == (ALICE, None)
    await links(harness, bob, OKSANA)
    await links(harness, ALICE, petro)
    assert (await harness.accounts.of(OKSANA), await harness.accounts.of(petro)) == (bob, ALICE)

    # Many at once, of whom one is first.
    wanted = [links(harness, carol, CitizenId(f"u_{number}")) for number in range(3, 8)]
    refused = [each for each in await asyncio.gather(*wanted, return_exceptions=True) if isinstance(each, Conflict)]
    assert len(refused) == 4
    await asyncio.gather(*(links(harness, f"@{name}:city.localhost", petro) for name in ("dave", "erin", "frank")))
    assert str(await harness.accounts.of(petro))[1:-15] in {"dave", "erin", "frank"}
    with pytest.raises(Forbidden):
        await harness.accounts.link(OKSANA, ALICE, "elsewhere.example", None)
    assert await harness.accounts.of(OKSANA) == bob


@pytest.mark.parametrize(
    ("first", "command", "notice"),
    [
        ("Яка погода?", "забудь", "більше не пам’ятає"),
        ("Яка погода?", "!forget", "більше не пам’ятає"),
        ("How is the weather?", "!forget", "no longer remembers"),
        ("How is the weather?", "Forget everything.", "no longer remembers"),
        ("How is the weather?", "!Забудь УСЕ!", "більше не пам’ятає"),
    ],
)
async def test_forget_in_a_chat_deletes_the_askers_memory(
    harness: AgentReplyHarness, first: str, command: str, notice: str
) -> None:
    chat, mallorys = await harness.create_direct_chat(SECOND_ME), await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(mallorys, MALLORY, "And mine?")
        await harness.replies(1, room=mallorys.id)
        await harness.receive_text(chat, ALICE, first)
        await harness.replies(1, room=chat.id)
        await harness.receive_text(chat, ALICE, command)
        said = (await harness.replies(2, room=chat.id))[-1]
        await harness.receive_text(chat, ALICE, "And now?")
        await harness.replies(3, room=chat.id)
    assert (said.msgtype, notice in said.body) == ("m.notice", True)
    assert [asked.content["input"] for asked in harness.core.asked] == ["And mine?", first, "And now?"]
    assert harness.core.asked[-1].history == []
    assert [prompt for prompt, _ in await remembered(harness, ALICE)] == ["And now?"]
    assert [prompt for prompt, _ in await remembered(harness, MALLORY)] == ["And mine?"]


async def test_forget_deletes_the_memory_of_the_linked_citizen_too(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "0")
        await harness.replies(1, room=chat.id)
        await links(harness, ALICE, OKSANA)
        await harness.receive_text(chat, ALICE, "1")
        await harness.replies(2, room=chat.id)
        await harness.receive_text(chat, ALICE, "!forget")
        await harness.replies(3, room=chat.id)
    assert (await remembered(harness, ALICE), await remembered(harness, OKSANA)) == ([], [])


async def test_forget_without_an_agents_core_is_done(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "0")
        await harness.replies(1, room=chat.id)
        await harness.set_presence(SECOND_ME, status=Status.OFFLINE)
        await harness.receive_text(chat, ALICE, "!forget")
        await harness.replies(2, room=chat.id)
    assert await remembered(harness, ALICE) == []


async def test_forget_in_company_deletes_nothing(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "0")
        await harness.replies(1, room=chat.id)
        await harness.receive(chat, "m.room.member", {"membership": "join"}, sender=MALLORY, state_key=MALLORY)
        await harness.receive_text(chat, ALICE, "забудь")
        await harness.replies(1, room=chat.id)
    assert [prompt for prompt, _ in await remembered(harness, ALICE)] == ["0"]


@pytest.mark.parametrize("body", ["Forget it, what is next?", "забудь про погоду", "unforgettable", "!forgetful"])
async def test_a_sentence_with_forget_is_a_question(harness: AgentReplyHarness, body: str) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, body)
        await harness.replies(1, room=chat.id)
    assert [prompt for prompt, _ in await remembered(harness, ALICE)] == [body]


async def test_other_agents_are_asked_what_second_me_takes_as_a_command(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "!forget")
        await harness.replies(1, room=chat.id)
    assert [asked.content["input"] for asked in harness.core.asked] == ["!forget"]


async def test_who_comes_into_a_chat_is_company_at_once(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    await harness.receive(chat, "m.room.member", {"membership": "join"}, sender=MALLORY, state_key=MALLORY)
    await harness.receive_text(chat, ALICE, "Привіт")
    await harness.receive_text(chat, ALICE, "Second Me, що я питала?")
    async with harness.running_worker():
        (notice,) = await harness.replies(room=chat.id)
    assert (notice.msgtype, harness.core.asked) == ("m.notice", [])


async def test_second_me_waits_until_it_is_known_who_listens(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    await harness.receive_text(chat, ALICE, "Привіт")
    async with harness.database.transaction() as tx:
        await tx.direct_chats.mark_pending(chat.id)
    async with harness.running_worker():

        async def was_put_off() -> bool:
            async with harness.database.read_only() as tx:
                return any(owed.attempts for owed in await tx.agent_replies.due(now_ms=LATER, limit=1))

        await eventually(was_put_off)
        assert harness.core.asked == []
        async with harness.database.transaction() as tx:
            await tx.direct_chats.mark_linked(chat.id, is_group=False)
        await harness.replies(room=chat.id)


async def test_an_answer_is_not_shown_to_who_came_while_it_was_made(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    gate = asyncio.Event()
    harness.core.next(after(gate, says("таємне")))
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Привіт")

        async def is_asked() -> bool:
            return len(harness.core.asked) == 1

        await eventually(is_asked)
        await harness.receive(chat, "m.room.member", {"membership": "join"}, sender=MALLORY, state_key=MALLORY)
        gate.set()
        (notice,) = await harness.replies(room=chat.id)
    assert notice.msgtype == "m.notice"


async def test_another_agent_may_be_invited_where_a_chat_is_over(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    ghost, other = "@agent_scribe:city.localhost", "@agent_varta:city.localhost"
    await harness.receive(chat, "m.room.member", {"membership": "leave"}, sender=ALICE, state_key=ghost)
    await harness.receive(chat, "m.room.member", {"membership": "invite"}, sender=ALICE, state_key=other)
    assert chat.matrix_room_id is not None
    async with harness.database.read_only() as tx:
        now = await tx.rooms.by_matrix_id(chat.matrix_room_id)
    assert now is not None
    assert (now.agent, now.archived, now.id == chat.id) == ("varta", False, False)


async def test_an_invitation_into_a_room_that_was_replaced_takes_it_from_nobody(harness: AgentReplyHarness) -> None:
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
    ("content", "is_asked"),
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
async def test_whom_an_older_client_means_stands_in_the_text(
    harness: AgentReplyHarness, content: Any, is_asked: bool
) -> None:
    async with harness.database.transaction() as tx:
        await link(tx, GENERAL, "!general")
        general = await tx.rooms.get(GENERAL)
    assert general is not None
    text = {"msgtype": "m.text", "format": "org.matrix.custom.html"} | content
    await harness.receive(general, "m.room.message", text, sender=ALICE)
    async with harness.database.read_only() as tx:
        assert len(await tx.agent_replies.due(now_ms=LATER, limit=9)) == is_asked


async def test_second_me_says_nothing_where_others_listen(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME, is_group=True)
    async with harness.running_worker():
        await harness.messaging.post(Author(AuthorKind.CITIZEN, "u_1", "Оксана"), "general", "@second_me, що я питала?")
        await harness.receive_text(chat, ALICE, "Second Me, what did I ask?")
        (in_general,) = await harness.replies()
        (in_chat,) = await harness.replies(room=chat.id)
    assert (in_general.msgtype, in_chat.msgtype) == ("m.notice", "m.notice")
    assert "наодинці" in in_general.body
    assert "invite it to a chat without other members" in in_chat.body
    assert harness.core.asked == []


async def test_what_it_remembered_before_a_crash_is_said_after_it(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    await harness.receive_text(chat, ALICE, "Де ключі?")
    async with harness.database.read_only() as tx:
        (owed,) = await tx.agent_replies.due(now_ms=LATER, limit=1)
    harness.core.next(says("На гвіздку"))
    async with (
        harness.second_me() as second_me,
        second_me.invoke(SubjectId(ALICE), "Де ключі?", interaction=owed.id) as told,
    ):
        assert [piece async for piece in told] == ["На гвіздку"]
    async with harness.running_worker():
        (answer,) = await harness.replies(room=chat.id)
    assert answer.body == "На гвіздку"
    assert await remembered(harness, ALICE) == [("Де ключі?", "На гвіздку")]
    assert len(harness.core.asked) == 1


async def test_a_question_waits_while_another_of_the_same_person_is_answered(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    gate = asyncio.Event()
    harness.core.next(after(gate, says("перше")), says("друге"))
    async with harness.second_me() as second_me:

        async def ask() -> None:
            async with second_me.invoke(SubjectId(ALICE), "1") as answer:
                assert [piece async for piece in answer] == ["перше"]

        asking = asyncio.create_task(ask())

        async def is_asked() -> bool:
            return len(harness.core.asked) == 1

        await eventually(is_asked)
        async with harness.running_worker():
            await harness.receive_text(chat, ALICE, "2")

            async def was_put_off() -> bool:
                async with harness.database.read_only() as tx:
                    return any(owed.attempts for owed in await tx.agent_replies.due(now_ms=LATER, limit=1))

            await eventually(was_put_off)
            gate.set()
            await asking
            (answer,) = await harness.replies(room=chat.id)
    assert answer.body == "друге"


async def test_a_question_that_is_too_long_is_told_so(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "a" * (MAX_PROMPT_CHARS + 1))
        (answer,) = await harness.replies(room=chat.id)
    assert (answer.msgtype, "too long" in answer.body) == ("m.notice", True)


async def test_files_of_a_chat_are_fetched_for_nobody_nor_what_an_edit_brings_in(harness: AgentReplyHarness) -> None:
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
async def test_agent_repeats_nothing_to_who_joined_later(
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
    (asked,) = harness.core.asked
    assert ("1234" in str(asked.content)) is is_repeated
    assert "Вітаю" in str(asked.content)


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
    (asked,) = harness.core.asked
    assert "1234" not in str(asked.content)
    assert "Відтепер" in str(asked.content)
