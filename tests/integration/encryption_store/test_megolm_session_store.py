"""Megolm sessions in the database, with the indexes of events and the devices that have the key."""

from __future__ import annotations

import pytest

from daarion_appservice.city.types import MatrixRoomId
from daarion_appservice.encryption.errors import ReplayedMessage
from daarion_appservice.encryption.rows import KeyOrigin
from daarion_appservice.storage.database import Transaction
from tests.parts.encryption_rows import (
    ALICE,
    BOB,
    EMOJI_DEVICE,
    GUIDE,
    LAST_INDEX,
    OTHER_CURVE,
    OTHER_ROOM,
    OTHER_SESSION,
    ROOM,
    SCRIBE,
    SESSION,
    inbound_row,
    index_row,
    outbound_row,
    shared_row,
)

LONG_ROOM = MatrixRoomId("!" + "😀" * 63)


# --- inbound sessions ---------------------------------------------------------------------------------


async def test_inbound_sessions_are_named_by_identity_key(tx: Transaction) -> None:
    mine, forged = inbound_row(), inbound_row(curve25519=OTHER_CURVE, owner=BOB, origin=KeyOrigin.BUNDLE)
    await tx.megolm_sessions.save_inbound([mine, forged, inbound_row(OTHER_SESSION), inbound_row(room=OTHER_ROOM)])
    found = await tx.megolm_sessions.inbound(ROOM, SESSION)
    assert sorted(found, key=lambda row: row.curve25519) == [mine, forged]
    assert await tx.megolm_sessions.find_inbound(ROOM, SESSION, OTHER_CURVE) == forged
    assert await tx.megolm_sessions.find_inbound(ROOM, OTHER_SESSION, OTHER_CURVE) is None
    assert await tx.megolm_sessions.inbound(OTHER_ROOM, OTHER_SESSION) == []


async def test_saved_inbound_session_replaces_stored_one(tx: Transaction) -> None:
    await tx.megolm_sessions.save_inbound([inbound_row(origin=KeyOrigin.BUNDLE)])
    better = inbound_row(first_index=0, pickle="q", origin=KeyOrigin.DIRECT)
    await tx.megolm_sessions.save_inbound([better])
    assert await tx.megolm_sessions.inbound(ROOM, SESSION) == [better]


async def test_stored_sessions_are_found_among_many(tx: Transaction) -> None:
    await tx.megolm_sessions.save_inbound([inbound_row(), inbound_row(room=LONG_ROOM)])
    keys = [(ROOM, SESSION), (LONG_ROOM, SESSION), (OTHER_ROOM, SESSION), (ROOM, OTHER_SESSION)]
    assert await tx.megolm_sessions.inbound_exists(keys) == {(ROOM, SESSION), (LONG_ROOM, SESSION)}
    many = [(ROOM, str(number)) for number in range(33_000)]
    assert await tx.megolm_sessions.inbound_exists([*many, (ROOM, SESSION)]) == {(ROOM, SESSION)}
    assert await tx.megolm_sessions.inbound_exists([]) == set()


async def test_bundle_of_2000_sessions_is_stored(tx: Transaction) -> None:
    rows = [inbound_row(str(number)) for number in range(2_000)]
    await tx.megolm_sessions.save_inbound(rows)
    names = [(row.room, row.session_id) for row in rows]
    assert await tx.megolm_sessions.inbound_exists(names) == set(names)


# --- indexes ------------------------------------------------------------------------------------------


async def test_index_belongs_to_one_event(tx: Transaction) -> None:
    sessions = tx.megolm_sessions
    await sessions.add_index(index_row("$1"))
    await sessions.add_index(index_row("$1"))
    with pytest.raises(ReplayedMessage):
        await sessions.add_index(index_row("$2"))
    assert await sessions.index(ROOM, SESSION, ALICE, LAST_INDEX) == index_row("$1")


async def test_indexes_differ_by_owner_and_number(tx: Transaction) -> None:
    sessions = tx.megolm_sessions
    rows = [index_row("$1"), index_row("$2", owner=BOB), index_row("$3", index=2**31)]
    for row in rows:
        await sessions.add_index(row)
    assert [await sessions.index(ROOM, SESSION, row.owner, row.index) for row in rows] == rows
    assert await sessions.index(ROOM, SESSION, ALICE, 0) is None
    assert await sessions.index(OTHER_ROOM, SESSION, ALICE, LAST_INDEX) is None
    assert await sessions.index(ROOM, OTHER_SESSION, ALICE, LAST_INDEX) is None


# --- outbound sessions --------------------------------------------------------------------------------


async def test_new_outbound_session_replaces_old_one(tx: Transaction) -> None:
    sessions = tx.megolm_sessions
    await sessions.save_outbound(outbound_row())
    await sessions.save_outbound(outbound_row(OTHER_SESSION, sent=0))
    assert await sessions.outbound(SCRIBE, ROOM) == outbound_row(OTHER_SESSION, sent=0)


async def test_outbound_session_is_one_ghosts(tx: Transaction) -> None:
    sessions = tx.megolm_sessions
    await sessions.save_outbound(outbound_row())
    assert await sessions.outbound(SCRIBE, ROOM) == outbound_row(), "the index above 2^31 is stored"
    assert await sessions.outbound(GUIDE, ROOM) is None
    assert await sessions.outbound(SCRIBE, OTHER_ROOM) is None


async def test_outbound_sessions_of_ghost_are_deleted(tx: Transaction) -> None:
    sessions = tx.megolm_sessions
    for row in (outbound_row(), outbound_row(room=OTHER_ROOM), outbound_row(ghost=GUIDE)):
        await sessions.save_outbound(row)
    await sessions.delete_outbound(SCRIBE)
    assert [await sessions.outbound(SCRIBE, room) for room in (ROOM, OTHER_ROOM)] == [None, None]
    assert await sessions.outbound(GUIDE, ROOM) == outbound_row(ghost=GUIDE)


async def test_key_replaces_withheld_code(tx: Transaction) -> None:
    sessions = tx.megolm_sessions
    await sessions.save_shared([shared_row(withheld="m.no_olm"), shared_row(EMOJI_DEVICE)])
    await sessions.save_shared([shared_row(), shared_row(session_id=OTHER_SESSION)])
    shared = await sessions.shared(SESSION)
    assert sorted(shared, key=lambda row: row.device_id) == [shared_row(), shared_row(EMOJI_DEVICE)]
    assert await sessions.shared_with(SESSION, ALICE, "PHONE") == shared_row()


async def test_device_without_share_has_none(tx: Transaction) -> None:
    sessions = tx.megolm_sessions
    await sessions.save_shared([shared_row(withheld="m.unverified")])
    assert await sessions.shared_with(SESSION, ALICE, "PHONE") == shared_row(withheld="m.unverified")
    assert await sessions.shared_with(SESSION, ALICE, "LAPTOP") is None
    assert await sessions.shared_with(SESSION, BOB, "PHONE") is None
    assert await sessions.shared_with(OTHER_SESSION, ALICE, "PHONE") is None
