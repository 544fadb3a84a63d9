"""Redactions from the pages of what a linked person sent on Matrix in a chat: by the agent, where its level allows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import pytest

from tests.parts.in_process_city import HttpResponse
from tests.parts.matrix_chat import ALICE, OKSANA, OKSANA_GHOST, SCRIBE, MatrixChat, deliver, matrix_chat

PRIVATE: Final = {"users": {ALICE: 100}}
"""The power levels of the preset ``private_chat``."""
TRUSTED: Final = {"users": {ALICE: 100, SCRIBE: 100}}
POLL: Final = {
    "org.matrix.msc3381.poll.start": {
        "question": {"org.matrix.msc1767.text": "Коли?"},
        "kind": "org.matrix.msc3381.poll.disclosed",
        "max_selections": 1,
        "answers": [{"id": str(number), "org.matrix.msc1767.text": str(number)} for number in range(2)],
    }
}


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[MatrixChat]:
    async with matrix_chat(database_url) as chat:
        await chat.link()
        yield chat


async def call(chat: MatrixChat, method: str, path: str) -> HttpResponse:
    return await chat.city.call(method, f"/city/rooms/{await chat.id()}/messages/{path}", token=OKSANA)


async def first(chat: MatrixChat) -> Any:
    return (await chat.get()).content[0]


async def react_on_matrix(chat: MatrixChat) -> str:
    """Alice reacts on Matrix to the first message; returns the path of the reaction."""
    relation = {"rel_type": "m.annotation", "event_id": "$2", "key": "👍"}
    assert (await first(chat))["matrix_event_id"] == "$2"
    await chat.receive("m.reaction", {"m.relates_to": relation})
    message = await first(chat)
    assert [each["count"] for each in message["reactions"]] == [1]
    return f"{message['id']}/reactions/{quote('👍')}"


async def test_reaction_on_matrix_is_removed_by_agent(chat: MatrixChat) -> None:
    await chat.set_state("m.room.power_levels", TRUSTED)
    assert (await call(chat, "DELETE", await react_on_matrix(chat))).status == 200
    await deliver(chat)
    assert [each.user for each in chat.homeserver.all("redact")] == [SCRIBE]


async def test_reaction_on_matrix_stays_where_agent_may_not_redact(chat: MatrixChat) -> None:
    await chat.set_state("m.room.power_levels", PRIVATE)
    path = await react_on_matrix(chat)
    refused = await call(chat, "DELETE", path)
    assert (refused.status, refused.content["code"]) == (409, "sent_on_matrix")
    assert [each["count"] for each in (await first(chat))["reactions"]] == [1]
    await deliver(chat)
    assert chat.homeserver.all("redact") == []


async def test_reaction_from_pages_is_removed_by_ghost(chat: MatrixChat) -> None:
    await chat.set_state("m.room.power_levels", PRIVATE)
    path = f"{(await first(chat))['id']}/reactions/{quote('🌻')}"
    for method in ("PUT", "DELETE"):
        assert (await call(chat, method, path)).status == 200
        await deliver(chat)
    assert [each.user for each in chat.homeserver.all("redact")] == [OKSANA_GHOST]
    assert (await call(chat, "DELETE", path)).status == 200, "a missing reaction changes nothing"


@pytest.mark.parametrize(("levels", "status"), [(TRUSTED, 200), (PRIVATE, 409)])
async def test_message_on_matrix_is_deleted_where_agent_may_redact(
    chat: MatrixChat, levels: dict[str, Any], status: int
) -> None:
    await chat.set_state("m.room.power_levels", levels)
    answer = await call(chat, "DELETE", (await first(chat))["id"])
    assert answer.status == status
    await deliver(chat)
    assert [each.user for each in chat.homeserver.all("redact")] == ([SCRIBE] if status == 200 else [])
    assert (await first(chat))["deleted"] is (status == 200)


@pytest.mark.parametrize(("levels", "status"), [(TRUSTED, 200), (PRIVATE, 409)])
async def test_poll_on_matrix_ends_where_agent_may_redact(
    chat: MatrixChat, levels: dict[str, Any], status: int
) -> None:
    await chat.set_state("m.room.power_levels", levels)
    await chat.receive("org.matrix.msc3381.poll.start", POLL)
    poll = (await chat.get()).content[-1]
    assert poll["poll"] is not None
    answer = await call(chat, "POST", f"{poll['id']}/end")
    assert answer.status == status, answer
