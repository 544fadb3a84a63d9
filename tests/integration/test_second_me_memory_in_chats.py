"""Tests of the memory of Second Me in direct chats: of accounts, of linked citizens, and when it is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from daarion_appservice.city.presence import Status
from daarion_appservice.city.second_me import SECOND_ME
from daarion_appservice.city.types import CitizenId, SubjectId, UserId
from daarion_appservice.clock import new_id
from daarion_appservice.errors import Conflict, Forbidden
from tests.parts.agent_replies import SCRIBE, AgentReplyHarness, open_agent_replies
from tests.parts.agents_core import says

ALICE = "@alice:city.localhost"
MALLORY = "@mallory:city.localhost"
OKSANA = CitizenId("u_1")


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    async with open_agent_replies(database_url, monkeypatch) as harness:
        yield harness


async def links(harness: AgentReplyHarness, user: str, citizen: CitizenId) -> None:
    await harness.accounts.link(citizen, f"{new_id()} {user}", "city.localhost", None)


async def test_second_me_remembers_earlier_chat_messages(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    harness.core.next(says("Сонце"), says("Так"))
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Яка погода?")
        await harness.replies(1, room=chat.id)
        await harness.receive_text(chat, ALICE, "Точно?")
        _, answer = await harness.replies(2, room=chat.id)
    assert answer.body == "Так"
    assert harness.core.requests[1].path == "/agents/second_me/invoke"
    assert harness.core.requests[1].content["context"] == {
        "kind": "secondme",
        "user_id": ALICE,
        "room": None,
        "history": [{"role": "user", "content": "Яка погода?"}, {"role": "assistant", "content": "Сонце"}],
    }
    assert await harness.remembered(ALICE) == [("Яка погода?", "Сонце"), ("Точно?", "Так")]


async def test_linked_account_shares_memory_with_city(harness: AgentReplyHarness) -> None:
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
    assert await harness.remembered(OKSANA) == [("1", "перше"), ("2", "друге")]
    assert harness.core.requests[2].history == ["1", "перше"]
    # Whoever got hold of a token of Alice's learns nothing of what she asked before.
    assert await harness.remembered(ALICE) == [("0", "давнє")]
    await harness.accounts.unlink(OKSANA)
    assert await harness.accounts.subject_of(UserId(ALICE)) == ALICE


async def test_account_and_citizen_link_one_to_one(harness: AgentReplyHarness) -> None:
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
        reply = (await harness.replies(2, room=chat.id))[-1]
        await harness.receive_text(chat, ALICE, "And now?")
        await harness.replies(3, room=chat.id)
    assert (reply.msgtype, notice in reply.body) == ("m.notice", True)
    assert [received.content["input"] for received in harness.core.requests] == ["And mine?", first, "And now?"]
    assert harness.core.requests[-1].history == []
    assert [prompt for prompt, _ in await harness.remembered(ALICE)] == ["And now?"]
    assert [prompt for prompt, _ in await harness.remembered(MALLORY)] == ["And mine?"]


async def test_forget_deletes_memory_of_linked_citizen(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "0")
        await harness.replies(1, room=chat.id)
        await links(harness, ALICE, OKSANA)
        await harness.receive_text(chat, ALICE, "1")
        await harness.replies(2, room=chat.id)
        await harness.receive_text(chat, ALICE, "!forget")
        await harness.replies(3, room=chat.id)
    assert (await harness.remembered(ALICE), await harness.remembered(OKSANA)) == ([], [])


async def test_forget_without_an_agents_core_is_done(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "0")
        await harness.replies(1, room=chat.id)
        await harness.set_presence(SECOND_ME, status=Status.OFFLINE)
        await harness.receive_text(chat, ALICE, "!forget")
        await harness.replies(2, room=chat.id)
    assert await harness.remembered(ALICE) == []


async def test_forget_in_company_deletes_nothing(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "0")
        await harness.replies(1, room=chat.id)
        await harness.receive(chat, "m.room.member", {"membership": "join"}, sender=MALLORY, state_key=MALLORY)
        await harness.receive_text(chat, ALICE, "забудь")
        await harness.replies(1, room=chat.id)
    assert [prompt for prompt, _ in await harness.remembered(ALICE)] == ["0"]


@pytest.mark.parametrize("body", ["Forget it, what is next?", "забудь про погоду", "unforgettable", "!forgetful"])
async def test_a_sentence_with_forget_is_a_question(harness: AgentReplyHarness, body: str) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, body)
        await harness.replies(1, room=chat.id)
    assert [prompt for prompt, _ in await harness.remembered(ALICE)] == [body]


async def test_forget_command_is_a_prompt_for_other_agents(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "!forget")
        await harness.replies(1, room=chat.id)
    assert [received.content["input"] for received in harness.core.requests] == ["!forget"]
