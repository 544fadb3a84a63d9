"""The encryption of matrix-nio and of matrix-js-sdk, as the tests of encrypted chats use both, over a real Synapse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from daarion_appservice.demo.local_synapse import LocalSynapse
from tests.parts.city import eventually
from tests.parts.encrypted_user import encrypted_users
from tests.parts.js_client import arriving_by_js_sdk
from tests.parts.synapse import boot

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def homeserver(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalSynapse]:
    synapse = await boot(tmp_path_factory.mktemp("synapse"))
    yield synapse
    synapse.kill()


async def test_nio_users_read_each_other(homeserver: LocalSynapse, tmp_path: Path) -> None:
    async with encrypted_users(tmp_path / "keys") as arrive:
        ada, ben = await arrive(homeserver, "ada"), await arrive(homeserver, "ben")
        room = await ada.open_chat(ben.user_id)
        await ben.join(room)
        await ben.wait_until_encrypted(room)

        question = await ada.send_text(room, "таємниця")
        seen = await ben.wait_for_text("таємниця")
        assert (seen["event_id"], seen["encrypted"]) == (question, True)
        reply = await ben.send_reply(room, question, "відповідь")
        seen = await ada.wait_for_text("відповідь")
        assert seen["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": question}}
        await ben.send_edit(room, reply, "виправлено")
        seen = await ada.wait_for_text("* виправлено")
        assert seen["content"]["m.relates_to"] == {"rel_type": "m.replace", "event_id": reply}
        await ada.react(room, reply, "👍")
        assert not (await ben.wait_for_event(lambda event: event["type"] == "m.reaction"))["encrypted"]
        await ada.send_file(room, b"x" * 1000, "a.txt", "text/plain")
        assert await ben.read_file(await ben.wait_for_text("a.txt")) == b"x" * 1000

        await ben.restart()
        other = await ben.another_device()
        try:
            await ada.wait_for(lambda: other.device_id in ada.client.device_store[ben.user_id])
            await ada.send_text(room, "двом пристроям")
            for device in (ben, other):
                assert (await device.wait_for_text("двом пристроям"))["encrypted"]
            assert len(other.undecrypted) == 4
            assert not ben.undecrypted
            await ben.send_text(room, "після перезапуску")
            assert (await ada.wait_for_text("після перезапуску"))["encrypted"]
        finally:
            await other.leave()


async def test_js_sdk_reads_nio_and_excludes_its_device(homeserver: LocalSynapse, tmp_path: Path) -> None:
    async with encrypted_users(tmp_path / "keys") as arrive, arriving_by_js_sdk() as arrive_by_js_sdk:
        cat = await arrive(homeserver, "cat")
        dan = await arrive_by_js_sdk(homeserver, "dan", encryption=True)
        room = await dan.create_room(direct_with=cat.user_id, encrypted=True)
        await cat.join(room)
        await cat.wait_until_encrypted(room)

        async def is_member() -> bool:
            return (await dan.members(room))[cat.user_id]["membership"] == "join"

        await eventually(is_member)
        await dan.say(room, "питання")
        assert (await cat.wait_for_text("питання"))["encrypted"]
        answer = await cat.send_text(room, "відповідь")
        seen = await dan.wait_for({"content": {"body": "відповідь"}}, room_id=room)
        assert (seen["event_id"], seen["encrypted"]) == (answer, True)
        # nio signs no device, and so this says that the shields of other tests are looked at.
        assert await dan.shield(room, answer) == {"colour": "RED", "reason": "UNSIGNED_DEVICE"}
        assert (await dan.identity(cat.user_id))["devices"] == {cat.device_id: False}
        await cat.send_file(room, b"from nio", "a.txt", "text/plain")
        seen = await dan.wait_for({"content": {"body": "a.txt"}}, room_id=room)
        assert await dan.download_file(seen["content"]["file"]) == b"from nio"
        file = await dan.upload_file(b"from Element")
        await dan.send(room, "m.room.message", {"msgtype": "m.file", "body": "b.txt", "file": file})
        assert await cat.read_file(await cat.wait_for_text("b.txt")) == b"from Element"

        await dan.isolate(only_signed=True)
        await dan.discard_session(room)
        await dan.say(room, "лише підписаним")
        await cat.wait_for(lambda: cat.withheld(room) == ["m.unverified"])
        hidden = await cat.send_text(room, "не для всіх")
        assert (await dan.wait_for({"event_id": hidden}, room_id=room))["decryption_failure"]
