"""Several agents in one direct chat: who replies, and what their invitations, kicks and leaves change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.second_me import SECOND_ME
from daarion_appservice.city.types import AgentSlug, MatrixRoomId, MatrixStatus, Room
from daarion_appservice.storage.invitations import Invitation
from tests.parts.agent_replies import LATER, SCRIBE, VARTA, AgentReplyHarness, open_agent_replies
from tests.parts.agents_core import says

ALICE = "@alice:city.localhost"
BOB = "@bob:city.localhost"
ROOM = "!private:city.localhost"
SCRIBE_GHOST = "@agent_scribe:city.localhost"
VARTA_GHOST = "@agent_varta:city.localhost"


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    async with open_agent_replies(database_url, monkeypatch) as harness:
        yield harness


async def test_only_mentioned_agents_reply_in_company(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE, VARTA)
    harness.core.next(says("Записав"), says("Бачу"))
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Добрий день усім")
        await harness.receive_text(chat, ALICE, "Писар, запиши")
        await harness.replies(1, room=chat.id)
        await harness.receive_text(chat, ALICE, "@varta, що там?")
        replies = await harness.replies(2, room=chat.id)
    assert [(each.author.id, each.body) for each in replies] == [("scribe", "Записав"), ("varta", "Бачу")]
    assert [received.content["input"] for received in harness.core.requests] == ["Писар, запиши", "@varta, що там?"]


async def test_agent_outside_the_chat_does_not_reply(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE, is_group=True)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "@varta, а ти?")
        await harness.receive_text(chat, ALICE, "Second Me, а ти?")
        await harness.replies(0, room=chat.id)


async def test_agents_ask_agents_within_the_depth(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE, VARTA)
    harness.core.next(says("@varta, глянь"), says("@scribe, глянула"), says("@varta, дякую"))
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Писар, хай Варта гляне")
        replies = await harness.replies(3, room=chat.id)
    assert [each.author.id for each in replies] == ["scribe", "varta", "scribe"]


async def test_second_me_stays_silent_beside_an_agent(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME, SCRIBE)
    async with harness.running_worker():
        await harness.receive_text(chat, ALICE, "Second Me, що я питала?")
        (notice,) = await harness.replies(1, room=chat.id)
    assert notice.msgtype == "m.notice"
    assert harness.core.requests == []


async def test_second_invitation_adds_an_agent_once(harness: AgentReplyHarness) -> None:
    chat = await invited(harness, SCRIBE_GHOST)
    for _ in range(2):
        await member(harness, VARTA_GHOST, "invite")
    assert await agents(harness, chat) == ["scribe", "varta"]
    assert (await current(harness, chat)).is_group
    async with harness.database.read_only() as tx:
        assert [each.id for each in await tx.direct_chats.pending()] == [chat.id]


async def test_kick_of_one_agent_keeps_the_chat(harness: AgentReplyHarness) -> None:
    chat = await invited(harness, SCRIBE_GHOST)
    await member(harness, VARTA_GHOST, "invite")
    await member(harness, SCRIBE_GHOST, "leave", before="join")
    found = await current(harness, chat)
    assert (found.archived, found.agent, found.matrix_status) == (False, "varta", MatrixStatus.PENDING)
    assert await agents(harness, chat) == ["varta"]
    await member(harness, VARTA_GHOST, "ban", before="join")
    assert (await current(harness, chat)).archived
    assert await agents(harness, chat) == []


async def test_closed_chat_opens_again_for_its_agent(harness: AgentReplyHarness) -> None:
    chat = await invited(harness, SCRIBE_GHOST)
    await member(harness, SCRIBE_GHOST, "leave", before="join")
    await member(harness, SCRIBE_GHOST, "invite", before="leave")
    found = await current(harness, chat)
    assert (found.id, found.archived, found.is_group) == (chat.id, False, False)
    assert await agents(harness, chat) == ["scribe"]


async def test_unacceptable_invitations_are_declined_at_once(harness: AgentReplyHarness) -> None:
    chat = await invited(harness, SCRIBE_GHOST)
    users = ["@agent_nobody", "@agent_Scribe", "@citizen_u_1", "@daarion_bot", "@city_observer"]
    for user in users:
        await member(harness, f"{user}:city.localhost", "invite")
    declined = await due(harness)
    assert {each.user_id.partition(":")[0] for each in declined} == set(users)
    assert all(each.reason for each in declined)
    assert await agents(harness, chat) == ["scribe"]


async def test_capitals_in_an_id_are_declined_anywhere(harness: AgentReplyHarness) -> None:
    for user in ("@agent_Varta", "@citizen_U", "@agent_ВАРТА"):
        await member(harness, f"{user}:city.localhost", "invite")
    await member(harness, "@agent_Varta:elsewhere.example", "invite")
    assert {each.user_id for each in await due(harness)} >= {"@agent_Varta:city.localhost", "@citizen_U:city.localhost"}
    assert all(each.user_id.endswith(":city.localhost") for each in await due(harness))


@pytest.mark.parametrize("content", [{}, {"membership": 7}, {"membership": ["invite"]}, {"membership": "party"}, []])
async def test_malformed_membership_changes_no_agents(harness: AgentReplyHarness, content: Any) -> None:
    chat = await invited(harness, SCRIBE_GHOST)
    await member(harness, VARTA_GHOST, "invite")
    for state_key in ("", "@", SCRIBE_GHOST.upper(), "@agent_:city.localhost", "x" * 300, BOB):
        await harness.receive(chat, "m.room.member", content, sender=ALICE, state_key=state_key)
    assert await agents(harness, chat) == ["scribe", "varta"]


async def test_display_name_of_a_person_is_the_authors_name(harness: AgentReplyHarness) -> None:
    names = [{"type": "m.room.member", "state_key": ALICE, "content": {"displayname": "Аліса\n\u202e"}}]
    chat = await invited(harness, SCRIBE_GHOST, state=names)
    await harness.receive_text(chat, ALICE, "Привіт")
    await member(harness, BOB, "join", displayname="Боб")
    await harness.receive_text(chat, BOB, "І я")
    await member(harness, BOB, "join", before="join", displayname=["не", "ім'я"])
    await member(harness, BOB, "join", before="join", displayname="Богдан")
    await harness.receive_text(chat, BOB, "Знову")
    await harness.receive_text(chat, "@carol:city.localhost", "Хто тут?")
    assert [each.author.display_name for each in await harness.messages(chat.id)] == [
        "Аліса",
        "Боб",
        "Богдан",
        "@carol:city.localhost",
    ]


async def invited(harness: AgentReplyHarness, ghost: str, state: list[dict[str, Any]] | None = None) -> Room:
    """Invite the first agent, which opens the chat."""
    await member(harness, ghost, "invite", state=state or [])
    async with harness.database.read_only() as tx:
        chat = await tx.rooms.by_matrix_id(MatrixRoomId(ROOM))
    assert chat is not None
    return chat


async def member(
    harness: AgentReplyHarness,
    user: str,
    membership: str,
    *,
    before: str | None = None,
    state: list[dict[str, Any]] | None = None,
    **content: Any,
) -> None:
    """Handle a change of membership by Alice in the private room."""
    event: dict[str, Any] = {
        "type": "m.room.member",
        "room_id": ROOM,
        "event_id": f"${user}{membership}{before}",
        "sender": ALICE,
        "state_key": user,
        "origin_server_ts": 1,
        "content": {"membership": membership, **content},
        "unsigned": {"invite_room_state": state} | ({"prev_content": {"membership": before}} if before else {}),
    }
    async with harness.database.transaction() as tx:
        await harness.messaging.handlers().handle(tx, event)


async def agents(harness: AgentReplyHarness, chat: Room) -> list[AgentSlug]:
    async with harness.database.read_only() as tx:
        return await tx.direct_chats.agents(chat.id)


async def current(harness: AgentReplyHarness, chat: Room) -> Room:
    async with harness.database.read_only() as tx:
        found = await tx.rooms.get(chat.id)
    assert found is not None
    return found


async def due(harness: AgentReplyHarness) -> list[Invitation]:
    async with harness.database.read_only() as tx:
        return await tx.invitations.due(now_ms=LATER, limit=99)
