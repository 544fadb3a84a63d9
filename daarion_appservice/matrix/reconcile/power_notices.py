"""A notice in a Matrix room where the bot has lost its power level: only the room's admins can give it back.

It happens when a person upgrades a version 12 room: the creator of the new room has all power there, and the bot has 0.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import structlog

from ...city.types import Room, UserId
from ...errors import HomeserverRefused
from ..client.homeserver import Homeserver

_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")

log = structlog.get_logger()


def level_to_give(needed: float) -> float:
    """Return the power level that the bot should get where it needs ``needed``."""
    return max(100, needed)


def power_advice(bot: UserId, needed: float) -> str:
    """Return what an admin of a Matrix room does to give the bot its power level.

    Element's room settings list only users who have a level already, so that a bot with 0 is not found there.
    """
    level = level_to_give(needed)
    return (
        f"an admin of the room must give it power level {level:g} there: in Element, write /op {bot} {level:g} in the room; "
        f'by API, add "{bot}": {level:g} to "users" in the room\'s m.room.power_levels (GET, then PUT '
        "/_matrix/client/v3/rooms/{room_id}/state/m.room.power_levels)"
    )


class PowerNotices:
    def __init__(self, homeserver: Homeserver, bot: UserId) -> None:
        self._homeserver = homeserver
        self._bot = bot

    async def send(self, room: Room, *, own: float, needed: float) -> None:
        """Send one ``m.notice`` as the bot, in the language of the room's name; log a refusal. Raises HomeserverUnavailable.

        ``own`` and ``needed`` are power levels. The transaction id is the same for the same lack, so a repeated call within
        half an hour sends nothing (Synapse remembers it that long).
        """
        assert room.matrix_room_id is not None
        words = _UK if _CYRILLIC.search(f"{room.name} {room.description}") else _EN
        body = words.format(bot=self._bot, own=own, needed=needed, level=level_to_give(needed))
        key = hashlib.sha256(f"{room.matrix_room_id} {own} {needed}".encode()).hexdigest()[:32]
        try:
            await self._homeserver.send(
                room.matrix_room_id,
                "m.room.message",
                f"power-{key}",
                {"msgtype": "m.notice", "body": body, "m.mentions": {}},
                as_user=self._bot,
                with_device=False,
            )
        except HomeserverRefused as error:
            log.debug("power_notice_refused", room=room.slug, error=str(error))


_UK: Final = (
    "Місто більше не може доглядати за цією кімнатою: {bot} має тут рівень прав {own:g}, а потрібно {needed:g}. "
    "Адміністратор кімнати може це виправити: надайте {bot} рівень {level:g} (в Element напишіть тут: /op {bot} {level:g})."
)
_EN: Final = (
    "The city can no longer look after this room: {bot} has power level {own:g} here and needs {needed:g}. An admin of the "
    "room can mend that: give {bot} power level {level:g} (in Element, write here: /op {bot} {level:g})."
)
