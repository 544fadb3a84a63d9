"""Ghosts whose account an admin changed with Synapse's admin API: the next message is delivered all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.city import AGENTS, RunningCity, citizen_token, eventually
from tests.parts.synapse import BootSynapse

GHOST = "@citizen_u_1:city.localhost"
TOKEN = citizen_token("u_1", "Оксана")


@pytest.fixture
async def city(tmp_path: Path, sqlite_url: str, synapse: BootSynapse) -> AsyncIterator[RunningCity]:
    city = await RunningCity.make(tmp_path / "city", sqlite_url, synapse, homeserver=None, settings=None, agents=AGENTS)
    await city.start()
    yield city
    await city.close()


async def delivered(city: RunningCity, body: str) -> None:
    """Post as the citizen and wait until Matrix has the message."""
    posted = await city.post("/city/rooms/general/messages", {"body": body}, token=TOKEN)

    async def is_sent() -> bool:
        messages = await city.get("/city/rooms/general/messages", token=TOKEN)
        (message,) = [each for each in messages if each["id"] == posted["id"]]
        assert message["delivery"] != "failed"
        return bool(message["delivery"] == "sent")

    await eventually(is_sent)


async def admin_call(city: RunningCity, method: str, path: str, token: str, content: Any = None) -> None:
    status, answer = await city.call(method, f"/_synapse/admin{path}", content, url=city.homeserver.url, token=token)
    assert status in {200, 201}, answer


async def test_reset_or_reactivated_ghost_sends_again(city: RunningCity) -> None:
    admin = (await city.homeserver.register("root", "a-password-of-root", admin=True)).access_token
    await delivered(city, "перше")

    await admin_call(city, "DELETE", f"/v2/users/{GHOST}/devices/CITY", admin)
    await delivered(city, "після пристрою")

    await admin_call(city, "POST", f"/v1/deactivate/{GHOST}", admin, {"erase": False})
    await admin_call(
        city, "PUT", f"/v2/users/{GHOST}", admin, {"deactivated": False, "password": "not-used-by-anybody"}
    )
    await delivered(city, "після поновлення")

    status, profile = await city.call("GET", f"/_matrix/client/v3/profile/{GHOST}", url=city.homeserver.url)
    assert (status, profile["displayname"]) == (200, "Оксана")
