"""A notice in a Matrix room where the bot has lost its power level: only the room's admins can give it back.

It happens when a person upgrades a version 12 room: the creator of the new room has all power there, and the bot has 0.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import structlog

from ..city.types import Room, UserId
from ..errors import HomeserverRefused
from .homeserver import Homeserver

_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")

log = structlog.get_logger()


class PowerNotices:
    def __init__(self, homeserver: Homeserver, bot: UserId) -> None:
        self._homeserver = homeserver
        self._bot = bot

    async def send(self, room: Room, *, own: float, needed: float) -> None:
        """Send one ``m.notice`` as the bot, in the language of the room's name. Raises HomeserverAway; a refusal is logged.

        ``own`` and ``needed`` are power levels. The transaction id is the same for the same lack, so a repeated call within
        half an hour sends nothing (Synapse remembers it that long).
        """
        assert room.matrix_room_id is not None
        words = _UK if _CYRILLIC.search(f"{room.name} {room.description}") else _EN
        body = words.format(bot=self._bot, own=own, needed=needed)
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
    "Адміністратор кімнати може це виправити: надайте {bot} рівень 100 (в Element: налаштування кімнати → Ролі й дозволи)."
)
_EN: Final = (
    "The city can no longer look after this room: {bot} has power level {own:g} here and needs {needed:g}. An admin of the "
    "room can mend that: give {bot} power level 100 (in Element: room settings → Roles & Permissions)."
)
