"""Reads and writes the rows of city rooms for the reconciler, each in a transaction of its own.

The reconciler reads the row, then the state of the Matrix room, and stores that state. An event of a newer state may be
handled in between: what it has stored stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

import structlog

from ...city.events import RoomChanged
from ...city.ports import Publish
from ...city.types import MatrixRoomId, MatrixStatus, Room
from ...storage.database import Database, Transaction
from ...storage.matrix_rooms import AppliedRoomState
from ..client.room_rules import RoomRules, stored_json

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReconciledRooms:
    """The stored rooms, and the state that the reconciler has applied to their Matrix rooms."""

    database: Database
    publish: Publish

    async def get(self, room: Room) -> Room:
        """Return the room as it is stored now."""
        async with self.database.read_only() as tx:
            stored = await tx.rooms.find(room.id)
        assert stored is not None
        return stored

    async def with_applied_state(self, room: Room) -> tuple[Room, AppliedRoomState]:
        """Return the room as it is stored now, and the state applied to its Matrix room, both of the same time."""
        async with self.database.read_only() as tx:
            return await tx.matrix_rooms.with_applied_state(room.id)

    async def applied_state(self, room: Room) -> AppliedRoomState:
        async with self.database.read_only() as tx:
            return await tx.matrix_rooms.applied_state(room.id)

    async def set_applied_state(self, room: Room, applied: AppliedRoomState) -> AppliedRoomState:
        async with self.database.transaction() as tx:
            await tx.matrix_rooms.set_applied_state(room.id, applied)
        return applied

    async def set_rules(self, room: Room, rules: RoomRules) -> Room:
        """Store the rules of the Matrix room if they differ from the stored ones; return the stored room."""
        applied, power_levels = await self.applied_state(room), stored_json(rules.powers.content)
        if applied.archived:  # The Matrix room has the read-only levels; the city stores those from before.
            power_levels = room.power_levels
        visibility = rules.visibility
        async with self.database.read_only() as tx:
            is_first = not await tx.rooms.is_visibility_known(room.id)
        if not is_first and (power_levels, rules.join_rule, rules.is_encrypted, visibility) == _rules_of(room):
            return room
        async with self.database.transaction() as tx:
            if is_first:
                await tx.rooms.set_early_visibility(room.id, visibility, since_ms=rules.visibility_since_ms)
            if is_first or await _is_unchanged(tx, room, _rules_of):
                await tx.rooms.set_rules(
                    room.id, power_levels=power_levels, join_rule=rules.join_rule, history_visibility=visibility
                )
                await tx.rooms.set_encrypted(room.id, encrypted=rules.is_encrypted)
        return await self.get(room)

    async def set_pinned_events(self, room: Room, pinned_events: str) -> None:
        """Store the event ids of ``m.room.pinned_events`` as JSON, and publish the change unless there are none."""
        async with self.database.transaction() as tx:
            if not await _is_unchanged(tx, room, attrgetter("pinned_events")):
                return
            await tx.rooms.set_pinned_events(room.id, pinned_events)
        if pinned_events != "[]":
            self.publish(RoomChanged(await self.get(room)))

    async def set_avatar(self, room: Room, mxc: str | None) -> None:
        """Store the ``mxc://`` URI of the room's picture, and publish the change if it differs from the stored one."""
        if mxc == room.avatar_url:
            return
        async with self.database.transaction() as tx:
            if not await _is_unchanged(tx, room, attrgetter("avatar_url")):
                return
            await tx.rooms.set_avatar(room.id, mxc)
        self.publish(RoomChanged(await self.get(room)))

    async def set_status(self, room: Room, status: MatrixStatus, error: str | None) -> Room:
        """Store ``matrix_status`` and ``matrix_error``, and publish a change; return the stored room."""
        if (room.matrix_status, room.matrix_error) == (status, error):
            return room
        if error:
            log.warning("room_reconcile_failed", room=room.slug, status=status, error=error)
        elif room.matrix_error:
            log.info("room_reconciled", room=room.slug)
        async with self.database.transaction() as tx:
            await tx.matrix_rooms.set_status(room.id, status, error)
        room = await self.get(room)
        self.publish(RoomChanged(room))
        return room


def matrix_room_of(room: Room) -> MatrixRoomId:
    """Return the Matrix room id of a linked room."""
    assert room.matrix_room_id is not None
    return room.matrix_room_id


def _rules_of(room: Room) -> tuple[object, ...]:
    return room.power_levels, room.join_rule, room.encrypted, room.history_visibility


async def _is_unchanged(tx: Transaction, room: Room, values: Callable[[Room], object]) -> bool:
    """Lock a room; return whether these values of its row are still those that the reconciler has read."""
    stored = await tx.rooms.lock_any(room.id)
    return stored is not None and values(stored) == values(room)
