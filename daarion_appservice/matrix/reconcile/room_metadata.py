"""Applies name, topic and directory entry of city rooms to their Matrix rooms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import structlog

from ...city.identity import Identities
from ...city.types import Room, UserId
from ...errors import HomeserverRefused
from ..client.homeserver import Homeserver
from .reconciled_rooms import ReconciledRooms, matrix_room_of

log = structlog.get_logger()


@dataclass(slots=True)
class RoomMetadata:
    """Sends the values that differ from the applied ones. A refusal is raised as ``HomeserverRefused``."""

    homeserver: Homeserver
    identities: Identities
    store: ReconciledRooms
    is_directory_warning_logged: bool = False

    async def update_name_and_topic(self, room: Room) -> None:
        # Read the stored room again: a change from Matrix since the start of this pass must not be undone. One from Matrix
        # between two reads would look like one made in the city, and the former name or topic would be sent.
        room, applied = await self.store.with_applied_state(room)
        if applied.name != room.name:
            await self._set_if_different(room, "m.room.name", {"name": room.name})
            applied = await self.store.set_applied_state(room, replace(applied, name=room.name))
        if applied.topic != room.description:
            await self._set_if_different(room, "m.room.topic", {"topic": room.description})
            await self.store.set_applied_state(room, replace(applied, topic=room.description))

    async def _set_if_different(self, room: Room, event_type: str, content: dict[str, Any]) -> None:
        matrix_room, bot = matrix_room_of(room), self.identities.bot
        current = await self.homeserver.state(matrix_room, event_type, as_user=bot) or {}
        if any(current.get(key, "") != value for key, value in content.items()):
            await self.homeserver.set_state(matrix_room, event_type, content, as_user=bot)

    async def update_directory(self, room: Room) -> None:
        """Publish a room in the homeserver's room directory, or remove it if it is archived."""
        applied, is_wanted = await self.store.applied_state(room), not room.archived
        if applied.in_directory is is_wanted:
            return
        matrix_room = matrix_room_of(room)
        # Synapse answers 200 even if `room_list_publication_rules` forbid it, so the directory is read back.
        if await self.homeserver.is_in_directory(matrix_room) is not is_wanted:
            try:
                await self.homeserver.set_in_directory(matrix_room, is_wanted, as_user=self.identities.bot)
            except HomeserverRefused as error:
                log.debug("directory_refused", room=room.slug, error=str(error))
        is_listed = await self.homeserver.is_in_directory(matrix_room)
        await self.store.set_applied_state(room, replace(applied, in_directory=is_listed))
        if is_wanted and not is_listed and not self.is_directory_warning_logged:
            self.is_directory_warning_logged = True
            log.warning(
                "not_in_directory",
                room=room.slug,
                help=f"Synapse keeps the city's rooms out of its public directory. {directory_advice(self.identities.bot)}",
            )


def directory_advice(bot: UserId) -> str:
    """Return what lets the bot publish rooms in Synapse's room directory, as YAML that fits into one line."""
    return (
        "To list them, add to homeserver.yaml, and restart Synapse: "
        f'room_list_publication_rules: [{{"user_id": "{bot}", "action": "allow"}}]'
    )
