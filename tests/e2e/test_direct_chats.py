"""Direct chats of Matrix users with agents: invitations, replies, and the notice about encrypted chats."""

from __future__ import annotations

import asyncio
from typing import Any

import nio
import pytest

from daarion_appservice.city.types import MatrixRoomId
from daarion_appservice.storage.database import Database
from tests.parts.agents_core import ScriptedCore, after, begins_slowly, says
from tests.parts.city import LONG_PRESENCE, RunningCity, StartCity, citizen_token, eventually
from tests.parts.matrix_user import Arrive, MatrixUser

pytestmark = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)], indirect=True
)

DAARWIZZ = "@agent_daarwizz:city.localhost"
SCRIBE = "@agent_scribe:city.localhost"
SECOND_ME = "@agent_second_me:city.localhost"


async def chat_with(person: MatrixUser, agent: str, *, encrypted: bool = False) -> str:
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


async def test_a_direct_chat_with_an_agent(start_city: StartCity, arrive: Arrive) -> None:
    async with ScriptedCore().serving() as core:
        city = await start_city(settings=LONG_PRESENCE | {"agents_core.url": core.url, "encryption.enabled": False})
        alice = await arrive(city, "alice")
        await city.post("/api/v1/agents/daarwizz/heartbeat", token=await city.agent_token("daarwizz"))

        gate = asyncio.Event()
        core.next(says("Вітаю!"), after(gate, says("Авжеж")))
        room = await chat_with(alice, DAARWIZZ)
        # Before the ghost is there to hear it.
        await alice.send_text(room, "Привіт")
        answer = await alice.wait_for_event(_said_by(DAARWIZZ, "Вітаю!"))
        assert answer["room_id"] == room
        await alice.send_text(room, "Пам'ятаєш мене?")
        await alice.wait_for(lambda: alice.typing[-1:] == [[DAARWIZZ]])
        gate.set()
        await alice.wait_for_event(_said_by(DAARWIZZ, "Авжеж"))
        assert [received.content["input"] for received in core.requests] == ["Привіт", "Пам'ятаєш мене?"]
        assert core.requests[1].content["context"] == {
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
        notice = await alice.wait_for_event(
            lambda event: event["room_id"] == secret and event["type"] == "m.room.message"
        )
        assert notice["content"]["msgtype"] == "m.notice"
        assert "cannot read encrypted chats" in notice["content"]["body"]

        await alice.client.room_leave(room)

        await eventually(lambda: _is_closed(city, room))


async def test_direct_chat_error_posts_notice_and_ends_chat(start_city: StartCity, arrive: Arrive) -> None:
    """The core breaks off, the ghost is muted, put out while it comes, or the room becomes the city's."""
    async with ScriptedCore().serving() as core:
        city = await start_city(settings=LONG_PRESENCE | {"agents_core.url": core.url})
        alice = await arrive(city, "alice")
        await city.post("/api/v1/agents/daarwizz/heartbeat", token=await city.agent_token("daarwizz"))

        room = await chat_with(alice, DAARWIZZ)
        gate = asyncio.Event()
        core.next(begins_slowly(gate, "Отже, "), says("Так"))
        await alice.send_text(room, "Розкажи казку")
        begun = await alice.wait_for_event(lambda event: event["content"].get("body", "").startswith("Отже"))
        gate.set()
        notice = await alice.wait_for_event(lambda event: event["content"].get("msgtype") == "m.notice")
        assert "помилка ядра агентів" in notice["content"]["body"]
        await alice.wait_for_event(
            lambda event: event["type"] == "m.room.redaction" and _redacted(event) == begun["event_id"]
        )
        await alice.send_text(room, "Ти ще тут?")
        await alice.wait_for_event(_said_by(DAARWIZZ, "Так"))

        # Put out of an encrypted room as soon as it is there.
        for _ in range(3):
            secret = await chat_with(alice, DAARWIZZ, encrypted=True)
            await alice.wait_for_event(_comes_into(secret))
            await alice.client.room_kick(secret, DAARWIZZ)

        # Muted, it is not tried for ever.
        muted = {"events_default": 50, "users": {alice.client.user_id: 100}}
        await alice.client.room_put_state(room, "m.room.power_levels", muted)
        await alice.send_text(room, "А тепер?")

        async def is_given_up() -> bool:
            return await _unsent(city) == 0 and len(core.requests) == 3

        await eventually(is_given_up, explain=lambda: "\n".join(city.service.last_lines(20)))

        # Somebody else's chat goes on.
        bob = await arrive(city, "bob")
        other = await chat_with(bob, DAARWIZZ)
        # Some of it before the ghost is there to hear it, and some after.
        bodies = [f"По-{number}" for number in range(5)]
        for body in bodies:
            await bob.send_text(other, body)

        async def all_was_asked() -> bool:
            return [received.content["input"] for received in core.requests[3:]] == bodies

        await eventually(all_was_asked, explain=lambda: str([received.content["input"] for received in core.requests]))


def _comes_into(room: str) -> Any:
    return lambda event: (
        (event["room_id"], event.get("state_key")) == (room, DAARWIZZ) and event["content"]["membership"] == "join"
    )


async def _unsent(city: RunningCity) -> int:
    database = Database(city.database_url)
    try:
        async with database.read_only() as tx:
            return len(await tx.outbox.waiting(limit=99))
    finally:
        await database.close()


def _redacted(event: dict[str, Any]) -> str:
    return str(event.get("redacts") or event["content"].get("redacts"))


async def test_second_me_shares_memory_of_chat_and_city(start_city: StartCity, arrive: Arrive) -> None:
    async with ScriptedCore().serving() as core:
        city = await start_city(settings=LONG_PRESENCE | {"agents_core.url": core.url})
        alice = await arrive(city, "alice")
        token = citizen_token("u_1", "Аліса")
        core.next(says("Так"), says("Канни"), says("Еге ж"))
        chat = await chat_with(alice, SECOND_ME)
        await alice.send_text(chat, "Ти хто?")
        await alice.wait_for_event(_said_by(SECOND_ME, "Так"))
        await alice.wait_for(lambda: alice.presence_of(SECOND_ME) == "online")

        proof = await alice.client.get_openid_token(alice.client.user_id)
        assert isinstance(proof, nio.GetOpenIDTokenResponse), proof
        content = {"access_token": proof.access_token, "matrix_server_name": proof.matrix_server_name}
        content |= {"nonce": (await city.post("/city/sign-in/nonce"))["nonce"]}
        status, linked = await city.call("PUT", "/city/me/matrix", content, token=token)
        assert (status, linked.get("matrix_user_id")) == (200, alice.client.user_id), linked
        await alice.send_text(chat, "Що посадити біля хати?")
        await alice.wait_for_event(_said_by(SECOND_ME, "Канни"))
        await city.post("/secondme/invoke", {"prompt": "Точно?"}, token=token)
        assert core.requests[2].history == ["Що посадити біля хати?", "Канни"]
        assert [each["response"] for each in await city.get("/secondme/history", token=token)] == ["Канни", "Еге ж"]
        assert await city.get("/secondme/history", token=citizen_token("u_2")) == []

        # Somebody else comes in: nothing of it is said where they listen.
        bob = await arrive(city, "bob")
        await alice.client.room_invite(chat, "@bob:city.localhost")
        await bob.join(chat)
        await eventually(lambda: _is_in_company(city, chat))
        await alice.send_text(chat, "Second Me, і що ти мені радив?")
        notice = await bob.wait_for_event(lambda event: event["content"].get("msgtype") == "m.notice")
        assert "наодинці" in notice["content"]["body"]
        assert len(core.requests) == 3


async def _is_in_company(city: RunningCity, room: str) -> bool:
    database = Database(city.database_url)
    try:
        async with database.read_only() as tx:
            chat = await tx.rooms.by_matrix_id(MatrixRoomId(room))
            return chat is not None and chat.is_group
    finally:
        await database.close()


async def _is_closed(city: RunningCity, room: str) -> bool:
    """Whether the agent counts its chat as over."""
    database = Database(city.database_url)
    try:
        async with database.read_only() as tx:
            chat = await tx.rooms.by_matrix_id(MatrixRoomId(room))
            return chat is not None and chat.archived
    finally:
        await database.close()


def _said_by(user: str, body: str) -> Any:
    return lambda event: event["sender"] == user and event["content"].get("body") == body


async def test_several_agents_in_one_private_room(start_city: StartCity, arrive: Arrive) -> None:
    async with ScriptedCore().serving() as core:
        city = await start_city(settings=LONG_PRESENCE | {"agents_core.url": core.url})
        alice = await arrive(city, "alice")
        for slug in ("daarwizz", "scribe"):
            await city.post(f"/api/v1/agents/{slug}/heartbeat", token=await city.agent_token(slug))
        opened = await alice.client.room_create(invite=[DAARWIZZ, SCRIBE, "@agent_Scribe:city.localhost"])
        assert isinstance(opened, nio.RoomCreateResponse), opened
        room = opened.room_id
        for agent in (DAARWIZZ, SCRIBE):
            await alice.wait_for_event(_membership_in(room, agent, "join"))
        declined = await alice.wait_for_event(_membership_in(room, "@agent_Scribe:city.localhost", "leave"))
        assert "no such agent" in declined["content"]["reason"]
        await eventually(lambda: _is_in_company(city, room))

        # Nobody is meant; then each of them is; then one asks the other.
        core.next(says("Я писар"), says("@daarwizz, а ти?"), says("І я"))
        await alice.send_text(room, "Привіт усім")
        question = await alice.send_text(room, "@scribe, ти хто?")
        reply = await alice.wait_for_event(_said_by(SCRIBE, "Я писар"))
        assert reply["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": question}}
        assert reply["content"]["m.mentions"] == {"user_ids": [alice.client.user_id]}
        await alice.send_text(room, "@scribe, спитай іншого")
        await alice.wait_for_event(_said_by(DAARWIZZ, "І я"))
        assert [received.content["input"] for received in core.requests] == [
            "@scribe, ти хто?",
            "@scribe, спитай іншого",
            "> Alice: @scribe, спитай іншого\n\n@daarwizz, а ти?",
        ]

        # One of them is kicked; the other one, alone with her, replies to everything and without a mention.
        await alice.client.room_kick(room, DAARWIZZ, "досить")
        await eventually(lambda: _is_alone(city, room, "scribe"))
        core.next(says("Тут"))
        await alice.send_text(room, "Ти ще тут?")
        reply = await alice.wait_for_event(_said_by(SCRIBE, "Тут"))
        assert (reply["content"].get("m.relates_to"), reply["content"]["m.mentions"]) == (None, {})

        # Invited again, it joins again; when she leaves, both leave.
        await alice.client.room_invite(room, DAARWIZZ)
        await eventually(lambda: _is_in_company(city, room))
        await alice.client.room_leave(room)
        await eventually(lambda: _is_closed(city, room))


def _membership_in(room: str, user: str, membership: str) -> Any:
    return lambda event: (
        (event["room_id"], event.get("state_key")) == (room, user) and event["content"].get("membership") == membership
    )


async def _is_alone(city: RunningCity, room: str, agent: str) -> bool:
    database = Database(city.database_url)
    try:
        async with database.read_only() as tx:
            chat = await tx.rooms.by_matrix_id(MatrixRoomId(room))
            return chat is not None and (chat.is_group, chat.agent, chat.matrix_status) == (False, agent, "linked")
    finally:
        await database.close()
