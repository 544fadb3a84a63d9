"""Changes of ``m.room.power_levels``, which replace the whole content, keep the levels that others set meanwhile."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from daarion_appservice.city.granted_levels import with_granted_levels
from daarion_appservice.city.power_levels import RoomPowerLevels
from daarion_appservice.city.types import MatrixRoomId, UserId
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.room_rules import change_levels

ROOM = MatrixRoomId("!room:city.localhost")
BOT, ADMIN, OLENA = UserId("@city:city.localhost"), UserId("@admin:city.localhost"), UserId("@olena:city.localhost")
GRANT = partial(with_granted_levels, bot=BOT, admins=(ADMIN,), observer=None)


class OneRoom:
    """The power levels of one room on a homeserver."""

    def __init__(self, users: dict[str, int]) -> None:
        self.content: dict[str, Any] | None = {"users": users}
        self.writes = 0

    async def state(self, *_: Any, **__: Any) -> dict[str, Any] | None:
        return self.content

    async def set_state(self, _room: MatrixRoomId, _type: str, content: dict[str, Any], **_: Any) -> None:
        self.content = content
        self.writes += 1


async def changed(room: OneRoom, read: dict[str, int]) -> RoomPowerLevels:
    powers = RoomPowerLevels({"users": read})
    return await change_levels(cast("Homeserver", room), ROOM, powers, GRANT, as_user=BOT)


async def test_levels_set_since_the_read_are_kept() -> None:
    room = OneRoom({BOT: 100, OLENA: 50})
    levels = await changed(room, {BOT: 100})
    assert room.content == levels.content == {"users": {BOT: 100, OLENA: 50, ADMIN: 100}}


async def test_change_that_somebody_made_is_not_sent_again() -> None:
    room = OneRoom({BOT: 100, ADMIN: 100})
    levels = await changed(room, {BOT: 100})
    assert (room.writes, levels.of(ADMIN)) == (0, 100)


async def test_nothing_is_requested_without_a_change() -> None:
    room = OneRoom({})
    assert (await changed(room, {BOT: 100, ADMIN: 100})).of(BOT) == 100
    assert room.writes == 0


async def test_lost_power_of_the_bot_is_respected() -> None:
    room = OneRoom({OLENA: 100})
    assert (await changed(room, {BOT: 100})).content == {"users": {OLENA: 100}}
    assert room.writes == 0
