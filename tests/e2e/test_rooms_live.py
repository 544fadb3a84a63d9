"""Somebody in Element and somebody in the city's page look at one room, and see the same as it happens."""

from __future__ import annotations

from typing import Any

import aiohttp

from tests.parts.city import StartCity, citizen_token
from tests.parts.person import Arrive

OKSANA = citizen_token("u_1", "Оксана")
OKSANAS_GHOST = "@citizen_u_1:city.localhost"
ALICE = "@alice:city.localhost"


async def until(socket: aiohttp.ClientWebSocketResponse, event: str) -> dict[str, Any]:
    """The next such event; presence, which comes when it likes, is passed over."""
    while True:
        told: dict[str, Any] = await socket.receive_json(timeout=20)
        if told["event"] != "city.room.presence" or event == "city.room.presence":
            assert told["event"] == event, told
            return told


async def test_both_sides_of_a_room_live_together(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city()
    alice = await arrive(city, "alice")
    seq = (await city.get("/city/rooms/general"))["last_seq"]
    url = f"{city.api_url}/ws/city/rooms/general?token={OKSANA}&since={seq}"
    async with city.session.ws_connect(url) as oksana:
        room = await alice.join("#city_general:city.localhost")
        joined = await until(oksana, "city.room.join")
        assert (joined["member"]["id"], joined["member"]["display_name"]) == (ALICE, "Alice")
        assert (await until(oksana, "city.room.presence"))["user_id"] == ALICE

        await alice.client.room_typing(room, typing_state=True)
        assert (await until(oksana, "city.room.typing"))["typing"] == [ALICE]
        await alice.say(room, "Добрий вечір")
        await alice.client.room_typing(room, typing_state=False)
        events = [await until_any(oksana) for _ in range(2)]
        (heard,) = [each for each in events if each["event"] == "city.room.message"]
        (stopped,) = [each for each in events if each["event"] == "city.room.typing"]
        assert (heard["message"]["body"], heard["message"]["author"]["id"]) == ("Добрий вечір", ALICE)
        assert stopped["typing"] == []

        await oksana.send_json({"event": "city.room.send", "body": "І тобі", "client_id": "c1"})
        own = await until(oksana, "city.room.message")
        assert (own["message"]["client_id"], own["message"]["delivery"]) == ("c1", "pending")
        await alice.sees(lambda: (OKSANAS_GHOST, "І тобі") in alice.messages)
        # With her first message her ghost came into the room.
        came = await until(oksana, "city.room.join")
        assert (came["member"]["kind"], came["member"]["id"]) == ("citizen", "u_1")

        await oksana.send_json({"event": "city.room.typing"})
        assert (await until(oksana, "city.room.typing"))["typing"] == ["u_1"]
        await alice.sees(lambda: [OKSANAS_GHOST] in alice.typing)
        await oksana.send_json({"event": "city.room.send", "body": "Як справи?"})
        await alice.sees(lambda: (OKSANAS_GHOST, "Як справи?") in alice.messages and alice.typing[-1] == [])

        await alice.client.room_leave(room)
        events = [await until_any(oksana) for _ in range(3)]
        kinds = [each["event"] for each in events]
        assert sorted(kinds) == ["city.room.leave", "city.room.message", "city.room.typing"]
        (left,) = [each for each in events if each["event"] == "city.room.leave"]
        assert left["member"]["id"] == ALICE
        last = max(each["seq"] for each in [*events, came, own, heard, joined] if "seq" in each)

    async with city.session.ws_connect(f"{city.api_url}/ws/city/rooms/general?since={seq}") as again:
        replayed = [await until_any(again) for _ in range(last - seq)]
    assert [each["seq"] for each in replayed] == list(range(seq + 1, last + 1)), "without a hole"


async def until_any(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next event that is not presence."""
    while (told := await socket.receive_json(timeout=20))["event"] == "city.room.presence":
        continue
    assert isinstance(told, dict)
    return told
