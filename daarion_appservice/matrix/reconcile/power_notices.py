"""Detects that the bot lacks power in a Matrix room, and asks the room's admins for it, who alone can restore it.

The bot loses it when a Matrix user upgrades a version 12 room: the creator of the new room has all power there, and the
bot has 0.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

import structlog

from ...city.power_levels import RoomPowerLevels
from ...city.types import Room, UserId
from ...errors import HomeserverRefused
from ..client.homeserver import Homeserver

_STATE_OF_THE_CITY: Final = ("m.room.name", "m.room.topic", "m.space.parent", "m.room.power_levels")
"""State events that the bot sends to the rooms of the city."""
_CYRILLIC: Final = re.compile("[\u0400-\u04ff]")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class MissingPower:
    """The bot's power level in a Matrix room, and the higher one that it needs."""

    own: float
    needed: float

    @property
    def level_to_give(self) -> float:
        """At least 100, the level of an admin."""
        return max(100, self.needed)


def missing_power(powers: RoomPowerLevels, bot: UserId) -> MissingPower | None:
    """Return the levels if the bot may not send the state events of the city or redact; None if it may."""
    needed = max(powers.default("redact"), *(powers.to_send(each, is_state=True) for each in _STATE_OF_THE_CITY))
    own = powers.of(bot)
    return None if own >= needed else MissingPower(own, needed)


def power_advice(bot: UserId, missing: MissingPower) -> str:
    """Return what is wrong, with instructions for an admin of the Matrix room to give the bot its power level.

    They use ``/op``, because Element's room settings list only users with a power level, and not a bot with 0.
    """
    level = missing.level_to_give
    return (
        f"{bot} has power level {missing.own:g} in the Matrix room and needs {missing.needed:g}: "
        f"an admin of the room must give it power level {level:g} there: in Element, write /op {bot} {level:g} in the room; "
        f'by API, add "{bot}": {level:g} to "users" in the room\'s m.room.power_levels (GET, then PUT '
        "/_matrix/client/v3/rooms/{room_id}/state/m.room.power_levels)"
    )


class PowerNotices:
    """Sends the notices as the bot."""

    def __init__(self, homeserver: Homeserver, bot: UserId) -> None:
        self._homeserver = homeserver
        self._bot = bot

    async def send(self, room: Room, missing: MissingPower) -> None:
        """Send one ``m.notice`` as the bot, in the language of the room's name; log a refusal.

        The transaction id is a hash of the room and the levels, so a repeated call within half an hour, for which
        Synapse remembers the id, sends nothing.

        Args:
            room: a linked room.
            missing: the power that the bot lacks there.

        Raises:
            HomeserverUnavailable: the homeserver does not answer.
        """
        assert room.matrix_room_id is not None
        template = _UK if _CYRILLIC.search(f"{room.name} {room.description}") else _EN
        own, needed = missing.own, missing.needed
        body = template.format(bot=self._bot, own=own, needed=needed, level=missing.level_to_give)
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
