"""Drawn avatars are uploaded once, shared by processes, and uploaded again if the homeserver lost them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from daarion_appservice.city.avatars import Emblem, EmblemAvatar, room_avatar
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.power_levels import RoomPowerLevels
from daarion_appservice.city.types import MatrixRoomId
from daarion_appservice.matrix.avatars.drawn_avatars import DrawnAvatars
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.reconcile.room_appearance import RoomAppearance
from daarion_appservice.storage.database import Database
from tests.parts.scripted_homeserver import HANG_UP, NOT_REGISTERED, Reply, ScriptedHomeserver, refused

IDENTITIES = Identities("city.localhost", "city")
CITY, GENERAL = EmblemAvatar(Emblem.CITY), room_avatar("general")
GONE = refused(404, "M_NOT_FOUND")


@dataclass
class AvatarHarness:
    database: Database
    homeserver: ScriptedHomeserver
    process: Callable[[], DrawnAvatars]
    """Returns the avatars of another process of the city, or of this one after a restart."""

    def uploads(self) -> int:
        return len(self.homeserver.all("upload"))


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[AvatarHarness]:
    database, homeserver = Database(database_url), ScriptedHomeserver()
    async with homeserver.serving():
        client = Homeserver(homeserver.url, "token")
        yield AvatarHarness(database, homeserver, lambda: DrawnAvatars(client, database, IDENTITIES.bot))
        await client.close()
    await database.close()


async def test_avatar_is_uploaded_once_for_all_users(harness: AvatarHarness) -> None:
    avatars = harness.process()
    await avatars.load()
    first, second = await asyncio.gather(avatars.address(CITY), avatars.address(CITY))
    assert first == second == "mxc://city.localhost/upload1"
    assert await avatars.is_drawn(first)
    assert not await avatars.is_drawn("mxc://city.localhost/other")
    [upload] = harness.homeserver.all("upload")
    assert (upload.user, upload.content[:8]) == (IDENTITIES.bot, b"\x89PNG\r\n\x1a\n")
    assert await avatars.address(GENERAL) == "mxc://city.localhost/upload2"


async def test_avatar_is_not_uploaded_again_after_restart(harness: AvatarHarness) -> None:
    await harness.process().address(CITY)
    restarted = harness.process()
    await restarted.load()
    assert await restarted.address(CITY, current="mxc://city.localhost/upload1") == "mxc://city.localhost/upload1"
    assert await restarted.address(CITY) == "mxc://city.localhost/upload1"
    assert harness.uploads() == 1
    assert len(harness.homeserver.all("download")) == 1, "asked before another user gets it"


async def test_two_processes_use_the_same_upload(harness: AvatarHarness) -> None:
    one, other = harness.process(), harness.process()
    await one.load()
    await other.load()
    assert await one.address(CITY) == await other.address(CITY) == "mxc://city.localhost/upload1"
    assert harness.uploads() == 1


async def test_uploads_of_two_processes_end_in_one(harness: AvatarHarness) -> None:
    one, other = harness.process(), harness.process()
    end = harness.homeserver.hold("upload")
    first = asyncio.create_task(one.address(CITY))
    while not harness.uploads():
        await asyncio.sleep(0.01)
    assert await other.address(CITY) == "mxc://city.localhost/upload2"
    end.set()
    assert await first == "mxc://city.localhost/upload2", "the first one that is stored is that of all"


async def test_lost_avatar_is_uploaded_again(harness: AvatarHarness) -> None:
    await harness.process().address(CITY)
    avatars = harness.process()
    await avatars.load()
    harness.homeserver.next("download", GONE)
    await avatars.find_lost()
    assert avatars.is_incomplete
    assert await avatars.address(CITY, current="mxc://city.localhost/upload1") == "mxc://city.localhost/upload2"
    assert await avatars.is_drawn("mxc://city.localhost/upload1"), "a room that shows it gets the other one"
    restarted = harness.process()
    await restarted.load()
    assert await restarted.address(CITY) == "mxc://city.localhost/upload2"


async def test_avatar_is_checked_before_it_is_given(harness: AvatarHarness) -> None:
    """A reset homeserver has neither media nor ghosts."""
    await harness.process().address(CITY)
    avatars = harness.process()
    await avatars.load()
    harness.homeserver.next("download", GONE)
    harness.homeserver.next("upload", NOT_REGISTERED)
    assert await avatars.address(CITY) == "mxc://city.localhost/upload3"
    assert len(harness.homeserver.all("register")) == 1


@pytest.mark.parametrize(
    "reply", [HANG_UP, refused(500, "M_UNKNOWN"), refused(429, "M_LIMIT_EXCEEDED")], ids=["cut", "500", "429"]
)
async def test_failed_upload_is_tried_again(harness: AvatarHarness, reply: Reply) -> None:
    avatars = harness.process()
    harness.homeserver.next("upload", reply)
    assert await avatars.address(CITY) is None
    assert avatars.is_incomplete
    assert await avatars.address(CITY) is not None


async def test_refused_upload_is_not_repeated(harness: AvatarHarness) -> None:
    avatars = harness.process()
    harness.homeserver.next("upload", refused(403, "M_FORBIDDEN"))
    assert await avatars.address(CITY) is None
    assert await avatars.address(GENERAL) is None
    assert (harness.uploads(), avatars.is_incomplete) == (1, False)


@pytest.mark.parametrize("reply", [refused(404, "M_UNRECOGNIZED"), refused(403, "M_FORBIDDEN")], ids=["404", "403"])
async def test_refused_check_does_not_count_as_loss(harness: AvatarHarness, reply: Reply) -> None:
    await harness.process().address(CITY)
    avatars = harness.process()
    await avatars.load()
    harness.homeserver.next("download", reply)
    await avatars.find_lost()
    assert (avatars.is_incomplete, harness.uploads()) == (False, 1)


async def test_unavailable_media_repository_is_no_loss(harness: AvatarHarness) -> None:
    """The media repository may be a separate process: the homeserver must not count as unavailable."""
    await harness.process().address(CITY)
    avatars = harness.process()
    await avatars.load()
    harness.homeserver.next("download", Reply(502, {}))
    await avatars.find_lost()
    assert not avatars.is_incomplete
    harness.homeserver.next("download", GONE)
    await avatars.find_lost()
    assert avatars.is_incomplete, "it is checked in the next pass"


async def test_lost_file_is_returned(harness: AvatarHarness) -> None:
    avatars = harness.process()
    harness.homeserver.next("download", GONE)
    assert await avatars.find_lost(["mxc://city.localhost/file"]) == {"mxc://city.localhost/file"}
    assert await avatars.find_lost(["mxc://city.localhost/file"]) == set(), "it is there again"
    assert not avatars.is_incomplete


async def test_checks_are_spread_over_passes(harness: AvatarHarness) -> None:
    async with harness.database.transaction() as tx:
        for number in range(120):
            await tx.drawn_avatars.add(f"key{number}", f"mxc://city.localhost/{number}")
    avatars = harness.process()
    await avatars.load()
    counts = []
    for _ in range(4):
        await avatars.find_lost()
        counts.append(len(harness.homeserver.all("download")))
    assert counts == [50, 100, 120, 120]


@pytest.mark.parametrize(
    ("current", "is_replaced"),
    [("mxc://example.org/own", False), ("https://example.org/a.png", True), (7, True), ("", True)],
)
async def test_invalid_picture_of_room_gives_way_to_house(
    harness: AvatarHarness, current: Any, is_replaced: bool
) -> None:
    harness.homeserver.next("state", Reply(200, {"url": current}))
    client = Homeserver(harness.homeserver.url, "token")
    appearance = RoomAppearance(client, IDENTITIES, harness.process())
    powers = RoomPowerLevels({"users": {IDENTITIES.bot: 100}})
    shown = await appearance.update_avatar(MatrixRoomId("!general"), GENERAL, powers)
    await client.close()
    assert shown == (None if is_replaced else current)
    assert [each.content["url"] for each in harness.homeserver.all("set_state")] == (
        ["mxc://city.localhost/upload1"] if is_replaced else []
    )
