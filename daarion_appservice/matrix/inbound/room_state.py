"""Handles state events of city rooms; each handler runs inside the transaction that marks its event as done.

The echo of the city's own change has no effect. An event that may break the link between a room and its Matrix room
only causes a RoomCheckRequested: ``reconcile.rooms`` then reads the state from the homeserver and decides what to do.
"""

from __future__ import annotations

from typing import Final

import structlog

from ...city.event_fields import Event, content_of, event_id_of, name_text, room_of, sender_of, text, topic_text
from ...city.events import CityEvent, RoomChanged, RoomCheckRequested
from ...city.identity import Identities
from ...city.rooms import Rooms
from ...city.types import MatrixRoomId, Room
from ...storage.database import Transaction
from ..client.room_rules import avatar_in, is_encryption, join_rule, pinned_json, stored_json, visibility_in
from .current_state import is_absent

_CHECKED_MEMBERSHIPS: Final = frozenset({"leave", "ban", "invite"})
"""Memberships of the bot that need a check of the room; its joins are the city's own requests."""

log = structlog.get_logger()


class RoomStateEvents:
    """The handlers by type of state event; each returns the city events to publish after the commit."""

    def __init__(self, identities: Identities, rooms: Rooms) -> None:
        self._identities = identities
        self._rooms = rooms
        self._replaced_rooms: set[MatrixRoomId] = set()
        """Matrix rooms with a tombstone, whose power levels and join rules no longer apply to the city's rooms."""

    async def name(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        if not _is_state(event) or is_absent(event):
            return []
        name = name_text(content_of(event), "name") or ""  # A name that was redacted has no text.
        if not self._is_set_by_service(event, "name"):
            return await self._rooms.receive(tx, room, name=name)
        return [] if name == room.name else await self._handle_overtaken_change(tx, room, name=name)

    async def topic(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        topic = topic_text(content_of(event), "topic")
        if not _is_state(event) or is_absent(event):
            return []
        topic = topic or ""  # A topic that was redacted has no text.
        if not self._is_set_by_service(event, "topic"):
            return await self._rooms.receive(tx, room, description=topic)
        return [] if topic == room.description else await self._handle_overtaken_change(tx, room, topic=topic)

    async def name_restored(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle a name that is current again, unless the city has a newer one that is not sent to Matrix yet."""
        applied = await tx.matrix_rooms.applied_state(room.id)
        return await self.name(tx, room, event) if applied.name in {None, room.name} else []

    async def topic_restored(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        applied = await tx.matrix_rooms.applied_state(room.id)
        return await self.topic(tx, room, event) if applied.topic in {None, room.description} else []

    async def _handle_overtaken_change(
        self, tx: Transaction, room: Room, *, name: str | None = None, topic: str | None = None
    ) -> list[CityEvent]:
        """Handle concurrent changes: Matrix has the city's value, and the city the one that Matrix had just before."""
        await tx.matrix_rooms.set_applied_text(room.id, name=name, topic=topic)
        return [RoomCheckRequested(room.id)]

    async def power_levels(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        if not self._is_in_force(event):
            return []
        applied, power_levels = await tx.matrix_rooms.applied_state(room.id), stored_json(content_of(event))
        if applied.archived:  # The city stores the power levels from before the room was archived.
            return [] if self._is_sent_by_service(event) else [RoomCheckRequested(room.id)]
        if power_levels == room.power_levels:
            return []
        await tx.rooms.set_rules(room.id, power_levels=power_levels)
        return [RoomCheckRequested(room.id), *await self._changed(tx, room)]

    async def pinned_events(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        pinned = pinned_json(content_of(event))
        if not self._is_in_force(event) or pinned == room.pinned_events:
            return []
        await tx.rooms.set_pinned_events(room.id, pinned)
        return await self._changed(tx, room)

    async def avatar(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle ``m.room.avatar``; where there is no picture, the reconciler sets the one that the service draws."""
        if not self._is_in_force(event):
            return []
        mxc = avatar_in(content_of(event))
        checks: list[CityEvent] = [RoomCheckRequested(room.id)] if mxc is None else []
        if mxc is not None and await tx.drawn_avatars.among([mxc]):
            mxc = None
        if mxc == room.avatar_url:
            return checks
        await tx.rooms.set_avatar(room.id, mxc)
        return [*checks, *await self._changed(tx, room)]

    async def join_rules(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        rule = join_rule(content_of(event))
        if not self._is_in_force(event) or rule == room.join_rule:
            return []
        await tx.rooms.set_rules(room.id, join_rule=rule)
        return await self._changed(tx, room)

    async def history_visibility(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle ``m.room.history_visibility``, which applies to later messages only."""
        visibility = visibility_in(content_of(event))
        if not self._is_in_force(event) or visibility is room.history_visibility:
            return []
        await tx.rooms.set_rules(room.id, history_visibility=visibility)
        return await self._changed(tx, room)

    async def _changed(self, tx: Transaction, room: Room) -> list[CityEvent]:
        changed = await tx.rooms.get(room.id)
        return [] if changed is None or changed.agent is not None else [RoomChanged(changed)]

    async def encryption(self, tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        is_on = is_encryption(content_of(event))
        if not _is_state(event) or room.encrypted == is_on:
            return []
        if not is_on and not is_absent(event):
            # No event turns encryption off. But the event that turned it on may have lost state resolution.
            return []
        await tx.rooms.set_encrypted(room.id, encrypted=is_on)
        return [RoomCheckRequested(room.id)]

    async def unreadable(self, _tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle ``m.room.encrypted``, which the city cannot decrypt: it is only logged."""
        log.debug("event_encrypted", room=room.slug, event_id=event_id_of(event))
        return []

    async def tombstone(self, _tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle ``m.room.tombstone``: the room was replaced, or its tombstone was withdrawn."""
        if not _is_state(event):
            return []
        matrix_room = room_of(event)
        was_replaced = matrix_room in self._replaced_rooms
        if text(content_of(event), "replacement_room"):
            self._replaced_rooms.add(matrix_room)
        else:
            self._replaced_rooms.discard(matrix_room)
        return [] if is_absent(event) and not was_replaced else [RoomCheckRequested(room.id)]

    async def canonical_alias(self, _tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle ``m.room.canonical_alias``, whose content is ignored: the room's aliases may have changed."""
        return [RoomCheckRequested(room.id)] if _is_state(event) else []

    async def bot(self, _tx: Transaction, room: Room, event: Event) -> list[CityEvent]:
        """Handle ``m.room.member`` of the bot: it was kicked, banned or invited."""
        is_about_bot = text(event, "state_key") == self._identities.bot
        return (
            [RoomCheckRequested(room.id)]
            if is_about_bot and text(content_of(event), "membership") in _CHECKED_MEMBERSHIPS
            else []
        )

    def _is_in_force(self, event: Event) -> bool:
        return _is_state(event) and room_of(event) not in self._replaced_rooms

    def _is_set_by_service(self, event: Event, key: str) -> bool:
        """Return whether the value of a state event is the service's own: a redaction removes the value."""
        return self._is_sent_by_service(event) and key in content_of(event)

    def _is_sent_by_service(self, event: Event) -> bool:
        return self._identities.is_ours(sender_of(event))


def _is_state(event: Event) -> bool:
    return event.get("state_key") == ""
