"""Follows upgrades of Matrix rooms (``m.room.tombstone``): links the city room, with all its data, to the new room.

    tombstone ─► can the bot join, and is the old room the new one's predecessor? ─no─► RoomLinkBroken: the link stays
                   │yes
                   └─► move the link, and put the new room's history into the inbox, in one commit ─► join the ghosts

A user with the power level for it can name any room as the replacement, so only a room whose ``m.room.create`` names
the old room as ``predecessor`` is followed. No event of the new room is handled between the read of its history and the
move, so that the history is complete and in order.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ...city.event_fields import Event, content_of, is_message_or_change, optional_text, sender_of, text, type_of
from ...city.events import InboxChanged
from ...city.identity import Identities
from ...city.ports import NowMs, Publish, publish_all
from ...city.rooms import Rooms
from ...city.types import HistoryVisibility, MatrixRoomId, Room, UserId
from ...errors import HomeserverError, HomeserverRefused, RoomLinkBroken
from ...storage.database import Database
from ...storage.inbox import ReceivedEvent
from ..client.homeserver import Homeserver
from ..client.inbox_events import inbox_event
from ..client.room_rules import read_rules
from ..ghosts.ghosts import Ghosts
from ..inbound.worker import InboundWorker

_MAX_UPGRADES: Final = 10
"""Maximum number of successive upgrades in one call: a longer chain is a cycle or abuse."""
_PAGE: Final = 100
_MAX_PAGES: Final = 50
"""Maximum number of pages of a new room's history: 5,000 events."""
_JOINS_AT_ONCE: Final = 8
_MAX_ID_CHARS: Final = 255

log = structlog.get_logger()


