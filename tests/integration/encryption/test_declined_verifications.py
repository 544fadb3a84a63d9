"""Requests to verify an agent in its chat: declined at once, encrypted in an encrypted chat, and never in clear there."""

from __future__ import annotations

from typing import Any, cast

from daarion_appservice.city.events import VerificationRequested
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.outbound.verification_declines import VerificationDeclines
from tests.parts.encryption_harness import ALICE, CHAT, GUIDE, SCRIBE, EncryptionHarness
from tests.parts.encryption_peer import ROOM
from tests.parts.messaging import IDENTITIES
from tests.parts.scripted_homeserver import refused


class _Ghosts:
    def has_device(self, _: str) -> bool:
        return False


def request_to(user: Any) -> dict[str, Any]:
    return {
        "msgtype": "m.key.verification.request",
        "body": "please verify",
        "from_device": "PHONE",
        "methods": ["m.sas.v1"],
        "to": user,
    }


def requested(harness: EncryptionHarness) -> list[VerificationRequested]:
    return [event for event in harness.published if isinstance(event, VerificationRequested)]


async def decline(harness: EncryptionHarness) -> None:
    """Decline the requests that were published."""
    declines = VerificationDeclines(
        harness.database,
        harness.parts.devices._homeserver,
        harness.run.monitor,
        cast("Ghosts", _Ghosts()),
        IDENTITIES,
        harness.parts.encryptor,
    )
    for event in requested(harness):
        declines.add(event)
    await declines._decline_all()


async def test_a_request_in_clear_is_declined_encrypted(harness: EncryptionHarness) -> None:
    event_id = await harness.receive_clear("m.room.message", request_to(SCRIBE))
    assert await harness.bodies() == []

    await decline(harness)

    (sent,) = harness.homeserver.all("send")
    assert (sent.user, sent.path["room"], sent.path["type"]) == (SCRIBE, ROOM, "m.room.encrypted")
    assert sent.content["m.relates_to"] == {"rel_type": "m.reference", "event_id": event_id}
    harness.alice.receive_all()
    read = harness.alice.read({**_event(sent.content), "sender": SCRIBE})
    assert read.type == "m.key.verification.cancel"
    assert read.content["code"] == "m.user"


def _event(content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "m.room.encrypted", "room_id": ROOM, "event_id": "$cancel", "content": content}


async def test_an_encrypted_request_is_declined(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    event = harness.encrypt(content=request_to(SCRIBE))

    await harness.receive(event)

    assert [each.event for each in requested(harness)] == [event["event_id"]]


async def test_a_request_to_another_is_not_the_agents(harness: EncryptionHarness) -> None:
    for user in (ALICE, "@citizen_u_1:city.localhost", "", None, 1):
        await harness.receive_clear("m.room.message", request_to(user))
    await harness.receive_clear("m.room.message", request_to(GUIDE))

    assert [each.agent for each in requested(harness)] == ["guide"]


async def test_a_request_in_an_archived_chat_is_ignored(harness: EncryptionHarness) -> None:
    async with harness.database.transaction() as tx:
        await tx.direct_chats.close(CHAT)

    await harness.receive_clear("m.room.message", request_to(SCRIBE))

    assert requested(harness) == []


async def test_a_refused_decline_is_not_repeated(harness: EncryptionHarness) -> None:
    await harness.receive_clear("m.room.message", request_to(SCRIBE))
    harness.homeserver.next("send", refused(403, "M_FORBIDDEN"))

    await decline(harness)

    assert len(harness.homeserver.all("send")) == 1


async def test_nothing_is_declined_in_clear(harness: EncryptionHarness) -> None:
    harness.start(is_enabled=False)
    await harness.receive_clear("m.room.message", request_to(SCRIBE))

    await decline(harness)

    assert len(requested(harness)) == 1
    assert harness.homeserver.all("send") == []


async def test_a_declined_request_leaves_no_ciphertext(harness: EncryptionHarness) -> None:
    event_id = await harness.receive_clear("m.room.message", request_to(SCRIBE))

    await decline(harness)

    async with harness.database.read_only() as tx:
        assert await tx.encrypted_entries.get(f"verification{event_id}") is None
