"""Agents that are refused or busy, requests that cannot be sent, and what strangers leave in the database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from daarion_appservice.city.events import VerificationRequested
from daarion_appservice.city.types import AgentSlug, EventId, MatrixRoomId
from daarion_appservice.encryption.rows import InboundSessionRow
from daarion_appservice.matrix.encryption.room_encryptor import ClearEvent
from daarion_appservice.matrix.inbound import undecrypted
from daarion_appservice.matrix.outbound.verification_declines import VerificationDeclines
from daarion_appservice.storage.database import Database
from tests.parts.city import eventually
from tests.parts.encryption_harness import CHAT, GUIDE, SCRIBE, EncryptionHarness
from tests.parts.encryption_peer import ROOM
from tests.parts.encryption_rows import inbound_row, olm_row
from tests.parts.messaging import IDENTITIES
from tests.parts.scripted_homeserver import Hang, refused

_DAY_MS = 24 * 3_600_000


async def test_a_refused_agent_hides_no_key_of_another(harness: EncryptionHarness) -> None:
    await harness.add_guide()
    await harness.parts.devices.ensure(SCRIBE)
    await harness.parts.devices.ensure(GUIDE)
    question = harness.encrypt("question")
    harness.homeserver.next("sync", refused(403, "M_FORBIDDEN", "deactivated"))

    await harness.receive(question)

    assert await harness.bodies() == ["question"]


async def test_a_busy_agent_ends_no_retry(harness: EncryptionHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undecrypted, "_REQUEST_TIMEOUT_S", 0.05)
    await harness.parts.devices.ensure(SCRIBE)
    question = harness.encrypt("question")
    key = harness.hold_keys()
    await harness.receive(question)
    harness.release_keys(key)

    async with harness.parts.chats._locks.of(SCRIBE), asyncio.timeout(20):
        await harness.retry(after_ms=2_000)
        await harness.retry(after_ms=5_000)
    monkeypatch.undo()
    await harness.retry(after_ms=60_000)

    assert await harness.bodies() == ["question"]


# --- declined verifications ---------------------------------------------------------------------------


def declines(harness: EncryptionHarness) -> VerificationDeclines:
    class _Ghosts:
        def has_device(self, _user: str) -> bool:
            return True

    return VerificationDeclines(
        harness.database,
        harness._clients[-1],
        harness.run.monitor,
        cast("Any", _Ghosts()),
        IDENTITIES,
        harness.parts.encryptor,
    )


async def test_verification_with_long_event_id_is_declined(on_each: EncryptionHarness) -> None:
    worker = declines(on_each)
    for event in ("$" + "x" * 254, "$short"):
        worker.add(VerificationRequested(CHAT, EventId(event), AgentSlug("scribe")))

    await worker._decline_all()

    assert len(on_each.homeserver.all("send")) == 2


async def test_verifications_of_one_chat_are_limited(harness: EncryptionHarness) -> None:
    worker = declines(harness)
    for number in range(200):
        worker.add(VerificationRequested(CHAT, EventId(f"${number}"), AgentSlug("scribe")))

    await worker._decline_all()

    assert len(harness.homeserver.all("send")) == 3


# --- what is left -------------------------------------------------------------------------------------


async def inbound_rooms(database: Database) -> set[str]:
    async with database.read_only() as tx:
        found = [await tx.megolm_sessions.inbound(room, "s" * 43) for room in (ROOM, MatrixRoomId("!none:x"))]
    return {row.room for rows in found for row in rows}


async def test_keys_of_unknown_rooms_deleted_after_an_hour(on_each: EncryptionHarness) -> None:
    def key(room: str) -> InboundSessionRow:
        return inbound_row(room=MatrixRoomId(room))

    async with on_each.database.transaction() as tx:
        await tx.megolm_sessions.save_inbound([key(ROOM), key("!none:x")])

    await on_each.parts.service._prune()
    assert await inbound_rooms(on_each.database) == {ROOM, "!none:x"}

    await on_each.parts.service._prune()
    assert await inbound_rooms(on_each.database) == {ROOM}


async def test_sessions_of_unknown_devices_expire(on_each: EncryptionHarness) -> None:
    await on_each.send()
    now_ms = on_each.clock.now_ms
    invented = olm_row(used_at_ms=now_ms - 8 * _DAY_MS)
    recent = replace(invented, session_id="recent", used_at_ms=now_ms - 6 * _DAY_MS)
    known = replace(invented, curve25519=on_each.alice.account.curve25519, session_id="known")
    async with on_each.database.transaction() as tx:
        await tx.olm_sessions.save([invented, recent, known])

    await on_each.parts.service._prune()

    async with on_each.database.read_only() as tx:
        of_invented = await tx.olm_sessions.with_device(SCRIBE, invented.curve25519)
        of_known = await tx.olm_sessions.with_device(SCRIBE, known.curve25519)
    assert [row.session_id for row in of_invented] == ["recent"]
    assert "known" in {row.session_id for row in of_known}


async def test_waiting_events_end_with_the_released_chat(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    await harness.receive(harness.encrypt("question", is_key_lost=True))
    invitation = {
        "type": "m.room.member",
        "room_id": ROOM,
        "sender": harness.alice.user,
        "state_key": GUIDE,
        "content": {"membership": "invite"},
    }

    async with harness.database.transaction() as tx:
        chat = replace(await harness.chat(), archived=True)
        assert await harness.messaging.chat_events.release_to_other_agent(tx, chat, invitation)

    assert await harness.waiting() == []


async def test_a_slow_file_delays_no_other_message(harness: EncryptionHarness) -> None:
    await harness.parts.devices.ensure(SCRIBE)
    harness.files["mxc://city.localhost/big"] = b"big"
    end = asyncio.Event()
    harness.homeserver.next("upload", Hang(end))
    content = {"msgtype": "m.file", "body": "big", "url": "mxc://city.localhost/big"}
    clear = ClearEvent(SCRIBE, await harness.chat(), "m.room.message", content, "file")

    file = asyncio.create_task(harness.parts.encryptor.encrypt(clear))
    await eventually(lambda: has_request(harness, "upload"))
    async with asyncio.timeout(20):
        text = await harness.send("text")
    assert not file.done()
    end.set()
    sent = await file

    assert harness.read(text) == "text"
    event = text | {"event_id": "$file", "content": sent}
    assert harness.alice.read(event).content["file"]["url"].startswith("mxc://")


async def has_request(harness: EncryptionHarness, what: str) -> bool:
    return bool(harness.homeserver.all(what))
