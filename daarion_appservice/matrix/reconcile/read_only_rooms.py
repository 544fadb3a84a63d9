"""Makes the Matrix rooms of archived rooms read-only, and restores their power levels when they are reopened."""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson

from ...city.event_fields import Event
from ...city.identity import Identities
from ...city.power_levels import RoomPowerLevels
from ...city.read_only_levels import read_only, restored
from ...city.types import Room
from ..client.homeserver import Homeserver
from ..client.room_rules import RoomRules, change_levels, stored_json
from .power_notices import missing_power
from .reconciled_rooms import ReconciledRooms, matrix_room_of


@dataclass(frozen=True, slots=True)
class ReadOnlyRooms:
    """Applies ``archived`` of city rooms to ``m.room.power_levels``."""

    homeserver: Homeserver
    identities: Identities
    store: ReconciledRooms

    async def update(self, room: Room, rules: RoomRules) -> None:
        """Set or restore the power levels of a linked room; do nothing if the bot has not the power for it.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        bot, applied = self.identities.bot, await self.store.applied_state(room)
        if missing_power(rules.powers, bot) or not (room.archived or applied.archived):
            return
        if room.archived:
            await self._make_read_only(room, rules, is_first=not applied.archived)
        else:
            before = orjson.loads(room.power_levels)
            powers = await change_levels(
                self.homeserver,
                matrix_room_of(room),
                rules.powers,
                lambda powers: restored(powers.content, before),
                as_user=bot,
            )
            async with self.store.database.transaction() as tx:
                await tx.rooms.set_rules(room.id, power_levels=stored_json(powers.content))
                await tx.matrix_rooms.set_applied_state(room.id, replace(applied, archived=False))

    async def _make_read_only(self, room: Room, rules: RoomRules, *, is_first: bool) -> None:
        """Make a room read-only, and store the levels to restore the first time: those of the Matrix room at that moment."""
        bot, seen = self.identities.bot, rules.powers

        def change(powers: RoomPowerLevels) -> Event:
            nonlocal seen
            seen = powers
            return read_only(powers, bot)

        if is_first:
            # Before the request: from then on the levels of the Matrix room are not those to restore.
            await self._store_levels_before(room, rules.powers)
        await change_levels(self.homeserver, matrix_room_of(room), rules.powers, change, as_user=bot)
        if is_first and seen.content != rules.powers.content:
            # A Matrix client has set others since they were read.
            await self._store_levels_before(room, seen)

    async def _store_levels_before(self, room: Room, powers: RoomPowerLevels) -> None:
        async with self.store.database.transaction() as tx:
            applied = await tx.matrix_rooms.applied_state(room.id)
            await tx.rooms.set_rules(room.id, power_levels=stored_json(powers.content))
            await tx.matrix_rooms.set_applied_state(room.id, replace(applied, archived=True))
