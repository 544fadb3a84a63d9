"""Agents of the registry on a real homeserver: lookups, profiles, and removed agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daarion_appservice.config import loading as config_file
from tests.parts.city import ADMIN_TOKEN, RunningCity, eventually
from tests.parts.matrix_user import Arrive, MatrixUser
from tests.parts.synapse import BootSynapse

GUEST = "@agent_guest:city.localhost"
PICTURE = "mxc://city.localhost/picture"


async def test_agent_changes_are_seen_on_matrix(
    tmp_path: Path, sqlite_url: str, synapse: BootSynapse, arrive: Arrive
) -> None:
    agents = (
        "\nagents:\n  - {slug: daarwizz, display_name: DAARWIZZ, kind: infra, microdao: daarion, role: orchestrator}\n"
    )
    city = await RunningCity.make(tmp_path / "city", sqlite_url, synapse, homeserver=None, settings=None, agents=agents)
    try:
        await city.start()
        alice = await arrive(city, "alice")
        general = await alice.join("#city_general:city.localhost")
        await _look_up(city, alice)
        await _come(city, alice, general)
        await _change(city, alice)
        await _go(city, alice, general)
    finally:
        await city.close()


async def _look_up(city: RunningCity, alice: MatrixUser) -> None:
    daarwizz = {
        "userid": "@agent_daarwizz:city.localhost",
        "protocol": "daarion",
        "fields": {"slug": "daarwizz", "name": "DAARWIZZ"},
    }
    assert "daarion" in await _asks(city, alice, "/thirdparty/protocols")
    assert await _asks(city, alice, "/thirdparty/user/daarion?slug=daarwizz") == [daarwizz]
    assert await _asks(city, alice, "/thirdparty/user/daarion?name=wizz") == [daarwizz]
    assert await _asks(city, alice, "/thirdparty/user/daarion?slug=nobody") == []
    [general] = await _asks(city, alice, "/thirdparty/location/daarion?room=general")
    assert general["alias"] == "#city_general:city.localhost"
    role = {"kind": "infra", "microdao": "daarion", "microdao_role": "orchestrator"}
    assert (await _profile(city, alice, "@agent_daarwizz:city.localhost"))["space.daarion.role"] == role


async def _come(city: RunningCity, alice: MatrixUser, general: str) -> None:
    described = {
        "display_name": "Гість",
        "title": "T",
        "node_id": "n",
        "node_role": "guardian",
        "color": "#123456",
        "avatar": PICTURE,
        "rooms": ["general", "builders"],
    }
    status, _ = await city.call("PUT", "/api/v1/agents/guest", described, token=ADMIN_TOKEN)
    assert status == 201
    await alice.wait_for(lambda: GUEST in alice.client.rooms[general].users)
    profile = await _profile(city, alice, GUEST)
    assert (profile["displayname"], profile["avatar_url"]) == ("Гість", PICTURE)
    assert profile["space.daarion.role"] == {"title": "T", "node": "n", "node_role": "guardian", "color": "#123456"}


async def _change(city: RunningCity, alice: MatrixUser) -> None:
    described = {"display_name": "Гостя", "kind": "assistant", "rooms": ["general", "builders"]}
    status, _ = await city.call("PUT", "/api/v1/agents/guest", described, token=ADMIN_TOKEN)
    assert status == 200

    async def is_another() -> bool:
        profile = await _profile(city, alice, GUEST)
        return profile.get("space.daarion.role") == {"kind": "assistant"} and profile["displayname"] == "Гостя"

    await eventually(is_another)
    drawn = (await _profile(city, alice, GUEST))["avatar_url"]
    assert drawn.startswith("mxc://city.localhost/"), "the drawn avatar is in the place of the picture"
    assert drawn != PICTURE


async def _go(city: RunningCity, alice: MatrixUser, general: str) -> None:
    """It is removed, and the service killed in the same moment; the next start sees it out."""
    status, made = await city.call("POST", "/api/v1/agents/guest/tokens", token=ADMIN_TOKEN)
    assert status == 201
    token = made["token"]
    await city.post("/api/v1/agents/guest/heartbeat", token=token)
    await city.post("/city/rooms/general/messages", {"body": "Бувайте"}, token=token)
    await alice.wait_for(lambda: alice.presence_of(GUEST) == "online" and (GUEST, "Бувайте") in alice.messages)

    status, _ = await city.call("DELETE", "/api/v1/agents/guest", token=ADMIN_TOKEN)
    assert status == 204
    city.service.kill()
    await city.start()

    left = await alice.wait_for_event(
        lambda event: event.get("state_key") == GUEST and event["content"].get("membership") == "leave"
    )
    assert left["sender"] == GUEST, "nobody put it out"
    # Alice shares no room with it any more, so its presence may not be in her sync.
    as_token = config_file.load(city.config).appservice.as_token.get_secret_value()
    path = f"/_matrix/client/v3/presence/{GUEST}/status?user_id={GUEST}"
    status, presence = await city.call("GET", path, token=as_token, url=city.homeserver.url)
    assert (status, presence["presence"]) == (200, "offline")

    async def is_nowhere() -> bool:
        members = await _asks(city, alice, f"/rooms/{general}/joined_members")
        return GUEST not in members["joined"] and "space.daarion.role" not in await _profile(city, alice, GUEST)

    await eventually(is_nowhere)
    assert "Бувайте" in await city.bodies()
    assert (await city.call("GET", "/api/v1/agents/guest"))[0] == 404
    assert await _asks(city, alice, "/thirdparty/user/daarion?slug=guest") == []
    room_messages: list[Any] = await city.get("/city/rooms/general/messages")
    assert room_messages[-1]["author"]["display_name"] == "Гостя"


async def _profile(city: RunningCity, alice: MatrixUser, user: str) -> dict[str, Any]:
    profile: dict[str, Any] = await _asks(city, alice, f"/profile/{user}")
    return profile


async def _asks(city: RunningCity, who: MatrixUser, path: str) -> Any:
    status, content = await city.call(
        "GET", f"/_matrix/client/v3{path}", token=who.client.access_token, url=city.homeserver.url
    )
    assert status == 200, content
    return content
