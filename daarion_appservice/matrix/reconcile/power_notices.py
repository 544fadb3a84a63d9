"""Sends a notice into a Matrix room where the bot has lost its power level, which only the room's admins can restore.

The bot loses it when a Matrix user upgrades a version 12 room: the creator of the new room has all power there, and the
bot has 0.
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
    """Return the power level to give the bot if it needs ``needed``: at least 100, that of an admin."""
    return max(100, needed)


def power_advice(bot: UserId, needed: float) -> str:
    """Return instructions for an admin of a Matrix room to give the bot its power level.

    They use ``/op``, because Element's room settings list only users with a power level, and not a bot with 0.
    """
    level = level_to_give(needed)
    return (
        f"an admin of the room must give it power level {level:g} there: in Element, write /op {bot} {level:g} in the room; "
        f'by API, add "{bot}": {level:g} to "users" in the room\'s m.room.power_levels (GET, then PUT '
        "/_matrix/client/v3/rooms/{room_id}/state/m.room.power_levels)"
    )


class PowerNotices:
    """Sends the notices as the bot."""

    def __init__(self, homeserver: Homeserver, bot: UserId) -> None:
        self._homeserver = homeserver
        self._bot = bot

    async def send(self, room: Room, *, own: float, needed: float) -> None:
        """Send one ``m.notice`` as the bot, in the language of the room's name; log a refusal.

        The transaction id is a hash of the room and the levels, so a repeated call within half an hour, for which
        Synapse remembers the id, sends nothing.

        Args:
            room: a linked room.
            own: the bot's power level.
            needed: the power level that it needs.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
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
