"""The encryption of matrix-js-sdk, as Element has it, between users of the tests' Synapse."""

from __future__ import annotations

from tests.parts.city import eventually
from tests.parts.js_client import arriving_by_js_sdk
from tests.parts.synapse import BootSynapse


async def test_encrypted_message_has_no_shield(synapse: BootSynapse) -> None:
    homeserver = await synapse()
    async with arriving_by_js_sdk() as arrive:
        faina, hlib = (
            await arrive(homeserver, "faina", encryption=True),
            await arrive(homeserver, "hlib", encryption=True),
        )
        encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        room = await faina.create_room({"invite": [hlib.user_id], "initial_state": [encryption]})

        async def is_invited() -> bool:
            return room in {invite["room_id"] for invite in await hlib.invites()}

        await eventually(is_invited)
        await hlib.join(room)

        async def is_member() -> bool:
            return (await faina.members(room))[hlib.user_id]["membership"] == "join"

        await eventually(is_member)
        await faina.say(room, "таємниця")

        seen = await hlib.wait_for({"content": {"body": "таємниця"}}, room_id=room)
        assert seen["encrypted"]
        assert await hlib.is_encrypted(room)
        assert await hlib.shield(room, seen["event_id"]) == {"colour": "NONE", "reason": None}
