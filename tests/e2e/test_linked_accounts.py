"""A Matrix user who signs in by OpenID: one person in the city, with a per-message profile on Matrix."""

from __future__ import annotations

import json
from typing import Any

import nio
import pytest

from tests.parts.city import RunningCity, StartCity, citizen_token, eventually
from tests.parts.matrix_user import Arrive, MatrixUser

ROOM = "/city/rooms/general"
PROFILE = "com.beeper.per_message_profile"

# Both databases have the same links in tests/integration/test_one_self.py.
pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("sqlite", marks=pytest.mark.soak), "postgresql"], indirect=True
)


async def sign_in(city: RunningCity, user: MatrixUser) -> Any:
    """Sign in with a Matrix account, as the widget does."""
    proof = await user.client.get_openid_token(user.client.user_id)
    assert isinstance(proof, nio.GetOpenIDTokenResponse), proof
    status, nonce = await city.call("POST", "/city/sign-in/nonce")
    assert status == 200, nonce
    content = {"access_token": proof.access_token, "matrix_server_name": proof.matrix_server_name}
    return await city.post("/city/sign-in/matrix", content | {"nonce": nonce["nonce"]})


def _of_city(event: dict[str, Any], body: str) -> bool:
    return bool(event["sender"].startswith("@citizen_") and event["content"].get("body") == body)


async def test_openid_sign_in_is_one_person(start_city: StartCity, arrive: Arrive) -> None:
    city = await start_city(settings={"sign_in.matrix": True})
    alice, bob = await arrive(city, "alice"), await arrive(city, "bob")
    room = await alice.join("#city_general:city.localhost")
    await bob.join("#city_general:city.localhost")
    alice_id = alice.client.user_id
    came = await sign_in(city, alice)
    token, citizen = came["token"], came["user_id"]
    ghost = f"@citizen_{citizen}:city.localhost"
    assert (await city.get("/city/me", token=token))["subject"] == alice_id

    # On Matrix: the ghost has her name, and each message names her.
    await city.post("/api/v1/presence/heartbeat", {}, token=token)
    posted = await city.post(f"{ROOM}/messages", {"body": "зі сторінки"}, token=token)
    await city.call("POST", f"{ROOM}/join", token=token)
    seen = await bob.wait_for_event(lambda event: _of_city(event, "зі сторінки"))
    assert seen["sender"] == ghost
    assert seen["content"][PROFILE] == {"id": alice_id, "displayname": "Alice"}
    profile = await bob.client.get_profile(ghost)
    assert isinstance(profile, nio.ProfileGetResponse), profile
    assert profile.displayname == "Alice"

    # An edit keeps the profile, and the echo keeps her as author.
    status, _ = await city.call("PATCH", f"{ROOM}/messages/{posted['id']}", {"body": "інакше"}, token=token)
    assert status == 200
    edit = await bob.wait_for_event(lambda event: event["content"].get("m.new_content", {}).get("body") == "інакше")
    assert edit["content"]["m.new_content"][PROFILE]["id"] == alice_id

    # Her own words in Element are hers as well.
    await alice.send_text(room, "з Element")

    async def all_are_hers() -> bool:
        messages = await city.get(f"{ROOM}/messages")
        return [each["author"]["id"] for each in messages] == [alice_id, alice_id] and all(
            each["matrix_event_id"] for each in messages
        )

    await eventually(all_are_hers, explain=lambda: str(city.service.last_lines(10)))

    # One row in the list of members, one presence.
    async def is_one_member() -> bool:
        shown = await city.get(ROOM)
        online = [each["id"] for each in shown["online_members"] if each["kind"] != "agent"]
        return alice_id in online and citizen not in online and ghost not in json.dumps(shown)

    await eventually(is_one_member, explain=lambda: str(city.service.last_lines(10)))
    await city.post("/api/v1/presence/heartbeat", {}, token=token)
    for path in (ROOM, f"{ROOM}/messages", "/city/feed", "/city/home", f"{ROOM}/receipts", "/api/v1/presence/summary"):
        shown = json.dumps(await city.get(path))
        assert citizen not in shown, path
    # The message that she wrote in Element is deleted from the page: the bot redacts it.
    element = next(each for each in await city.get(f"{ROOM}/messages") if each["body"] == "з Element")
    status, _ = await city.call("DELETE", f"{ROOM}/messages/{element['id']}", token=token)
    assert status == 200
    await bob.wait_for_event(lambda event: event["type"] == "m.room.redaction")

    # The same account signs in as the same citizen again.
    assert (await sign_in(city, alice))["user_id"] == citizen
    assert await city.get("/city/me", token=citizen_token("u_7", "Хтось")) == {
        "user_id": "u_7",
        "display_name": "Хтось",
        "avatar_url": None,
        "status_text": None,
        "matrix_user_id": None,
        "ghost_user_id": "@citizen_u_7:city.localhost",
        "subject": "u_7",
    }
