"""The profiles of citizens' ghosts on Matrix follow the names of tokens and the chosen ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from daarion_appservice.city.events import ProfileChanged
from daarion_appservice.city.types import SubjectId, UserId
from daarion_appservice.errors import HomeserverUnavailable
from daarion_appservice.matrix.ghosts.profiles import Profile
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.scripted_homeserver import HANG_UP, ScriptedHomeserver, refused

OKSANA = citizen_token("u_1", "Оксана")
GHOST = UserId("@citizen_u_1:city.localhost")


@dataclass(frozen=True)
class Ghosted:
    """A city with the ghost of Oksana, and its homeserver."""

    city: InProcessCity
    homeserver: ScriptedHomeserver

    async def rename(self, name: str) -> None:
        answer = await self.city.call("PATCH", "/city/me", {"display_name": name}, token=OKSANA)
        assert answer.status == 200, answer

    async def beat(self, token: str) -> None:
        assert (await self.city.call("POST", "/api/v1/presence/heartbeat", {}, token=token)).status == 200

    async def write(self) -> float | None:
        return await self.city.city.citizen_ghosts._write_pending()

    def names(self) -> list[str]:
        """Return the names that the ghost has got, in their order."""
        return [each.content["displayname"] for each in self.homeserver.all("profile") if "displayname" in each.content]


@pytest.fixture
async def ghosted(sqlite_url: str) -> AsyncIterator[Ghosted]:
    homeserver = ScriptedHomeserver()
    async with homeserver.serving(), in_process_city(sqlite_url, homeserver={"address": homeserver.url}) as city:
        await city.city.ghosts.ensure(GHOST, Profile("Оксана", ""))
        yield Ghosted(city, homeserver)


async def test_name_of_token_is_written(ghosted: Ghosted) -> None:
    await ghosted.beat(citizen_token("u_1", "Оксана Київська"))
    assert await ghosted.write() is None
    assert ghosted.names() == ["Оксана", "Оксана Київська"]


async def test_unknown_name_of_token_leaves_name(ghosted: Ghosted) -> None:
    ghosted.city.city.bus.publish(ProfileChanged(SubjectId("u_1")))
    await ghosted.write()
    assert ghosted.names() == ["Оксана"]


async def test_refusal_for_a_while_is_repeated(ghosted: Ghosted) -> None:
    await ghosted.rename("Нова")
    ghosted.homeserver.next("profile", refused(500, "M_UNKNOWN"))
    assert await ghosted.write() is not None
    assert await ghosted.write() is None
    assert ghosted.names() == ["Оксана", "Нова", "Нова"]


async def test_outage_leaves_change_pending(ghosted: Ghosted) -> None:
    await ghosted.rename("Нова")
    ghosted.homeserver.next("profile", *[HANG_UP] * 3)
    with pytest.raises(HomeserverUnavailable):
        await ghosted.write()
    await ghosted.write()
    assert ghosted.city.city.ghosts.display_name(GHOST) == "Нова"
