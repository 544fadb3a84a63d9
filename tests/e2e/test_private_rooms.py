"""A room that is made private on Matrix, with a real homeserver: who reads it in the city."""

from __future__ import annotations

import nio
import pytest

from tests.parts.city import StartCity, citizen_token, eventually
from tests.parts.matrix_user import Arrive

OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")

# Both databases have the same rules in tests/integration/private_rooms.
pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("sqlite", marks=pytest.mark.soak), "postgresql"], indirect=True
)


async def test_private_matrix_room_is_private_in_city(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city()
    alice = await arrive(city, "alice")
    answer = await alice.client.room_create(
        visibility=nio.RoomVisibility.public,
        preset=nio.RoomPreset.public_chat,
        name="Рада",
        power_level_override={"users": {"@city:city.localhost": 100, alice.client.user_id: 100}},
        initial_state=[
            {
                "type": "m.room.history_visibility",
                "state_key": "",
                "content": {"history_visibility": "world_readable"},
            }
        ],
        room_version="10",
    )
    assert isinstance(answer, nio.RoomCreateResponse), answer
    room = answer.room_id
    await alice.wait_for(lambda: room in alice.client.rooms)
    await alice.send_text(room, "before the city came")
    adopted = await city.command("room", "adopt", room, "--slug", "rada")
    assert adopted.code == 0, adopted.err
    assert "members" not in adopted.out
    await city.post("/city/rooms/rada/join", token=OKSANA)
    # Before the room is for invited people only: the ghost's join would be refused then.
    await alice.wait_for(lambda: "@citizen_u_1:city.localhost" in alice.client.rooms[room].users)
    await alice.send_text(room, "for all")

    seen: list[str] = []

    async def says(*bodies: str, token: str | None = None) -> bool:
        seen[:] = await city.bodies("rada", token=token)
        return seen == list(bodies)

    await eventually(lambda: says("for all"))
    for event_type, content in (
        ("m.room.join_rules", {"join_rule": "invite"}),
        ("m.room.history_visibility", {"history_visibility": "joined"}),
    ):
        assert isinstance(await alice.client.room_put_state(room, event_type, content), nio.RoomPutStateResponse)
    await alice.send_text(room, "for us")
    await eventually(lambda: says("for all", "for us", token=OKSANA))
    for token in (None, TARAS):
        assert await says("for all", token=token)
        assert "for us" not in str(await city.get("/city/feed", token=token))
        assert "rada" not in {each["slug"] for each in await city.get("/city/rooms", token=token)}

    # What was said at each place of the history is read as the visibility was there.
    assert "Imported 1 messages." in (await city.command("room", "backfill", "rada")).out
    assert await says("before the city came", "for all")

    # Read from Matrix, too, when nobody listened: the service is away while the room is opened again.
    await city.post("/city/rooms/rada/leave", token=OKSANA)
    city.service.kill()
    await alice.client.room_put_state(room, "m.room.history_visibility", {"history_visibility": "shared"})
    await alice.send_text(room, "for all members")
    await city.start()
    status, problem = await city.call("POST", "/city/rooms/rada/join", token=OKSANA)
    assert (status, problem["code"]) == (403, "invite_only")
    bohdan = citizen_token("u_3", "Богдан")
    await alice.client.room_invite(room, "@citizen_u_3:city.localhost")

    async def bohdan_comes() -> bool:
        return (await city.call("POST", "/city/rooms/rada/join", token=bohdan))[0] == 200

    await eventually(bohdan_comes)
    await eventually(
        lambda: says("before the city came", "for all", "for all members", token=bohdan),
        explain=lambda: "\n".join([str(seen), *city.service.last_lines(40)]),
    )
    assert await says("before the city came", "for all", "for us", token=OKSANA)
