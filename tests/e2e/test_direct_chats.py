"""Somebody in Element writes to an agent: invites it, is answered, and is told when it cannot read."""

from __future__ import annotations

from typing import Any

import nio
import pytest

from daarion_appservice.city.types import MatrixRoomId
from daarion_appservice.storage.database import Database
from tests.parts.agents_core import BadCore, says
from tests.parts.city import RunningCity, StartCity, eventually
from tests.parts.person import Arrive, Person

DAARWIZZ = "@agent_daarwizz:city.localhost"


async def chat_with(person: Person, agent: str, *, encrypted: bool = False) -> str:
    """As Element opens a direct chat."""
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    answer = await person.client.room_create(
        is_direct=True,
        invite=[agent],
        preset=nio.RoomPreset.trusted_private_chat,
        initial_state=[encryption] if encrypted else [],
    )
    assert isinstance(answer, nio.RoomCreateResponse), answer
    return str(answer.room_id)


@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)], indirect=True)
async def test_a_direct_chat_with_an_agent(start_city: StartCity, arrive: Arrive) -> None:
    async with BadCore().serving() as core:
        city = await start_city(settings={"agents_core.url": core.url})
        alice = await arrive(city, "alice")
        await city.post("/api/v1/agents/daarwizz/heartbeat", token=await city.agent_token("daarwizz"))

        core.next(says("Вітаю!"), says("Авжеж"))
        room = await chat_with(alice, DAARWIZZ)
        # Before the ghost is there to hear it.
        await alice.say(room, "Привіт")
        answer = await alice.sees_event(_said_by(DAARWIZZ, "Вітаю!"))
        assert answer["room_id"] == room
        await alice.say(room, "Пам'ятаєш мене?")
        await alice.sees_event(_said_by(DAARWIZZ, "Авжеж"))
        assert [DAARWIZZ] in alice.typing
        assert [asked.content["input"] for asked in core.asked] == ["Привіт", "Пам'ятаєш мене?"]
        assert core.asked[1].content["context"] == {
            "kind": "direct",
            "user_id": "@alice:city.localhost",
            "room": None,
            "history": [{"role": "user", "content": "Привіт"}, {"role": "assistant", "content": "Вітаю!"}],
        }

        # Nobody else sees any of it.
        assert {each["slug"] for each in await city.get("/city/rooms")} == {"general", "welcome", "builders"}
        feed = await city.get("/city/feed")
        assert not [entry for entry in feed if "Привіт" in str(entry) or "Вітаю" in str(entry)]

        secret = await chat_with(alice, DAARWIZZ, encrypted=True)
        notice = await alice.sees_event(lambda event: event["room_id"] == secret and event["type"] == "m.room.message")
        assert notice["content"]["msgtype"] == "m.notice"
        assert "cannot read encrypted chats" in notice["content"]["body"]

        await alice.client.room_leave(room)

        await eventually(lambda: _is_closed(city, room))


async def _is_closed(city: RunningCity, room: str) -> bool:
    """Whether the agent counts its chat as over."""
    database = Database(city.database_url)
    try:
        async with database.reading() as tx:
            chat = await tx.rooms.by_matrix_id(MatrixRoomId(room))
            return chat is not None and chat.archived
    finally:
        await database.close()


def _said_by(user: str, body: str) -> Any:
    return lambda event: event["sender"] == user and event["content"].get("body") == body
