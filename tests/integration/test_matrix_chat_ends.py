"""Chats with an agent from a Matrix client: their ends, those that an earlier version linked, and joins of the own ghost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import delete, update

from daarion_appservice.city.types import CitizenId, RoomId, UserId
from daarion_appservice.clock import new_id
from daarion_appservice.storage.tables import membership_periods, rooms
from tests.parts.agent_replies import FakeOpenIdTokens
from tests.parts.matrix_chat import (
    ALICE,
    BOB,
    OKSANA,
    OKSANA_GHOST,
    SCRIBE,
    TARAS,
    MatrixChat,
    deliver,
    is_hidden,
    matrix_chat,
    outbox,
)
from tests.parts.presence_socket import connected, until
from tests.parts.scripted_homeserver import Reply


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[MatrixChat]:
    async with matrix_chat(database_url) as chat:
        yield chat


async def close_by_handler(chat: MatrixChat) -> None:
    await chat.member(SCRIBE, "leave", ALICE)


async def close_by_reconciler(chat: MatrixChat) -> None:
    async with chat.city.city.database.read_only() as tx:
        room = await tx.rooms.get(await chat.id())
    assert room is not None
    await chat.city.city.direct_chats._close(room)


@pytest.mark.parametrize("close", [close_by_handler, close_by_reconciler])
async def test_ghost_leaves_with_the_last_agent(
    chat: MatrixChat, close: Callable[[MatrixChat], Awaitable[None]]
) -> None:
    await chat.link()
    await chat.post("з міста")
    await deliver(chat)
    await close(chat)
    assert await outbox(chat) == [("leave", OKSANA_GHOST)]
    await deliver(chat)
    assert [each.user for each in chat.homeserver.all("leave")] == [OKSANA_GHOST]
    assert await outbox(chat) == []


@pytest.mark.parametrize(
    ("event_type", "content"), [("m.room.member", {"membership": "leave"}), ("m.room.power_levels", {"invite": 50})]
)
async def test_state_does_not_open_a_closed_chat(chat: MatrixChat, event_type: str, content: dict[str, Any]) -> None:
    await chat.member(SCRIBE, "leave", ALICE)
    await chat.receive(event_type, content, state_key=BOB if "membership" in content else "")
    async with chat.city.city.database.read_only() as tx:
        assert await tx.direct_chats.pending() == []


async def test_change_of_a_chat_counts_for_its_readers_alone(chat: MatrixChat) -> None:
    await chat.link()
    unread = chat.city.city.unread_stream
    async with connected(chat.city, "?unread=1", TARAS), connected(chat.city, "?unread=1", OKSANA):
        await until(lambda: len(unread._readers) == 2 and not any(each.is_stale for each in unread._readers.values()))
        async with chat.city.city.database.transaction() as tx:
            await tx.direct_chats.mark_pending(await chat.id())
        counted: list[str] = []
        count = unread._count

        async def noted(reader: Any) -> None:
            counted.append(reader.citizen.id)
            await count(reader)

        unread._count = noted  # type: ignore[method-assign]
        await chat.reconcile()
        await until(lambda: bool(counted))
        await until(lambda: not unread._touched)
    assert counted == ["u_1"]


@pytest.fixture
async def chat_of_earlier_version(chat: MatrixChat) -> MatrixChat:
    """The chat as a service linked it that recorded neither members nor power levels."""
    async with chat.city.city.database.transaction() as tx:
        await tx.connection.execute(delete(membership_periods))
        await tx.connection.execute(update(rooms).where(rooms.c.agent.is_not(None)).values(power_levels="{}"))
    return chat


async def is_pending(chat: MatrixChat) -> bool:
    async with chat.city.city.database.read_only() as tx:
        return [each.id for each in await tx.direct_chats.pending()] == [await chat.id()]


async def test_chat_of_earlier_version_is_shown_after_a_start(chat_of_earlier_version: MatrixChat) -> None:
    chat, reconciler = chat_of_earlier_version, chat_of_earlier_version.city.city.direct_chats
    async with asyncio.TaskGroup() as tasks:
        await reconciler._start_due(tasks)
    assert not await is_pending(chat), "nobody reads it"
    await chat.link()
    assert await is_hidden(chat, OKSANA)
    reconciler._read_again = RoomId("")
    chat.homeserver.next("members", Reply(200, {"joined": {ALICE: {}, SCRIBE: {}}}))
    for _ in range(3):
        async with asyncio.TaskGroup() as tasks:
            await reconciler._start_due(tasks)
    assert reconciler._read_again is None
    assert await chat.read() == ["Привіт"]


@pytest.mark.parametrize("is_sign_in", [False, True])
async def test_chat_of_earlier_version_is_read_after_a_link(
    chat_of_earlier_version: MatrixChat, *, is_sign_in: bool
) -> None:
    chat, accounts = chat_of_earlier_version, chat_of_earlier_version.city.city.accounts

    async def link(user: str, citizen: str) -> None:
        token, name = f"{new_id()} {user}", CitizenId(citizen)
        if is_sign_in:
            await accounts.sign_in(token, "city.localhost", None, name)
        else:
            await accounts.link(name, token, "city.localhost", None)

    accounts._check, accounts._nonces._is_required = FakeOpenIdTokens(), False
    await link(BOB, "u_2")
    assert not await is_pending(chat)
    await link(ALICE, "u_1")
    assert await is_pending(chat)
    await chat.reconcile()
    assert await chat.read() == ["Привіт"]
    await link(ALICE, "u_1")
    assert not await is_pending(chat), "it was read"


async def test_chat_to_check_again_is_no_pending_invitation(chat: MatrixChat) -> None:
    other = "!new:city.localhost"
    async with chat.city.city.database.transaction() as tx:
        await tx.direct_chats.mark_pending(await chat.id())
        assert await tx.direct_chats.count_pending(UserId(ALICE)) == 0, "it was accepted"
    await chat.receive("m.room.member", {"membership": "invite"}, state_key=SCRIBE, room_id=other)
    async with chat.city.city.database.read_only() as tx:
        assert await tx.direct_chats.count_pending(UserId(ALICE)) == 1


async def test_own_ghost_hides_no_history_from_the_agent(chat: MatrixChat) -> None:
    """In a chat whose later members do not read its past, the agent remembers only what came after the newest join."""
    await chat.link()

    async def newest_join() -> int:
        async with chat.city.city.database.read_only() as tx:
            return await tx.membership_periods.newest_join(await chat.id())

    before = await newest_join()
    await chat.post("з міста")
    await deliver(chat)
    async with chat.city.city.database.read_only() as tx:
        assert await tx.membership_periods.is_joined(await chat.id(), UserId(OKSANA_GHOST))
    assert await newest_join() == before
    await chat.member(BOB, "join")
    assert await newest_join() > before
