"""Leaves the Matrix rooms of rooms that were removed from the city.

    alias, directory entry and space entry deleted ─► read-only, if the city created it ─► all ghosts leave ─► the bot leaves

The transaction that removes a room stores it in ``removed_rooms``, where it remains until the bot has left, so a crash or a
restart loses none. The Matrix room itself stays for the people in it; only an admin of the homeserver can purge it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog

from ...city.event_fields import sender_of
from ...city.events import RoomRemoved
from ...city.identity import Identities
from ...city.ports import Publish
from ...city.read_only_levels import read_only
from ...city.types import MatrixRoomId, UserId
from ...errors import DatabaseError, HomeserverRefused, HomeserverUnavailable
from ...realtime.isolation import isolated
from ...storage.database import Database
from ...storage.removed_rooms import RemovedRoom
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_transient
from ..client.room_rules import change_levels, read_rules
from .power_notices import missing_power
from .space import CitySpace

_CONCURRENCY: Final = 8
"""Maximum number of ghosts that leave at the same time."""

log = structlog.get_logger()


@dataclass(slots=True)
class RoomRemoval:
    """Leaves the Matrix rooms; the reconciler calls it in each pass, before it links rooms that may have the same alias."""

    homeserver: Homeserver
    monitor: HomeserverMonitor
    database: Database
    identities: Identities
    space: CitySpace
    publish: Publish
    _published: set[RemovedRoom] = field(default_factory=set)
    """Removals that this process has published: the command line publishes none."""

    async def run(self) -> bool:
        """Leave the Matrix rooms of all removed rooms; return whether nothing is left to do."""
        async with self.database.read_only() as tx:
            stored = await tx.removed_rooms.all()
        for each in stored:
            if each not in self._published:
                self._published.add(each)
                self.publish(RoomRemoved(each.room_id))
        results = [await self._remove_isolated(each) for each in stored]
        return all(results)

    async def _remove_isolated(self, removed: RemovedRoom) -> bool:
        try:
            with isolated("room_removal", removed.slug):
                await self._remove(removed)
                return True
        except HomeserverUnavailable as error:
            self.monitor.report_unavailable(error)
        except (HomeserverRefused, DatabaseError) as error:
            log.warning("room_removal_failed", room=removed.slug, error=str(error), help="trying again")
        return False

    async def _remove(self, removed: RemovedRoom) -> None:
        room = removed.matrix_room_id
        if room is not None and not await self._is_linked_again(room):
            await self._delete_alias(removed.slug, room)
            if room in await self.homeserver.joined_rooms(as_user=self.identities.bot):
                await self._close_and_leave(room)
                log.info("removed_room_left", room=removed.slug, matrix_room=room)
        async with self.database.transaction() as tx:
            await tx.removed_rooms.delete(removed)
        self._published.discard(removed)

    async def _is_linked_again(self, room: MatrixRoomId) -> bool:
        """Return whether an admin adopted the Matrix room again."""
        async with self.database.read_only() as tx:
            return await tx.rooms.by_matrix_id(room) is not None

    async def _delete_alias(self, slug: str, room: MatrixRoomId) -> None:
        alias = self.identities.room_alias(slug)
        if await self.homeserver.room_of_alias(alias) == room:
            await self.homeserver.delete_alias(alias, as_user=self.identities.bot)

    async def _close_and_leave(self, room: MatrixRoomId) -> None:
        bot = self.identities.bot
        await self._leave_directory(room)
        space = self.space.id
        if space is not None and await self.homeserver.state(space, "m.space.child", room, as_user=bot):
            await self.homeserver.set_state(space, "m.space.child", {}, room, as_user=bot)
        await self._make_read_only(room)
        joined = await self.homeserver.joined_members(room, as_user=bot)
        await self._leave(room, (user for user in joined if self.identities.is_ours(user) and user != bot))
        await self.homeserver.leave(room, as_user=bot)

    async def _leave_directory(self, room: MatrixRoomId) -> None:
        """Remove a room from the directory; without the permission for it, in an adopted room, it stays listed."""
        try:
            if await self.homeserver.is_in_directory(room):
                await self.homeserver.set_in_directory(room, False, as_user=self.identities.bot)
        except HomeserverRefused as error:
            if is_transient(error):
                raise
            log.debug("directory_refused", room=room, error=str(error))

    async def _make_read_only(self, room: MatrixRoomId) -> None:
        """Make a room that the bot created read-only: without the bot nobody could moderate it."""
        bot = self.identities.bot
        created = await self.homeserver.state_event(room, "m.room.create", as_user=bot)
        powers = (await read_rules(self.homeserver, room, as_user=bot)).powers
        if created is None or sender_of(created) != bot or missing_power(powers, bot):
            return
        await change_levels(self.homeserver, room, powers, lambda levels: read_only(levels, bot), as_user=bot)

    async def _leave(self, room: MatrixRoomId, ghosts: Iterable[UserId]) -> None:
        limit = asyncio.Semaphore(_CONCURRENCY)

        async def leave(ghost: UserId) -> HomeserverRefused | None:
            async with limit:
                try:
                    await self.homeserver.leave(room, as_user=ghost)
                except HomeserverRefused as error:
                    return error  # The others leave nevertheless.
                return None

        refusals = [error for error in await asyncio.gather(*map(leave, ghosts)) if error is not None]
        if refusals:
            raise refusals[0]