class RoomUpgrades:
    """Moves city rooms to the replacements of their Matrix rooms."""

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        identities: Identities,
        rooms: Rooms,
        ghosts: Ghosts,
        inbound: InboundWorker,
        publish: Publish,
        now_ms: NowMs,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._identities = identities
        self._rooms = rooms
        self._ghosts = ghosts
        self._inbound = inbound
        self._publish = publish
        self._now_ms = now_ms

    async def follow(self, room: Room) -> Room:
        """Link a city room to the replacement of its Matrix room, if there is a tombstone; return the stored room.

        The bot must be a member of the current Matrix room.

        Raises:
            RoomLinkBroken: the replacement cannot be followed.
            HomeserverUnavailable, HomeserverRefused: a request to the homeserver failed.
        """
        for _ in range(_MAX_UPGRADES):
            successor, via = await self._successor(room)
            if successor is None:
                return room
            await self._check_free(room, successor)
            visibility = await self._join_successor(room, successor, via)
            async with self._inbound.paused(successor):
                room = await self._move(room, successor, visibility)
            await self._join_ghosts(room, successor)
        raise RoomLinkBroken(
            "The Matrix room has too many successive upgrades; the city follows no more of them for now"
        )

    async def _successor(self, room: Room) -> tuple[MatrixRoomId | None, str | None]:
        """Return the replacement room and a server that knows it, or two None; a withdrawn tombstone has no content."""
        assert room.matrix_room_id is not None
        bot = self._identities.bot
        tombstone = await self._homeserver.state_event(room.matrix_room_id, "m.room.tombstone", as_user=bot) or {}
        successor = text(content_of(tombstone), "replacement_room")
        if not successor:
            return None, None
        if not successor.startswith("!") or len(successor) > _MAX_ID_CHARS:
            raise RoomLinkBroken(_not_followed(repr(successor[:_MAX_ID_CHARS]), "which is not a room"))
        return MatrixRoomId(successor), sender_of(tombstone).partition(":")[2] or None

    async def _move(self, room: Room, successor: MatrixRoomId, visibility: HistoryVisibility) -> Room:
        assert room.matrix_room_id is not None
        name, topic = await self._name_and_topic(room, successor)
        events = await self._history(successor)
        async with self._database.transaction() as tx:
            await tx.direct_chats.replace_by_city_room(successor)
            await tx.matrix_rooms.move(room.id, successor, former=room.matrix_room_id, visibility=visibility)
            city_events = await self._rooms.receive(tx, room, name=name, description=topic)
            await tx.inbox_order.reinsert(successor, events, now_ms=self._now_ms())
            stored = await tx.rooms.find(room.id)
        publish_all(self._publish, [*city_events, InboxChanged()])
        assert stored is not None
        log.info("room_moved", room=room.slug, matrix_room=successor, was=room.matrix_room_id)
        return stored

    async def _check_free(self, room: Room, successor: MatrixRoomId) -> None:
        async with self._database.read_only() as tx:
            other = await tx.rooms.by_matrix_id(successor) or await tx.rooms.by_former_id(successor)
        if other is not None and other.agent is None:
            raise RoomLinkBroken(_not_followed(successor, f"which is the city's room {other.slug}"))

    async def _join_successor(self, room: Room, successor: MatrixRoomId, via: str | None) -> HistoryVisibility:
        """Join the bot to the new room; leave it if that is not a valid successor. Return its history visibility."""
        bot = self._identities.bot
        was_joined = successor in await self._homeserver.joined_rooms(as_user=bot)
        try:
            await self._homeserver.join(successor, as_user=bot, via=via)
        except HomeserverRefused as error:
            raise RoomLinkBroken(
                _not_followed(successor, f"which {bot} may not join ({error.message}): invite it there")
            ) from error
        rules = await read_rules(self._homeserver, successor, as_user=bot)
        if rules.predecessor != room.matrix_room_id or rules.is_space:
            if not was_joined:
                await self._homeserver.leave(successor, as_user=bot)
            reason = "which is a space" if rules.is_space else "which does not say that it replaces this one"
            raise RoomLinkBroken(_not_followed(successor, reason))
        return rules.visibility

    async def _name_and_topic(self, room: Room, successor: MatrixRoomId) -> tuple[str | None, str | None]:
        """Return name and topic of the new room; None for a value that has a newer change in the city."""
        bot = self._identities.bot
        async with self._database.read_only() as tx:
            applied = await tx.matrix_rooms.applied_state(room.id)
        name = await self._homeserver.state(successor, "m.room.name", as_user=bot) or {}
        topic = await self._homeserver.state(successor, "m.room.topic", as_user=bot) or {}
        return (
            optional_text(name, "name") or "" if applied.name in {None, room.name} else None,
            optional_text(topic, "topic") if applied.topic in {None, room.description} else None,
        )

    async def _history(self, successor: MatrixRoomId) -> list[ReceivedEvent]:
        """Return the history of the new room as rows for the inbox, oldest first."""
        events: list[ReceivedEvent] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page, cursor = await self._homeserver.messages_before(
                successor, cursor, limit=_PAGE, as_user=self._identities.bot
            )
            events += [inbox_event(event) for event in page if _is_history(event)]
            if cursor is None:
                break
        return events[::-1]

    async def _join_ghosts(self, room: Room, successor: MatrixRoomId) -> None:
        """Join the ghosts that were members of the old room to the new one; Matrix users join by themselves."""
        async with self._database.read_only() as tx:
            members = await tx.members.of_room(room.id)
        limit = asyncio.Semaphore(_JOINS_AT_ONCE)
        async with asyncio.TaskGroup() as joins:
            for member in members:
                if self._identities.is_ours(member.user_id):
                    joins.create_task(self._join_ghost(member.user_id, successor, limit))

    async def _join_ghost(self, ghost: UserId, successor: MatrixRoomId, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                await self._ghosts.join(ghost, successor)
            except HomeserverError as error:
                # The ghost counts as not joined, and joins when it sends a message or the reconciler needs it there.
                log.debug("ghost_move_failed", ghost=ghost, room=successor, error=str(error))


def _not_followed(successor: str, reason: str) -> str:
    return (
        f"The tombstone of the Matrix room names the replacement {successor}, {reason}. The city does not follow it: "
        "an admin of the room must replace it (upgrade it) properly, or take the m.room.tombstone back"
    )


def _is_history(event: Event) -> bool:
    """Return whether an event of a new room's history is read."""
    return is_message_or_change(event) or type_of(event) == "m.room.history_visibility"
