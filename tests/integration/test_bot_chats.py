"""The bot's chats: which invitations it accepts, which messages it answers, and what the answers contain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.bot_commands import BotCommand, Language
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.types import (
    EventId,
    HistoryVisibility,
    MatrixRoomId,
    Member,
    RoomId,
    UserId,
    user_subject,
)
from daarion_appservice.matrix.reconcile.bot_admin_answers import BotAdminAnswers
from daarion_appservice.matrix.reconcile.bot_answers import BotAnswers
from daarion_appservice.storage.bot_chats import BotChat, BotRequest
from tests.parts.agent_replies import GENERAL, LATER, AgentReplyHarness, open_agent_replies
from tests.parts.messaging import IDENTITIES

ALICE = UserId("@alice:city.localhost")
BOT = IDENTITIES.bot
ROOM = MatrixRoomId("!bot:city.localhost")


@pytest.fixture
async def forum(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    async with open_agent_replies(database_url, monkeypatch) as forum:
        yield forum


async def test_direct_invitation_is_accepted_with_help(forum: AgentReplyHarness) -> None:
    await event(forum, "m.room.member", {"membership": "invite", "is_direct": True}, state_key=BOT)
    async with forum.database.read_only() as tx:
        assert await tx.bot_chats.unchecked(limit=9) == [BotChat(ROOM, ALICE)]
        assert await tx.invitations.due(now_ms=LATER, limit=9) == []
        assert await tx.bot_chats.due(now_ms=LATER, limit=9) == [], "it has not joined yet"
    await join(forum)
    assert await commands(forum) == [BotCommand.HELP]


async def test_other_invitations_are_not_accepted(forum: AgentReplyHarness) -> None:
    values: list[Any] = [False, None, 1, "true", {}]
    for number, direct in enumerate(values):
        content = {"membership": "invite", "is_direct": direct}
        await event(forum, "m.room.member", content, state_key=BOT, room=f"!r{number}")
    async with forum.database.read_only() as tx:
        assert await tx.bot_chats.unchecked(limit=9) == []
        assert len(await tx.invitations.due(now_ms=LATER, limit=9)) == 5


async def test_bot_ignores_notices_edits_and_malformed(forum: AgentReplyHarness) -> None:
    await join(forum)
    contents: list[Any] = [
        {"msgtype": "m.notice", "body": "help"},
        {"msgtype": "m.text", "body": " "},
        {"msgtype": "m.text", "body": 7},
        {"msgtype": "m.text"},
        {"msgtype": "m.text", "body": "* help", "m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}},
        [],
    ]
    for content in contents:
        await event(forum, "m.room.message", content)
    await event(forum, "m.room.message", {"msgtype": "m.text", "body": "help"}, sender="@agent_scribe:city.localhost")
    assert await commands(forum) == []


async def test_bot_in_company_answers_mentions_only(forum: AgentReplyHarness) -> None:
    await join(forum, is_group=True)
    for content in (
        {"body": "rooms"},
        {"body": "rooms", "m.mentions": {"user_ids": BOT}},
        {"body": "rooms", "m.mentions": []},
        {"body": "agents", "m.mentions": {"user_ids": [BOT]}},
        {"body": f"{BOT}: who"},
        {"body": f"{BOT}extra who"},
    ):
        await event(forum, "m.room.message", {"msgtype": "m.text", **content})
    assert await commands(forum) == [BotCommand.AGENTS, BotCommand.WHO]


async def test_commands_are_limited_per_minute(forum: AgentReplyHarness) -> None:
    await join(forum)
    for _ in range(15):
        await event(forum, "m.room.message", {"msgtype": "m.text", "body": "help"})
    assert len(await commands(forum)) == 10


async def test_repeated_event_runs_one_command(forum: AgentReplyHarness) -> None:
    await join(forum)
    for _ in range(3):
        await event(forum, "m.room.message", {"msgtype": "m.text", "body": "who"}, event_id="$same")
        await event(forum, "m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2"})
    assert sorted(await commands(forum)) == [BotCommand.ENCRYPTED, BotCommand.WHO]


async def test_answers_name_only_what_the_asker_may_know(forum: AgentReplyHarness) -> None:
    members = OnlineMembers()
    async with forum.database.transaction() as tx:
        general = await tx.rooms.get(GENERAL)
        assert general is not None
        await tx.rooms.change(replace(general, name="<b>Майдан</b>", description="Усе & про все"))
        secret = replace(general, id=RoomId("city_secret"), slug="secret", name="Схованка", is_default=False)
        await tx.rooms.add(secret, created_by=None)
        await tx.rooms.set_rules(
            secret.id, join_rule="invite", history_visibility=HistoryVisibility.JOINED, power_levels="{}"
        )
        for room, user, name in ((GENERAL, ALICE, "Аліса"), (secret.id, UserId("@spy:x.example"), "Шпигун")):
            await tx.members.put([Member(room, user, name)])
            members.add_membership(room, user_subject(user))
            members.set_online(user_subject(user))
    agents = forum.messaging.agents
    admins = BotAdminAnswers(forum.database, agents, forum.presence, frozenset(), no_problems, lambda: LATER)
    answers = BotAnswers(forum.database, agents, forum.presence, members, IDENTITIES, admins)
    request = BotRequest(EventId("$1"), ROOM, ALICE, BotCommand.ROOMS, Language.UK, 0)
    rooms = await answers.content(request)
    assert "Майдан</b> (#city_general:city.localhost): Усе & про все (1 онлайн)" in rooms["body"]
    assert "&lt;b&gt;Майдан&lt;/b&gt;" in rooms["formatted_body"]
    who = await answers.content(replace(request, command=BotCommand.WHO))
    assert "Аліса" in who["body"]
    named = await answers.content(replace(request, command=BotCommand.AGENTS, language=Language.EN))
    assert "Писар (@agent_scribe:city.localhost): online" in named["body"]
    for each in (rooms, who, named):
        assert each["msgtype"] == "m.notice"
        assert "Схованка" not in str(each)
        assert "Шпигун" not in str(each)


async def no_problems() -> dict[str, str]:
    return {}


async def join(forum: AgentReplyHarness, *, is_group: bool = False) -> None:
    async with forum.database.transaction() as tx:
        await tx.bot_chats.put(BotChat(ROOM, ALICE, is_checked=True, is_group=is_group))


async def commands(forum: AgentReplyHarness) -> list[BotCommand]:
    async with forum.database.read_only() as tx:
        return [each.command for each in await tx.bot_chats.due(now_ms=LATER, limit=99)]


_COUNT = iter(range(1_000_000))


async def event(
    forum: AgentReplyHarness,
    event_type: str,
    content: Any,
    *,
    sender: str = ALICE,
    state_key: str | None = None,
    room: str = ROOM,
    event_id: str = "",
) -> None:
    """Handle an event of the bot's room."""
    raw: dict[str, Any] = {
        "type": event_type,
        "room_id": room,
        "event_id": event_id or f"${next(_COUNT):06}",
        "sender": sender,
        "origin_server_ts": 1,
        "content": content,
    }
    raw |= {} if state_key is None else {"state_key": state_key}
    async with forum.database.transaction() as tx:
        await forum.messaging.handlers().handle(tx, raw)
