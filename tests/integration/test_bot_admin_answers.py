"""The bot's answers to the commands of admins: who gets them, where, what they contain and what ``retry`` does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.city.bot_commands import ADMIN_COMMANDS, BotCommand, Language
from daarion_appservice.city.online_members import OnlineMembers
from daarion_appservice.city.presence import Status
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    Delivery,
    EventId,
    MatrixRoomId,
    Message,
    MessageId,
    OutboxKind,
    UserId,
)
from daarion_appservice.matrix.client.inbox_events import inbox_event
from daarion_appservice.matrix.reconcile.bot_admin_answers import BotAdminAnswers
from daarion_appservice.matrix.reconcile.bot_answers import BotAnswers
from daarion_appservice.storage.bot_chats import BotChat, BotRequest
from tests.parts.agent_replies import GENERAL, SCRIBE, AgentReplyHarness, open_agent_replies
from tests.parts.messaging import IDENTITIES

ADMIN = UserId("@olena:city.localhost")
ALICE = UserId("@alice:city.localhost")
ROOM = MatrixRoomId("!bot:city.localhost")


@pytest.fixture
async def forum(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    async with open_agent_replies(database_url, monkeypatch) as forum:
        await put_chat(forum)
        yield forum


@pytest.mark.parametrize("command", sorted(ADMIN_COMMANDS))
@pytest.mark.parametrize("asker", [ALICE, UserId("@olena:evil.example"), UserId("@OLENA:city.localhost")])
async def test_admin_commands_of_others_are_refused(
    forum: AgentReplyHarness, command: BotCommand, asker: UserId
) -> None:
    await give_up_one_of_each(forum)
    assert (
        await answer(forum, command, asker) == "You may not do that:\n- only the admins of the city may (city.admins)"
    )
    assert "недоступно" in await answer(forum, command, asker, Language.UK)
    assert await given_up(forum) == (1, 1)


@pytest.mark.parametrize("command", sorted(ADMIN_COMMANDS))
async def test_admin_commands_in_company_are_refused(forum: AgentReplyHarness, command: BotCommand) -> None:
    await give_up_one_of_each(forum)
    await put_chat(forum, is_group=True)
    assert "in a chat with nobody else" in await answer(forum, command, ADMIN)
    assert await given_up(forum) == (1, 1)


async def test_help_names_admin_commands_to_admins(forum: AgentReplyHarness) -> None:
    for_admin, for_alice = [await answer(forum, BotCommand.HELP, asker) for asker in (ADMIN, ALICE)]
    assert "retry: " in for_admin
    assert for_admin.endswith("Українською: допомога, кімнати, агенти, хто")
    assert "retry" not in for_alice


async def test_status_counts_rooms_agents_and_queues(forum: AgentReplyHarness) -> None:
    await give_up_one_of_each(forum)
    await forum.set_presence(SCRIBE, status=Status.OFFLINE)
    lines = (await answer(forum, BotCommand.STATUS, ADMIN)).splitlines()
    assert lines[0] == "Status:"
    assert "- events from Matrix: 0 waiting, 1 given up" in lines
    assert "- messages to Matrix: 0 waiting, 1 given up" in lines
    assert "- agents: 2 of 3 online" in lines
    assert "- parts with a problem: disk" in lines
    assert "чекають" in await answer(forum, BotCommand.STATUS, ADMIN, Language.UK)


async def test_doctor_lists_parts_that_do_not_work(forum: AgentReplyHarness) -> None:
    text = await answer(forum, BotCommand.DOCTOR, ADMIN)
    assert text.splitlines()[:2] == ["Does not work:", "- disk: 1 MB is free"]
    assert "database" not in text
    healthy = await answer(forum, BotCommand.DOCTOR, ADMIN, problem="ok")
    assert "all parts work" in healthy


async def test_retry_moves_what_was_given_up(forum: AgentReplyHarness) -> None:
    await give_up_one_of_each(forum)
    async with forum.database.read_only() as tx:
        before = (await tx.key_values.registry_changes()).version
    assert await answer(forum, BotCommand.RETRY, ADMIN) == (
        "Retried:\n- events from Matrix: 1\n- messages to Matrix: 1"
    )
    assert await given_up(forum) == (0, 0)
    async with forum.database.read_only() as tx:
        assert (await tx.key_values.registry_changes()).version > before, "other processes do not notice"


async def answer(
    forum: AgentReplyHarness,
    command: BotCommand,
    asker: UserId,
    language: Language = Language.EN,
    problem: str = "1 MB\nis free",
) -> str:
    async def part_texts() -> dict[str, str]:
        return {"database": "ok", "disk": problem}

    agents = forum.messaging.agents
    admins = BotAdminAnswers(
        forum.database, agents, forum.presence, frozenset({ADMIN}), part_texts, lambda: 1_800_000_000_000
    )
    answers = BotAnswers(forum.database, agents, forum.presence, OnlineMembers(), IDENTITIES, admins)
    content = await answers.content(BotRequest(EventId("$1"), ROOM, asker, command, language, 0))
    assert content["msgtype"] == "m.notice"
    return str(content["body"])


async def put_chat(forum: AgentReplyHarness, *, is_group: bool = False) -> None:
    async with forum.database.transaction() as tx:
        await tx.bot_chats.put(BotChat(ROOM, ADMIN, is_checked=True, is_group=is_group))


async def give_up_one_of_each(forum: AgentReplyHarness) -> None:
    """Store a dead letter and a message whose delivery failed."""
    author = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
    async with forum.database.transaction() as tx:
        (seq,), _ = await tx.rooms.next_seqs(GENERAL, 1)
        message = Message(MessageId("m1"), GENERAL, seq, author, "text", 1, delivery=Delivery.PENDING)
        await tx.messages.add(message)
        await tx.outbox.add(OutboxKind.MESSAGE, message.id, GENERAL, txn_id=message.id)
        (delivery,) = [row for row in await tx.outbox.waiting(limit=99) if row.message_id == message.id]
        await tx.outbox.record_failure(delivery.id, "403", retry_at_ms=None)
        await tx.messages.mark_failed(message.id, "403")
        await tx.inbox.add([inbox_event({"event_id": "$dead", "room_id": "!r"})], now_ms=1)
        for row in await tx.inbox.waiting(after_id=0, limit=9):
            await tx.inbox.record_failure(row, "KeyError", retry_at_ms=None)


async def given_up(forum: AgentReplyHarness) -> tuple[int, int]:
    """Return the numbers of dead letters and of failed deliveries."""
    async with forum.database.read_only() as tx:
        return len(await tx.inbox.dead_letters()), len(await tx.outbox.undelivered(is_failed=True))
