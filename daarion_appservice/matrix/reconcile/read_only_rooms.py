"""Makes the Matrix rooms of archived rooms read-only, and restores their power levels when they are reopened."""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson

from ...city.identity import Identities
from ...city.read_only_levels import read_only, restored
from ...city.types import Room
from ..client.homeserver import Homeserver
from ..client.room_rules import RoomRules, stored_json
from .power_notices import missing_power
from .room_store import RoomStore, matrix_room_of


@dataclass(frozen=True, slots=True)
class ReadOnlyRooms:
    """Applies ``archived`` of city rooms to ``m.room.power_levels``."""

    homeserver: Homeserver
    identities: Identities
    store: RoomStore

    async def update(self, room: Room, rules: RoomRules) -> None:
        """Set or restore the power levels of a linked room; do nothing if the bot has not the power for it.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        applied, content = await self.store.applied_state(room), rules.powers.content
        if missing_power(rules.powers, self.identities.bot) or not (room.archived or applied.archived):
            return
        if room.archived:
            if not applied.archived:
                # Before the request: from then on the levels of the Matrix room are not those to restore.
                await self.store.set_applied_state(room, replace(applied, archived=True))
            wanted = read_only(rules.powers, self.identities.bot)
        else:
            wanted = restored(content, orjson.loads(room.power_levels))
        if wanted != content:
            await self.homeserver.set_state(
                matrix_room_of(room), "m.room.power_levels", wanted, as_user=self.identities.bot
            )
        if not room.archived:
            async with self.store.database.transaction() as tx:
                await tx.rooms.set_rules(room.id, power_levels=stored_json(wanted))
                await tx.matrix_rooms.set_applied_state(room.id, replace(applied, archived=False))
