"""Changes of power levels while somebody else changes them: neither undoes the other."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock

import orjson
import pytest

from daarion_appservice.city.power_levels import RoomPowerLevels
from daarion_appservice.city.read_only_levels import read_only
from daarion_appservice.city.rooms import RoomUpdate
from daarion_appservice.city.types import HistoryVisibility, MatrixRoomId, Room, UserId
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.room_rules import RoomRules
from daarion_appservice.matrix.moderation.acting_moderator import ActingModerator, Moderators
from daarion_appservice.matrix.reconcile.read_only_rooms import ReadOnlyRooms
from daarion_appservice.matrix.reconcile.reconciled_rooms import ReconciledRooms
from tests.integration.test_room_moderation import LEVELS, MODERATOR, Moderated, open_room
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.private_room import ALICE, GENERAL, MATRIX_ROOM

BOT = UserId("@city:city.localhost")
READ: dict[str, Any] = {"users": {BOT: 100}, "events_default": 0}
SET_MEANWHILE: dict[str, Any] = {
    "users": {BOT: 100, ALICE: 50},
    "events_default": 10,
    "events": {"m.reaction": 20, "m.room.message": 0},
}


@pytest.mark.parametrize("writers", ["moderators", "everyone"])
async def test_writers_keep_levels_set_meanwhile(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, writers: str
) -> None:
    async with open_room(sqlite_url) as town:
        before = {} if writers == "moderators" else {"events_default": 49}
        await town.set_levels(MODERATOR | before)
        meanwhile = MODERATOR | before | {"users": {**MODERATOR["users"], ALICE: 30}, "ban": 60}
        _set_after_check(town, meanwhile, monkeypatch)
        assert (await town.ask("PATCH", "", {"writers": writers}))[0] == 200
        levels = town.matrix.states[LEVELS]
        assert (levels["ban"], levels["users"][ALICE]) == (60, 30)
        assert levels["events_default"] == (49 if writers == "moderators" else 0)


async def test_writers_set_meanwhile_are_not_set_again(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_room(sqlite_url) as town:
        _set_after_check(town, MODERATOR | {"events_default": 50}, monkeypatch)
        assert (await town.ask("PATCH", "", {"writers": "moderators"}))[0] == 200
        assert town.made("set_state") == []


def _set_after_check(town: Moderated, levels: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Set power levels on the homeserver after the moderator's rights were checked on those before."""
    moderator = Moderators.moderator

    async def racing(self: Moderators, *args: Any, **more: Any) -> ActingModerator:
        found = await moderator(self, *args, **more)
        town.matrix.states[LEVELS] = levels
        return found

    monkeypatch.setattr(Moderators, "moderator", racing)


# --- archived rooms -----------------------------------------------------------------------------------------


def rules_with(levels: dict[str, Any]) -> RoomRules:
    return RoomRules(
        powers=RoomPowerLevels(levels),
        join_rule="public",
        visibility=HistoryVisibility.WORLD_READABLE,
        visibility_since_ms=None,
        is_encrypted=False,
        predecessor=None,
        is_space=False,
    )


async def stored(city: InProcessCity) -> Room:
    async with city.city.database.read_only() as tx:
        room = await tx.rooms.get(GENERAL)
    assert room is not None
    return room


@pytest.mark.parametrize("meanwhile", [READ, SET_MEANWHILE], ids=["unchanged", "changed"])
async def test_archive_keeps_levels_set_meanwhile(database_url: str, meanwhile: dict[str, Any]) -> None:
    """The levels of the room are changed between the reconciler's read and its own change."""
    homeserver = AsyncMock(spec=Homeserver)
    homeserver.state.return_value = meanwhile
    async with in_process_city(database_url) as city:
        archive = ReadOnlyRooms(homeserver, city.city.identities, ReconciledRooms(city.city.database, lambda _: None))
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.link(GENERAL, MatrixRoomId(MATRIX_ROOM))
            await tx.rooms.set_rules(GENERAL, power_levels=orjson.dumps(READ).decode())
        await city.city.rooms.change("general", RoomUpdate(archived=True))
        await archive.update(await stored(city), rules_with(READ))
        archived = homeserver.set_state.call_args.args[2]
        assert archived == read_only(RoomPowerLevels(meanwhile), BOT)
        # Another look changes nothing, and the levels to restore remain.
        homeserver.state.return_value = archived
        await archive.update(await stored(city), rules_with(archived))
        assert homeserver.set_state.call_count == 1
        assert orjson.loads((await stored(city)).power_levels) == meanwhile
        await city.city.rooms.change("general", RoomUpdate(archived=False))
        await archive.update(await stored(city), rules_with(archived))
        assert homeserver.set_state.call_args.args[2] == {"events": {}} | meanwhile
