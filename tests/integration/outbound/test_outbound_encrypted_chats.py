"""Messages to encrypted chats while encryption ends."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import update

from daarion_appservice.city.messages import Draft
from daarion_appservice.city.rooms import room_id_of
from daarion_appservice.city.types import Delivery
from daarion_appservice.errors import HomeserverRefused
from daarion_appservice.matrix.encryption.room_encryptor import ClearEvent, RoomEncryptor
from daarion_appservice.storage.tables import rooms
from tests.parts.outbound import SCRIBE, OutboundHarness, last_message
from tests.parts.scripted_homeserver import ScriptedHomeserver


class EndingEncryptor:
    """An encryptor that is active once, until the homeserver refuses the keys of a ghost."""

    def __init__(self) -> None:
        self._is_active = [True]

    @property
    def is_active(self) -> bool:
        return bool(self._is_active) and self._is_active.pop()

    async def encrypt(self, _event: ClearEvent) -> dict[str, Any]:
        raise HomeserverRefused(400, "M_UNKNOWN", "the homeserver takes no device keys of agents")


async def test_message_is_not_in_clear_when_encryption_ends(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver
) -> None:
    async with outbound.database.transaction() as tx:
        await tx.connection.execute(
            update(rooms).where(rooms.c.slug == "general").values(agent="scribe", encrypted=True)
        )
    outbound.worker._delivery._encryptor = cast("RoomEncryptor", EndingEncryptor())

    await outbound.messaging.messages.post(SCRIBE, room_id_of("general"), Draft("secret"))
    await outbound.until_empty()

    message, _ = await last_message(outbound)
    assert message.delivery is Delivery.FAILED
    assert homeserver.all("send") == []
