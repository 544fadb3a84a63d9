"""Who gets the power level of a room's creator."""

from __future__ import annotations

from daarion_appservice.city.types import RoomId, UserId
from daarion_appservice.matrix.reconcile.room_creators import RoomCreators
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity

OWNER, OWN, GHOST = citizen_token("u_owner"), RoomId("city_own"), UserId("@citizen_u_owner:city.localhost")


async def created(city: InProcessCity) -> RoomCreators:
    assert (await city.call("POST", "/city/rooms", {"name": "Own", "slug": "own"}, token=OWNER)).status == 201
    return RoomCreators(city.city.database, city.city.identities)


async def test_creator_gets_level_once(sqlite_city: InProcessCity) -> None:
    creators = await created(sqlite_city)
    # Before the ghost joins, and after that.
    assert await creators.without_level(OWN) == (GHOST,)
    assert (await sqlite_city.call("POST", "/city/rooms/own/join", {}, token=OWNER)).status == 200
    assert await creators.without_level(OWN) == (GHOST,)
    await creators.note_level(OWN)
    assert await creators.without_level(OWN) == ()


async def test_creator_who_left_before_linking_gets_no_level(sqlite_city: InProcessCity) -> None:
    creators = await created(sqlite_city)
    for action in ("join", "leave"):
        assert (await sqlite_city.call("POST", f"/city/rooms/own/{action}", {}, token=OWNER)).status == 200
    assert await creators.without_level(OWN) == ()
    await creators.note_level(OWN)
    # Also not after a return: from the first link on, the level is up to the moderators.
    await sqlite_city.call("POST", "/city/rooms/own/join", {}, token=OWNER)
    assert await creators.without_level(OWN) == ()
