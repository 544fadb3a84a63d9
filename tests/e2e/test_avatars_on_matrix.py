"""Avatars, names, service members and admins of the city, as a real Synapse returns them to clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from PIL import Image

from daarion_appservice.config import editing as config_edit
from daarion_appservice.demo.local_synapse import Account
from tests.parts.city import ADMIN_TOKEN, RunningCity, eventually, shared_city

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOT, OBSERVER = "@city:city.localhost", "@city_observer:city.localhost"
SCRIBE, DAARWIZZ = "@agent_scribe:city.localhost", "@agent_daarwizz:city.localhost"
OLENA: Final = "@olena:city.localhost"
ROOMS = ("general", "welcome", "builders")
AGENTS = """
agents:
  - {{slug: daarwizz, display_name: DAARWIZZ, title: Orchestrator, avatar: {file}}}
  - {{slug: scribe, display_name: Писар, title: Scribe}}
"""


class AvatarCity:
    """A running city whose Matrix side is read and changed as an admin of rooms and homeserver."""

    def __init__(self, city: RunningCity, admin: Account) -> None:
        self.city, self.admin = city, admin

    async def ask(self, method: str, path: str, content: Any = None) -> Any:
        status, answer = await self.city.call(
            method, path, content, token=self.admin.access_token, url=self.city.homeserver.url
        )
        assert status == 200, (path, answer)
        return answer

    async def profile(self, user: str) -> dict[str, Any]:
        profile: dict[str, Any] = await self.ask("GET", f"/_matrix/client/v3/profile/{user}")
        return profile

    async def room(self, alias: str) -> str:
        found = await self.ask("GET", f"/_matrix/client/v3/directory/room/%23{alias}:city.localhost")
        return str(found["room_id"])

    async def state(self, alias: str) -> dict[tuple[str, str], Any]:
        """The content of the whole state of a room, by type and state key."""
        events = await self.ask("GET", f"/_synapse/admin/v1/rooms/{await self.room(alias)}/state")
        return {(event["type"], event["state_key"]): event["content"] for event in events["state"]}

    async def picture(self, mxc: str) -> bytes:
        path = f"/_matrix/client/v1/media/download/{mxc.removeprefix('mxc://')}"
        headers = {"Authorization": f"Bearer {self.admin.access_token}"}
        async with self.city.session.get(self.city.homeserver.url + path, headers=headers) as answer:
            assert answer.status == 200
            assert answer.content_type == "image/png"
            return await answer.read()

    async def restart(self, **settings: str) -> None:
        await self.city.service.stop()
        if settings:
            config_edit.set_values(self.city.config, {name.replace("__", "."): text for name, text in settings.items()})
        await self.city.start()


@asynccontextmanager
async def avatar_city(
    directory: Path, database_url: str, settings: dict[str, str | float]
) -> AsyncIterator[AvatarCity]:
    """Start a city of two agents, one of them with a picture of its own, and one admin."""
    file = directory / "wizard.png"
    Image.new("RGB", (8, 8), "#123456").save(file)

    admin: Account | None = None

    async def admit_olena(city: RunningCity) -> None:
        nonlocal admin
        admin = await city.homeserver.register("olena", "secret", admin=True)
        city.config.write_text(city.config.read_text().replace("\n  admins: []\n", f'\n  admins: ["{OLENA}"]\n'))

    agents = AGENTS.format(file=file)
    async with shared_city(directory, database_url, settings=settings, agents=agents, first=admit_olena) as city:
        assert admin is not None
        yield AvatarCity(city, admin)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def harness(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AvatarCity]:
    """A city for all tests, in which the bot is a creator of the rooms, which have Synapse's default version, 12."""
    async with avatar_city(tmp_path_factory.mktemp("avatars"), "", {}) as city:
        yield city


async def test_bot_of_version_10_sets_avatars_and_power(tmp_path: Path, postgres_url: str) -> None:
    """The bot has level 100 there."""
    async with avatar_city(tmp_path, postgres_url, {"city.room_version": "10"}) as harness:
        await check_avatars_and_power(harness)


async def test_all_have_avatars_and_admins_have_power(harness: AvatarCity) -> None:
    await check_avatars_and_power(harness)


