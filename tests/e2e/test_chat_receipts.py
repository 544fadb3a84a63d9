"""What a linked person reads in a Matrix client, with matrix-nio, is read in the pages, also in direct chats."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import aiohttp
import nio
import pytest

from daarion_appservice.config import loading as config_file
from tests.parts.city import LONG_PRESENCE, RunningCity, StartCity, citizen_token, eventually
from tests.parts.matrix_user import Arrive, MatrixUser

OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")
SCRIBE, OKSANA_GHOST = "@agent_scribe:city.localhost", "@citizen_u_1:city.localhost"

pytestmark = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)], indirect=True
)


async def link(city: RunningCity, person: MatrixUser) -> None:
    proof = await person.client.get_openid_token(person.client.user_id)
    assert isinstance(proof, nio.GetOpenIDTokenResponse), proof
    content = {"access_token": proof.access_token, "matrix_server_name": proof.matrix_server_name}
    content |= {"nonce": (await city.post("/city/sign-in/nonce"))["nonce"]}
    status, linked = await city.call("PUT", "/city/me/matrix", content, token=OKSANA)
    assert status == 200, linked


async def listed(city: RunningCity, chat: str) -> dict[str, Any]:
    found = await city.get("/city/direct", token=OKSANA)
    return next((each for each in found if each["id"] == chat), {})


async def until_counts(city: RunningCity, chat: str, unread: int) -> None:
    async def are_so() -> bool:
        return (await listed(city, chat)).get("unread") == unread

    await eventually(are_so, explain=lambda: "\n".join(city.service.last_lines(20)))


async def receive_unread(city: RunningCity, opened: asyncio.Event, numbers: dict[str, int]) -> None:
    """Keep the newest unread number of each room as a page does, by WebSocket."""
    url = f"{city.api_url}/ws/city/presence?unread=1&token={OKSANA}"
    async with city.session.ws_connect(url) as socket:
        async for frame in socket:
            assert frame.type is aiohttp.WSMsgType.TEXT
            content = frame.json()
            if content["event"] in {"city.unread", "city.unread.snapshot"}:
                numbers |= {each["room_id"]: each["unread"] for each in content["rooms"]}
                opened.set()


async def read_what_comes(city: RunningCity, alice: MatrixUser, chat: str, body: str, token: str) -> None:
    """Post a message in a chat, and read it as Alice; wait until it is unread and then read in the pages."""
    # The city knows that she is a member once it has a message of hers; what came before is read.
    # An agent replies to no notice.
    await alice.send_text((await listed(city, chat))["matrix_room_id"], "я тут", "m.notice")

    async def is_there() -> bool:
        last = (await listed(city, chat))["last_message"]
        return last is not None and last["text"] == "я тут"

    await eventually(is_there, explain=lambda: "\n".join(city.service.last_lines(20)))
    numbers: dict[str, int] = {}
    opened = asyncio.Event()
    listening = asyncio.create_task(receive_unread(city, opened, numbers))
    await opened.wait()
    await city.post(f"/city/rooms/{chat}/messages", {"body": body}, token=token)
    event = await alice.wait_for_event(lambda each: each["content"].get("body") == body)

    async def is_told(unread: int) -> bool:
        return numbers.get(chat) == unread

    await eventually(lambda: is_told(1), explain=lambda: str(numbers))
    await until_counts(city, chat, 1)
    # As Element does: the fully-read marker, and an unthreaded m.read.
    await alice.client.room_read_markers(event["room_id"], event["event_id"], event["event_id"])
    await until_counts(city, chat, 0)
    await eventually(lambda: is_told(0), explain=lambda: str(numbers))
    assert (await listed(city, chat))["mentions"] == 0
    listening.cancel()


async def own_chat(city: RunningCity, other: str) -> tuple[str, str]:
    """Open a chat in the city; return its id and that of its Matrix room."""
    chat = (await city.post("/city/direct", {"with": other}, token=OKSANA))["id"]

    async def is_linked() -> bool:
        return (await listed(city, chat)).get("matrix_status") == "linked"

    await eventually(is_linked, explain=lambda: "\n".join(city.service.last_lines(20)))
    return chat, (await listed(city, chat))["matrix_room_id"]


async def invite(city: RunningCity, matrix_room: str, user: str) -> None:
    token = config_file.load(city.config).appservice.as_token.get_secret_value()
    path = f"/_matrix/client/v3/rooms/{quote(matrix_room)}/invite?user_id={quote(OKSANA_GHOST)}"
    status, answer = await city.call("POST", path, {"user_id": user}, token=token, url=city.homeserver.url)
    assert status == 200, answer


async def presence_of(person: MatrixUser, user: str) -> str:
    answer = await person.client.get_presence(user)
    assert isinstance(answer, nio.PresenceGetResponse), answer
    return str(answer.presence)


async def test_chat_opened_on_matrix(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city(settings=LONG_PRESENCE)
    alice = await arrive(city, "alice")
    await link(city, alice)
    made = await alice.client.room_create(is_direct=True, invite=[SCRIBE], preset=nio.RoomPreset.trusted_private_chat)
    assert isinstance(made, nio.RoomCreateResponse), made

    async def is_listed() -> bool:
        return len(await city.get("/city/direct", token=OKSANA)) == 1

    await eventually(is_listed, explain=lambda: "\n".join(city.service.last_lines(20)))
    (chat,) = await city.get("/city/direct", token=OKSANA)
    agent = await city.agent_token("scribe")
    before = await presence_of(alice, SCRIBE)
    await read_what_comes(city, alice, chat["id"], "Нагадую", agent)
    assert await presence_of(alice, SCRIBE) == before == "offline", "who asks for receipts is not online by that"

    # What was read while the service was away.
    await city.post(f"/city/rooms/{chat['id']}/messages", {"body": "Ще раз"}, token=agent)
    event = await alice.wait_for_event(lambda each: each["content"].get("body") == "Ще раз")
    await until_counts(city, chat["id"], 1)
    await city.service.stop()
    await alice.client.room_read_markers(event["room_id"], event["event_id"], event["event_id"])
    await city.start()
    await until_counts(city, chat["id"], 0)

    # A private receipt is shown to the reader alone: the public one after it reads both messages.
    await city.post(f"/city/rooms/{chat['id']}/messages", {"body": "таємно"}, token=agent)
    event = await alice.wait_for_event(lambda each: each["content"].get("body") == "таємно")
    answer = await alice.client.update_receipt_marker(event["room_id"], event["event_id"], nio.ReceiptType.read_private)
    assert isinstance(answer, nio.UpdateReceiptMarkerResponse), answer
    await city.post(f"/city/rooms/{chat['id']}/messages", {"body": "видно"}, token=agent)
    await until_counts(city, chat["id"], 2)
    event = await alice.wait_for_event(lambda each: each["content"].get("body") == "видно")
    await alice.client.update_receipt_marker(event["room_id"], event["event_id"])
    await until_counts(city, chat["id"], 0)


async def test_chats_opened_in_the_city(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city(settings=LONG_PRESENCE)
    alice = await arrive(city, "alice")
    await link(city, alice)
    await city.post("/api/v1/presence/heartbeat", {}, token=TARAS)
    chat, matrix_room = await own_chat(city, "agent:scribe")
    await alice.join(matrix_room)
    await read_what_comes(city, alice, chat, "від агента", await city.agent_token("scribe"))

    # The city invites no account to a chat of two citizens; one of the two ghosts may.
    chat, matrix_room = await own_chat(city, "citizen:u_2")
    await city.post(f"/city/rooms/{chat}/messages", {"body": "прийшли"}, token=OKSANA)

    async def is_sent() -> bool:
        messages = await city.get(f"/city/rooms/{chat}/messages", token=OKSANA)
        return [each["delivery"] for each in messages] == ["sent"]

    await eventually(is_sent, explain=lambda: "\n".join(city.service.last_lines(20)))
    await invite(city, matrix_room, alice.client.user_id)
    await alice.join(matrix_room)
    await read_what_comes(city, alice, chat, "від Тараса", TARAS)
