"""A real Synapse with the Synapse module, and application services that send requests to it."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daarion_appservice.demo.local_synapse import LocalSynapse
from tests.parts.matrix_user import MatrixUser
from tests.parts.synapse import SERVER_NAME, boot

PACKAGE = Path(__file__).parents[2] / "synapse_module"
PATH = "/_synapse/client/daarion/presence"
CLIENT = "/_matrix/client/v3"
OURS = "the-city"
THEIRS = "somebody-else"
REGISTRATION = """
id: {id}
url: null
as_token: as-token-of-{id}
hs_token: hs-token-of-{id}
sender_localpart: bot_{id}
rate_limited: false
namespaces:
  users:
    - exclusive: true
      regex: '^@{prefix}_[^:]+:city\\.localhost$'
    - exclusive: false
      regex: '^@alice:city\\.localhost$'
"""
# Synapse looks at its timeouts for the first time 30 s after it started; shorter ones only make what follows quicker.
QUICK = {"enabled": True, "sync_online_timeout": "3s", "last_active_granularity": "3s", "idle_timeout": "6s"}
PEOPLE = itertools.count()
"""Who looks in one test is not known in the next."""


def ghost(name: str) -> str:
    return f"@agent_{name}:{SERVER_NAME}"


def presence_update(user: str, presence: str, status_msg: str | None = None) -> dict[str, Any]:
    return {"user_id": user, "presence": presence, "status_msg": status_msg}


class Service:
    """An application service that sends requests to the module."""

    def __init__(self, homeserver: LocalSynapse, token: str = f"as-token-of-{OURS}") -> None:
        self.homeserver = homeserver
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"} if token else {})

    async def close(self) -> None:
        await self._session.close()

    async def request(
        self, method: str, path: str = PATH, body: object = None, **query: str
    ) -> tuple[int, dict[str, Any]]:
        url = self.homeserver.url + path
        async with self._session.request(method, url, json=body, params=query) as response:
            return response.status, await response.json()

    async def call(self, method: str, path: str = PATH, body: object = None, **query: str) -> dict[str, Any]:
        status, answer = await self.request(method, path, body, **query)
        assert status == 200, (status, answer)
        return answer

    async def show(self, *wishes: dict[str, Any]) -> dict[str, Any]:
        return await self.call("POST", PATH, {"users": wishes})

    async def put(self, user: str, presence: str) -> None:
        await self.call("PUT", f"{CLIENT}/presence/{user}/status", {"presence": presence}, user_id=user)

    async def presence_of(self, user: str) -> tuple[str, str | None]:
        answer = await self.call("GET", f"{CLIENT}/presence/{user}/status", user_id=user)
        return answer["presence"], answer.get("status_msg")

    async def create_ghosts(self, *names: str) -> list[str]:
        for name in names:
            body = {"type": "m.login.application_service", "username": f"agent_{name}", "inhibit_login": True}
            status, answer = await self.request("POST", f"{CLIENT}/register", body)
            assert status == 200 or answer["errcode"] == "M_USER_IN_USE", answer  # made by a test before
        return [ghost(name) for name in names]

    async def open_room(self, *members: str) -> str:
        """Create a public room of the bot that these ghosts join."""
        room: str = (await self.call("POST", f"{CLIENT}/createRoom", {"preset": "public_chat"}))["room_id"]
        for member in members:
            await self.call("POST", f"{CLIENT}/join/{room}", {}, user_id=member)
        return room


class City:
    """A homeserver with the module, an application service, and Matrix users who receive presence."""

    def __init__(self, homeserver: LocalSynapse, people: list[MatrixUser]) -> None:
        self.homeserver = homeserver
        self.service = Service(homeserver)
        self._people = people

    async def person_in(self, *rooms: str) -> MatrixUser:
        """Return a Matrix user who joins the rooms; presences from before the join are not recorded."""
        person = await MatrixUser.arrive(self.homeserver, f"somebody-{next(PEOPLE)}")
        self._people.append(person)
        members: set[str] = set()
        for room in rooms:
            await person.join(room)
            members |= set(person.client.rooms[room].users)
        await person.wait_for(lambda: members <= {who for who, *_ in person.presences})
        person.presences.clear()
        return person


StartCity = Callable[..., Awaitable[City]]


async def boot_with_module(
    directory: Path, config: Mapping[str, object] | None = None, presence: Mapping[str, object] = QUICK
) -> LocalSynapse:
    """Boot a Synapse with the module and two application services."""
    directory.mkdir(exist_ok=True)
    files = []
    for name, prefix in ((OURS, "agent"), (THEIRS, "robot")):
        files.append(directory / f"{name}.yaml")
        files[-1].write_text(REGISTRATION.format(id=name, prefix=prefix))
    overrides = {
        "app_service_config_files": [str(file) for file in files],
        "modules": [{"module": "daarion_synapse_module.DaarionPresence", "config": dict(config or {})}],
        "presence": presence,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]))
        return await boot(directory / "synapse", overrides=overrides)


@asynccontextmanager
async def starting_cities(directory: Path, ordinary: LocalSynapse) -> AsyncIterator[StartCity]:
    """Return what starts a city without presence, on its own homeserver if it has settings or ``is_killed``."""
    people: list[MatrixUser] = []
    cities: list[City] = []
    booted: list[LocalSynapse] = []

    async def start(*, is_killed: bool = False, **config: object) -> City:
        if config or is_killed:
            booted.append(await boot_with_module(directory, config))
            homeserver = booted[-1]
        else:
            homeserver = ordinary
        cities.append(City(homeserver, people))
        await cities[-1].service.call("DELETE")
        return cities[-1]

    yield start
    for person in people:
        await person.leave()
    for city in cities:
        await city.service.close()
    for homeserver in booted:
        homeserver.kill()
