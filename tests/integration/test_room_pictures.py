"""Pictures of rooms, from Matrix and from the city."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.avatars import avatar_key, room_avatar
from daarion_appservice.city.events import CityEvent
from daarion_appservice.city.power_levels import RoomPowerLevels
from daarion_appservice.city.types import Author, AuthorKind, HistoryVisibility, Media
from daarion_appservice.matrix.client.room_rules import RoomRules
from daarion_appservice.matrix.reconcile.reconciled_rooms import ReconciledRooms
from tests.integration.test_room_moderation import MODERATOR, Moderated, open_room
from tests.parts.city import ADMIN_TOKEN
from tests.parts.linked_person import ROOM
from tests.parts.private_room import ADMIN, GENERAL, OKSANA, OKSANA_GHOST, TARAS

AVATAR = "m.room.avatar"
MXC, OTHER = "mxc://city.localhost/house", "mxc://elsewhere.org/other"
PATH = "/city/media/city.localhost/house"


@pytest.fixture
async def town(database_url: str) -> AsyncIterator[Moderated]:
    async with open_room(database_url) as town:
        yield town


@pytest.fixture
async def sqlite_town(sqlite_url: str) -> AsyncIterator[Moderated]:
    async with open_room(sqlite_url) as town:
        yield town


async def picture(town: Moderated, token: str | None = None) -> Any:
    return (await town.city.get(ROOM, token=token))["avatar_url"]


async def upload(town: Moderated, *, mimetype: str = "image/png", citizen: str = "u_1", size: int = 70) -> None:
    async with town.city.city.database.transaction() as tx:
        uploaded = Media(MXC, mimetype, "house.png", size=size, width=8, height=8)
        await tx.media.add_upload(Author(AuthorKind.CITIZEN, citizen, ""), uploaded, now_ms=0)


async def patch(town: Moderated, content: Any, token: str | None = OKSANA) -> tuple[int, Any]:
    answer = await town.city.call("PATCH", ROOM, content, token=token)
    return answer.status, answer.content


async def test_picture_of_matrix_is_shown(town: Moderated) -> None:
    assert await picture(town) is None
    await town.receive(AVATAR, {"url": MXC, "info": {"mimetype": "image/png"}}, state_key="")
    assert await picture(town) == PATH
    (listed,) = [each for each in await town.city.get("/city/rooms") if each["id"] == GENERAL]
    assert listed["avatar_url"] == PATH
    await town.receive(AVATAR, {"url": OTHER}, state_key="")
    assert await picture(town) == "/city/media/elsewhere.org/other"
    await town.receive(AVATAR, {}, state_key="")
    assert await picture(town) is None


@pytest.mark.parametrize(
    "content",
    [{}, {"url": None}, {"url": 7}, {"url": "https://x.org/a.png"}, {"url": "mxc://a/../b"}, {"file": {"url": MXC}}],
)
async def test_malformed_picture_is_none(sqlite_town: Moderated, content: Any) -> None:
    await sqlite_town.receive(AVATAR, {"url": MXC}, state_key="")
    await sqlite_town.receive(AVATAR, content, state_key="")
    assert await picture(sqlite_town) is None
    assert (await sqlite_town.city.call("GET", PATH)).status == 404


async def test_drawn_picture_is_none(sqlite_town: Moderated) -> None:
    async with sqlite_town.city.city.database.transaction() as tx:
        await tx.drawn_avatars.add(avatar_key(room_avatar("general")), MXC)
    await sqlite_town.receive(AVATAR, {"url": MXC}, state_key="")
    assert await picture(sqlite_town) is None


async def test_picture_of_private_room_is_private(town: Moderated) -> None:
    await town.receive(AVATAR, {"url": MXC}, state_key="")
    await town.set_visibility("joined")
    await town.receive("m.room.join_rules", {"join_rule": "invite"}, state_key="")
    assert await picture(town, TARAS) is not None, "a member"
    assert await picture(town) is None, "a visitor"
    database = town.city.city.database
    async with database.read_only() as tx:
        assert not await tx.media.is_shown(MXC)
    signed = await picture(town, OKSANA)
    assert signed.startswith(f"{PATH}?expires=")
    assert (await town.city.call("GET", PATH)).status == 404
    async with database.read_only() as tx:
        assert await tx.media.is_in_use(MXC)
    await town.receive(AVATAR, {}, state_key="")
    assert (await town.city.call("GET", signed)).status == 404, "the room does not show it any more"


async def test_moderator_changes_picture(town: Moderated) -> None:
    await upload(town)
    status, room = await patch(town, {"avatar": MXC})
    assert (status, room["avatar_url"]) == (200, PATH), "before its event comes"
    info = {"mimetype": "image/png", "size": 70, "w": 8, "h": 8}
    assert town.made("set_state") == [(OKSANA_GHOST, {"url": MXC, "info": info})]
    assert (await patch(town, {"avatar": MXC}))[0] == 200
    assert len(town.made("set_state")) == 1, "an equal value changes nothing"
    status, room = await patch(town, {"avatar": ""})
    assert (status, room["avatar_url"]) == (200, None)
    assert town.made("set_state")[1:] == [(OKSANA_GHOST, {})]


@pytest.mark.parametrize(
    ("uploaded", "code"),
    [
        ({"citizen": "u_2"}, "avatar_unknown"),
        ({"mimetype": "image/svg+xml"}, "avatar_invalid"),
        ({"size": 11 * 1024 * 1024}, "avatar_invalid"),
    ],
)
async def test_invalid_picture_is_refused(sqlite_town: Moderated, uploaded: Any, code: str) -> None:
    await upload(sqlite_town, **uploaded)
    status, problem = await patch(sqlite_town, {"avatar": MXC, "writers": "moderators"})
    assert (status, problem["code"]) == (422, code)
    assert sqlite_town.made("set_state") == [], "nor anything else"


async def test_picture_needs_its_own_level(sqlite_town: Moderated) -> None:
    town = sqlite_town
    await upload(town)
    await town.set_levels(MODERATOR | {"events": {AVATAR: 60}})
    assert "set_avatar" not in await town.rights()
    for token in (OKSANA, TARAS):
        status, problem = await patch(town, {"avatar": MXC}, token)
        assert (status, problem["code"]) == (403, "power_too_low")
    assert (await patch(town, {"avatar": ""}, None))[0] == 401
    assert (await patch(town, {"avatar": MXC}, ADMIN_TOKEN))[1]["code"] == "not_allowed", "nobody's token"
    await upload(town, citizen="u_3")
    assert (await patch(town, {"avatar": MXC}, ADMIN))[0] == 200, "an admin of the city"


async def test_reconciler_leaves_newer_state(town: Moderated) -> None:
    """The reconciler reads the row of a room, then its state on Matrix; an event is handled in between."""
    published: list[CityEvent] = []
    store = ReconciledRooms(town.city.city.database, published.append)
    async with store.database.read_only() as tx:
        read = await tx.rooms.find(GENERAL)
    assert read is not None
    await town.receive(AVATAR, {"url": MXC}, state_key="")
    await town.receive("m.room.history_visibility", {"history_visibility": "joined"}, state_key="")
    await store.set_avatar(read, OTHER)
    powers = RoomPowerLevels(json.loads(read.power_levels or "{}"))
    await store.set_rules(read, RoomRules(powers, "public", HistoryVisibility.SHARED, None, False, None, False))
    newer = await store.get(read)
    assert (newer.avatar_url, newer.history_visibility) == (MXC, HistoryVisibility.JOINED)
    assert published == []

    await store.set_avatar(newer, OTHER)
    assert (await store.get(newer)).avatar_url == OTHER
    assert len(published) == 1
