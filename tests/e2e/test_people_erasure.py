"""A linked person is erased on the real homeserver, though it is unavailable at first and the service is killed meanwhile."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any
from urllib.parse import quote

import nio
import pytest

from tests.parts.city import ADMIN_TOKEN, RunningCity, StartCity, citizen_token, eventually
from tests.parts.matrix_user import Arrive, MatrixUser

ROOM = "/city/rooms/general"
CITIZEN = "u_zebra"
ALICE = "@alice:city.localhost"
GHOST, NEW_GHOST = "@citizen_u_zebra:city.localhost", "@citizen_u_zebra+1:city.localhost"
SECRETS = ("from the pages", "from the client", "corrected", "Зебра")

pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("sqlite", marks=pytest.mark.soak), "postgresql"], indirect=True
)


async def link(city: RunningCity, user: MatrixUser, token: str) -> None:
    proof = await user.client.get_openid_token(user.client.user_id)
    assert isinstance(proof, nio.GetOpenIDTokenResponse), proof
    _, nonce = await city.call("POST", "/city/sign-in/nonce")
    content = {"access_token": proof.access_token, "matrix_server_name": proof.matrix_server_name}
    status, answer = await city.call("PUT", "/city/me/matrix", content | {"nonce": nonce["nonce"]}, token=token)
    assert status == 200, answer


async def erasure(city: RunningCity, person: str) -> Any:
    return await city.get(f"/api/v1/people/{quote(person, safe='')}/erasure", token=ADMIN_TOKEN)


async def history(user: MatrixUser, room: str) -> list[nio.Event]:
    answer = await user.client.room_messages(room, limit=500)
    assert isinstance(answer, nio.RoomMessagesResponse), answer
    return list(answer.chunk)


async def members(user: MatrixUser, room: str) -> set[str]:
    answer = await user.client.joined_members(room)
    assert isinstance(answer, nio.JoinedMembersResponse), answer
    return {member.user_id for member in answer.members}


def rows(city: RunningCity, statement: str) -> list[Any]:
    """Return rows of the homeserver's database."""
    with closing(sqlite3.connect(city.homeserver.setup.directory / "homeserver.db")) as connection:
        return connection.execute(statement).fetchall()


async def test_linked_person_is_erased_on_both_sides(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city(settings={"sign_in.matrix": True})
    alice, bob = await arrive(city, "alice"), await arrive(city, "bob")
    room = await alice.join("#city_general:city.localhost")
    await bob.join("#city_general:city.localhost")
    token = citizen_token(CITIZEN, "Зебра", iat=1)
    await link(city, alice, token)
    posted = await city.post(f"{ROOM}/messages", {"body": "from the pages"}, token=token)
    await city.call("PATCH", f"{ROOM}/messages/{posted['id']}", {"body": "corrected"}, token=token)
    sent = await alice.send_text(room, "from the client")
    await bob.wait_for_event(lambda event: "corrected" in json.dumps(event["content"]))
    reply = await bob.send_text(room, "I see", more={"m.relates_to": {"m.in_reply_to": {"event_id": sent}}})

    async def replied() -> bool:
        return "I see" in await city.bodies()

    await eventually(replied)

    # The homeserver is unavailable. The city erases its own data all the same.
    city.homeserver.kill()
    status, started = await city.call("DELETE", f"/api/v1/people/{CITIZEN}", token=ADMIN_TOKEN)
    assert (status, started["state"], started["subjects"]) == (202, "city", [ALICE, CITIZEN])
    assert (await city.call("GET", "/city/me", token=token))[0] == 401

    async def city_is_clean() -> bool:
        return bool((await erasure(city, CITIZEN))["state"] == "matrix")

    await eventually(city_is_clean)
    city.service.kill()
    await city.homeserver.start()
    await city.start()

    async def done() -> Any:
        found = await erasure(city, ALICE)
        return found if found["state"] == "done" else None

    finished = await eventually(done, explain=lambda: "\n".join(city.service.last_lines(40)))
    assert [each["kind"] for each in finished["remains"]] == ["account"]
    assert finished["counts"]["redactions"] >= 4

    # In the city: the history has its order, without the person.
    messages = await city.get(f"{ROOM}/messages?limit=50")
    authors = {each["author"]["display_name"] for each in messages if each["deleted"]}
    assert (authors, [each["body"] for each in messages if not each["deleted"]]) == ({"Deleted account"}, ["I see"])
    (left,) = [each for each in messages if each["matrix_event_id"] == reply]
    assert left["reply_to"] in {each["id"] for each in messages}
    assert not any(word in json.dumps(messages, ensure_ascii=False) for word in (*SECRETS, CITIZEN, "alice"))

    # On the homeserver: no content, no name, no member; the ghost is deactivated and erased.
    async def is_clean() -> bool:
        contents = [event.source.get("content", {}) for event in await history(bob, room)]
        text = json.dumps(contents, ensure_ascii=False)
        return not any(word in text for word in SECRETS) and not {ALICE, GHOST} & await members(bob, room)

    await eventually(is_clean)
    assert rows(city, f"SELECT deactivated FROM users WHERE name = '{GHOST}'") == [(1,)]
    assert rows(city, "SELECT user_id FROM erased_users") == [(GHOST,)]
    assert rows(city, f"SELECT displayname FROM profiles WHERE full_user_id = '{GHOST}'") in ([], [(None,)])
    assert rows(city, f"SELECT deactivated FROM users WHERE name = '{ALICE}'") == [(0,)]

    # Both may come back, and are new.
    again = await city.post(f"{ROOM}/messages", {"body": "I am back"}, token=citizen_token(CITIZEN, "Новий"))
    assert again["author"]["matrix_user_id"] == NEW_GHOST
    await bob.wait_for(lambda: (NEW_GHOST, "I am back") in bob.messages)
    await alice.join("#city_general:city.localhost")
    await alice.send_text(room, "me too")

    async def alice_is_back() -> bool:
        return "me too" in await city.bodies()

    await eventually(alice_is_back)
