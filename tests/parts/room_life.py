"""A city with rooms of one version, a Matrix user, and requests to the homeserver as that user or as the bot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from daarion_appservice.config import loading as config_file
from tests.parts.city import ADMIN_TOKEN, RunningCity, citizen_token, eventually
from tests.parts.matrix_user import MatrixUser
from tests.parts.synapse import boot

BOT = "@city:city.localhost"
ALICE = "@alice:city.localhost"
OKSANA = citizen_token("u_1", "Оксана")
MAYOR = citizen_token("u_2", "Мер", admin=True)
AGENTS = """
agents:
  - slug: scribe
    display_name: Писар
    rooms: [general, moved, moved-by-alice, trap, kicked]
"""


@dataclass
class RoomLifeHarness:
    """A city, the Matrix user Alice, and requests to the homeserver as Alice or as the bot."""

    city: RunningCity
    alice: MatrixUser
    as_token: str
    version: str
    numbers: Iterator[int]

    async def matrix(self, method: str, path: str, content: Any = None, *, bot: bool = False) -> tuple[int, Any]:
        """Send a request to the homeserver as Alice, or as the bot with the city's ``as_token``."""
        token = self.as_token if bot else self.alice.client.access_token
        return await self.city.call(
            method, f"/_matrix/client/v3{path}", content, token=token, url=self.city.homeserver.url
        )

    async def call(self, method: str, path: str, content: Any = None, *, bot: bool = False) -> Any:
        status, answer = await self.matrix(method, path, content, bot=bot)
        assert status == 200, answer
        return answer

    async def state(self, room: str, event_type: str, state_key: str = "") -> Any:
        status, content = await self.matrix(
            "GET", f"/rooms/{quote(room)}/state/{event_type}/{quote(state_key)}", bot=True
        )
        return content if status == 200 else None

    async def set_state(self, room: str, event_type: str, content: Any, *, bot: bool = False) -> None:
        await self.call("PUT", f"/rooms/{quote(room)}/state/{event_type}/", content, bot=bot)

    async def open(self, slug: str) -> str:
        """Create a city room that Alice joins; return its Matrix room id."""
        await self.city.post("/city/rooms", {"name": slug.capitalize(), "slug": slug}, token=ADMIN_TOKEN)
        await self.wait_for_room(slug, matrix_status="linked")
        return await self.alice.join(f"#city_{slug}:city.localhost")

    async def give_power(self, room: str, user: str, level: int) -> None:
        levels = await self.state(room, "m.room.power_levels")
        levels["users"] = levels.get("users", {}) | {user: level}
        await self.set_state(room, "m.room.power_levels", levels, bot=True)

    async def room(self, slug: str) -> dict[str, Any]:
        room: dict[str, Any] = await self.city.get(f"/city/rooms/{slug}")
        return room

    async def wait_for_room(self, slug: str, **wanted: Any) -> dict[str, Any]:
        """Wait until the room has these fields; return it."""

        async def is_so() -> dict[str, Any] | None:
            room = await self.room(slug)
            return room if all(room[key] == value for key, value in wanted.items()) else None

        room = await eventually(is_so, explain=lambda: "\n".join(self.city.service.last_lines(30)))
        assert room is not None
        return room

    async def post(self, slug: str, body: str) -> None:
        await self.city.post(f"/city/rooms/{slug}/messages", {"body": body}, token=OKSANA)

    async def expect_messages(self, slug: str, *bodies: str) -> None:
        """Wait until the city's room has exactly these messages, in any order."""
        there: list[str] = []

        async def is_so() -> bool:
            there[:] = await self.city.bodies(slug)
            return sorted(there) == sorted(bodies)

        await eventually(is_so, explain=lambda: "\n".join([str(there), *self.city.service.last_lines(30)]))

    async def members(self, room: str) -> set[str]:
        return set((await self.call("GET", f"/rooms/{quote(room)}/joined_members", bot=True))["joined"])

    async def wait_for_members(self, room: str, *users: str) -> None:
        async def are_there() -> bool:
            return await self.members(room) >= set(users)

        await eventually(are_there)

    async def wait_for_visibility(self, room: str, visibility: str) -> None:
        """Wait until the room is public or private in the homeserver's directory."""

        async def is_so() -> bool:
            listed = await self.call("GET", f"/directory/list/room/{quote(room)}")
            return bool(listed["visibility"] == visibility)

        await eventually(is_so)

    async def events(self, room: str, event_type: str) -> list[dict[str, Any]]:
        """Return the last events of this type on the homeserver, oldest first."""
        page = await self.call("GET", f"/rooms/{quote(room)}/messages?dir=b&limit=100", bot=True)
        return [each for each in reversed(page["chunk"]) if each["type"] == event_type]

    async def matrix_bodies(self, room: str) -> list[str]:
        return [each["content"]["body"] for each in await self.events(room, "m.room.message")]

    async def patch(self, slug: str, change: dict[str, Any]) -> dict[str, Any]:
        status, room = await self.city.call("PATCH", f"/city/rooms/{slug}", change, token=MAYOR)
        assert status == 200, room
        assert isinstance(room, dict)
        return room

    async def space(self) -> str:
        answer = await self.call("GET", f"/directory/room/{quote('#city:city.localhost')}")
        return str(answer["room_id"])

    async def create(self, **content: Any) -> str:
        """Create a Matrix room as Alice."""
        answer = await self.call("POST", "/createRoom", {"preset": "public_chat", "room_version": "10"} | content)
        return str(answer["room_id"])

    async def upgrade(self, room: str, version: str, *, bot: bool = False) -> str:
        answer = await self.call("POST", f"/rooms/{quote(room)}/upgrade", {"new_version": version}, bot=bot)
        return str(answer["replacement_room"])


@asynccontextmanager
async def open_harness(directory: Any, version: str) -> AsyncIterator[RoomLifeHarness]:
    async def boot_synapse(**setup: Any) -> Any:
        return await boot(directory / "synapse", **setup)

    city = await RunningCity.make(
        directory / "city",
        f"sqlite:///{directory / 'city.db'}",
        boot_synapse,
        homeserver=None,
        settings={"city.room_version": version, "api.jwt.admin_claim": "admin"},
        agents=AGENTS,
    )
    try:
        await city.start()
        alice = await MatrixUser.arrive(city.homeserver, "alice")
        as_token = config_file.load(city.config).appservice.as_token.get_secret_value()
        yield RoomLifeHarness(city, alice, as_token, version, count())
        await alice.leave()
    finally:
        await city.close()
        city.homeserver.kill()


def only_version_10(harness: RoomLifeHarness) -> RoomLifeHarness:
    """Skip the test in later room versions, in which no user has power over the bot, which created the room."""
    if harness.version != "10":
        pytest.skip("in later versions no user has power over the bot, which created the room")
    return harness