async def check_avatars_and_power(harness: AvatarCity) -> None:
    """Check what a first start set up on Matrix."""
    mxcs = {user: (await harness.profile(user))["avatar_url"] for user in (SCRIBE, DAARWIZZ, BOT, OBSERVER)}
    for alias in ("city", *(f"city_{room}" for room in ROOMS)):
        state = await harness.state(alias)
        mxcs[alias] = state["m.room.avatar", ""]["url"]
        assert state["io.element.functional_members", ""] == {"service_members": [BOT, OBSERVER]}
        users = state["m.room.power_levels", ""]["users"]
        assert users[OLENA] == 100
        assert users.get(OBSERVER) == (None if alias == "city" else -1)
    assert (await harness.state("city"))["m.room.member", OLENA]["membership"] == "invite"
    assert len(set(mxcs.values())) == len(mxcs)
    pictures = {name: await harness.picture(mxc) for name, mxc in mxcs.items()}
    sizes = {name: Image.open(BytesIO(png)).size for name, png in pictures.items()}
    assert sizes.pop(DAARWIZZ) == (8, 8), "its own"
    assert set(sizes.values()) == {(256, 256)}
    assert Image.open(BytesIO(pictures[SCRIBE])).convert("RGB").getpixel((5, 5)) == (0x83, 0x51, 0x0E)

    names = {user: (await harness.profile(user))["displayname"] for user in (SCRIBE, BOT, OBSERVER)}
    assert names == {SCRIBE: "Писар", BOT: "DAARION bot", OBSERVER: "DAARION observer bot"}
    assert (await harness.profile(SCRIBE))["space.daarion.role"]["title"] == "Scribe"
    assert (await harness.profile(OBSERVER))["space.daarion.role"]["kind"] == "bot"

    # The city's own pages draw the same face, so that its API names uploaded pictures only.
    agents = {agent["slug"]: agent["avatar_url"] for agent in await harness.city.get("/api/v1/agents")}
    assert agents["scribe"] is None
    assert agents["daarwizz"].startswith("/city/media/")


async def test_room_opened_later_has_avatar_and_admin(harness: AvatarCity) -> None:
    opened = await harness.city.post("/city/rooms", {"name": "Бібліотека", "slug": "library"}, token=ADMIN_TOKEN)

    async def is_set_up() -> bool:
        status, _ = await harness.city.call(
            "GET", "/_matrix/client/v3/directory/room/%23city_library:city.localhost", url=harness.city.homeserver.url
        )
        return status == 200 and ("m.room.avatar", "") in await harness.state("city_library")

    assert opened["slug"] == "library"
    await eventually(is_set_up)
    assert (await harness.state("city_library"))["m.room.power_levels", ""]["users"][OLENA] == 100


async def test_avatar_follows_name_and_own_picture(harness: AvatarCity) -> None:
    before = (await harness.profile(SCRIBE))["avatar_url"]
    put = "/api/v1/agents/scribe"
    described = {"display_name": "Літописець", "title": "Scribe", "rooms": ["general"]}
    assert (await harness.city.call("PUT", put, described, token=ADMIN_TOKEN))[0] == 200

    async def avatar_is_not(*others: str) -> str | None:
        avatar = str((await harness.profile(SCRIBE)).get("avatar_url"))
        return None if avatar in others else avatar

    renamed = await eventually(lambda: avatar_is_not(before))
    assert await harness.picture(str(renamed)) != await harness.picture(before)
    own = (await harness.profile(DAARWIZZ))["avatar_url"]
    await harness.city.call("PUT", put, described | {"avatar": own}, token=ADMIN_TOKEN)
    assert await eventually(lambda: avatar_is_not(str(renamed))) == own
    await harness.city.call("PUT", put, described, token=ADMIN_TOKEN)
    assert await eventually(lambda: avatar_is_not(own)) == renamed, "the one that was uploaded before"
    await harness.city.call("PUT", put, described | {"display_name": "Писар"}, token=ADMIN_TOKEN)
    assert await eventually(lambda: avatar_is_not(str(renamed))) == before


async def test_restart_repairs_files_and_respects_admins(harness: AvatarCity) -> None:
    room = await harness.room("city_welcome")
    chosen = (await harness.profile(BOT))["avatar_url"].replace("city.localhost", "elsewhere")
    await harness.ask("POST", f"/_matrix/client/v3/join/{room}", {})
    await harness.ask("PUT", f"/_matrix/client/v3/rooms/{room}/state/m.room.avatar/", {"url": chosen})
    lost = await _shown(harness)
    for mxc in lost:
        await harness.ask("DELETE", f"/_synapse/admin/v1/media/{mxc.removeprefix('mxc://')}")

    await harness.restart(city__agent_display_name="{name} · {title}")

    async def is_repaired() -> bool:
        return not set(await _shown(harness)) & set(lost)

    await eventually(is_repaired)
    for mxc in await _shown(harness):
        await harness.picture(mxc)
    assert (await harness.state("city_welcome"))["m.room.avatar", ""] == {"url": chosen}
    assert (await harness.profile(SCRIBE))["displayname"] == "Писар · Scribe"
    await harness.city.post("/api/v1/agents/scribe/heartbeat", token=await harness.city.agent_token("scribe"))

    async def online() -> list[Any]:
        return list((await harness.city.get("/city/rooms/general"))["online_members"])

    [scribe] = await eventually(online)
    assert (scribe["display_name"], scribe["avatar_url"]) == ("Писар", None), (
        "the city knows what Matrix shows is derived"
    )


async def _shown(harness: AvatarCity) -> list[str]:
    """The avatars of an agent that has none of its own, of one that has a file, and of a room."""
    return [
        (await harness.profile(SCRIBE))["avatar_url"],
        (await harness.profile(DAARWIZZ))["avatar_url"],
        (await harness.state("city_general"))["m.room.avatar", ""]["url"],
    ]
