"""What is unread in chats with an agent that a linked person has from a Matrix client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.parts.matrix_chat import ALICE, BOB, OKSANA, MatrixChat, matrix_chat
from tests.parts.presence_socket import connected, until


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[MatrixChat]:
    async with matrix_chat(database_url) as chat:
        yield chat


async def test_answers_count_as_unread_until_read(chat: MatrixChat) -> None:
    await chat.link()
    posted = await chat.post("Нагадай", await chat.city.agent_token("scribe"))
    (listed,) = await chat.listed()
    assert (listed["unread"], listed["mentions"], listed["joined"]) == (1, 1, True)
    read = f"/city/rooms/{await chat.id()}/read"
    answer = await chat.city.call("PUT", read, {"message_id": posted.content["id"]}, token=OKSANA)
    assert answer.status == 204
    (listed,) = await chat.listed()
    assert (listed["unread"], listed["mentions"]) == (0, 0)


async def test_first_message_after_the_join_is_unread(chat: MatrixChat) -> None:
    await chat.link()
    await chat.member(ALICE, "leave")
    await chat.member(ALICE, "join")
    await chat.reconcile()
    await chat.post("Нагадай", await chat.city.agent_token("scribe"))
    (listed,) = await chat.listed()
    assert (listed["unread"], listed["mentions"]) == (1, 1)
    async with chat.city.city.database.read_only() as tx:
        assert [each.room for each in await tx.chat_receipts.unread(since_ms=0)] == [listed["id"]]


async def test_own_message_on_matrix_reads_the_chat(chat: MatrixChat) -> None:
    await chat.link()
    await chat.post("Нагадай", await chat.city.agent_token("scribe"))
    await chat.say("Дякую")
    assert (await chat.listed())[0]["unread"] == 0


async def test_unread_stream_tells_of_the_chat(chat: MatrixChat) -> None:
    await chat.link()
    room = await chat.id()
    agent = await chat.city.agent_token("scribe")
    async with connected(chat.city, "?unread=1&rooms=1", OKSANA) as socket:
        await chat.post("Нагадую", agent)

        def told() -> list[Any]:
            found = [each for event in socket.events if event["event"] == "city.unread" for each in event["rooms"]]
            return [each for each in found if each["room_id"] == room]

        await until(lambda: any(each["unread"] == 1 for each in told()))
        assert told()[-1]["last_message"]["text"] == "Нагадую"
        await chat.member(ALICE, "leave")
        await until(lambda: told()[-1]["unread"] == 0)
        await chat.post("після виходу", agent)
        await chat.member(BOB, "join")
        assert "після виходу" not in str(socket.events)
        assert room not in str([event for event in socket.events if event["event"] == "city.rooms.updated"])
