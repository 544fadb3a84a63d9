"""Pages of ``GET /city/direct``, over chats opened in the city and in a Matrix client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.types import Author, AuthorKind, CitizenId
from tests.parts.matrix_chat import MatrixChat, matrix_chat
from tests.parts.private_room import OKSANA

OTHERS = [f"u_{number}" for number in range(11, 16)]


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[MatrixChat]:
    """Six chats of Oksana: five with citizens, and one that her account opened on Matrix, which is the third newest."""
    async with matrix_chat(database_url) as chat:
        await chat.reconcile()
        await chat.link()
        for other in OTHERS:
            await chat.city.city.citizen_names.record(CitizenId(other), f"Name {other}")
            await open_chat(chat, f"citizen:{other}")
        for slug in (*OTHERS[2:], "matrix", *OTHERS[:2]):
            if slug == "matrix":
                await chat.say("on Matrix", origin_server_ts=0)
            else:
                room = (await open_chat(chat, f"citizen:{slug}", 200))["id"]
                posted = await chat.city.call("POST", f"/city/rooms/{room}/messages", {"body": slug}, token=OKSANA)
                assert posted.status == 201
        yield chat


async def open_chat(chat: MatrixChat, other: str, status: int = 201) -> dict[str, Any]:
    answer = await chat.city.call("POST", "/city/direct", {"with": other}, token=OKSANA)
    assert answer.status == status, answer
    content: dict[str, Any] = answer.content
    return content


async def subjects(chat: MatrixChat, query: str) -> list[str]:
    return [each["subject"] for each in await chat.city.get(f"/city/direct{query}", token=OKSANA)]


async def test_pages_are_parts_of_the_list(chat: MatrixChat) -> None:
    whole = await subjects(chat, "")
    assert sorted(whole) == sorted([*OTHERS, "agent:scribe"])
    for size in (1, 2, 4, 6, 100):
        parts = [await subjects(chat, f"?limit={size}&offset={offset}") for offset in range(0, len(whole) + 1, size)]
        assert [each for part in parts for each in part] == whole
        assert all(len(part) <= size for part in parts)
    assert await subjects(chat, "?offset=6") == []
    assert [each["opened_on_matrix"] for each in await chat.listed()].count(True) == 1


@pytest.mark.parametrize("query", ["?limit=0", "?limit=501", "?offset=-1", "?limit=x"])
async def test_invalid_page_is_422(chat: MatrixChat, query: str) -> None:
    answer = await chat.city.call("GET", f"/city/direct{query}", token=OKSANA)
    assert (answer.status, answer.content["code"]) == (422, "invalid")


async def test_default_page_has_100_chats(chat: MatrixChat) -> None:
    for number in range(100):
        await chat.city.city.citizen_names.record(CitizenId(f"v_{number}"), "other")
        await chat.city.city.citizen_chats.open(Author(AuthorKind.CITIZEN, "u_1", "Оксана"), CitizenId(f"v_{number}"))
    assert len(await chat.listed()) == 100
    assert len(await subjects(chat, "?limit=500")) == 106


async def test_chat_outside_of_first_page_is_found_again(chat: MatrixChat) -> None:
    whole = await subjects(chat, "")
    oldest = whole[-1]
    known = await open_chat(chat, f"citizen:{oldest}", 200)
    assert known["subject"] == oldest
    on_matrix = await open_chat(chat, "agent:scribe", 200)
    assert on_matrix["opened_on_matrix"] is True
