"""Olm sessions in the database."""

from __future__ import annotations

from daarion_appservice.storage.database import Transaction
from tests.parts.encryption_rows import CURVE, GUIDE, NOW_MS, OTHER_CURVE, SCRIBE, olm_row


async def test_last_used_olm_session_comes_first(tx: Transaction) -> None:
    old, new, middle = (olm_row(name, used_at_ms=NOW_MS + at) for name, at in (("1", 0), ("2", 2), ("3", 1)))
    await tx.olm_sessions.save([old, new, middle, olm_row("1", ghost=GUIDE), olm_row("1", curve25519=OTHER_CURVE)])
    assert await tx.olm_sessions.with_device(SCRIBE, CURVE) == [new, middle, old]
    assert await tx.olm_sessions.with_device(GUIDE, OTHER_CURVE) == []


async def test_olm_sessions_are_grouped_by_device(tx: Transaction) -> None:
    rows = [olm_row("1"), olm_row("2", used_at_ms=NOW_MS + 1), olm_row("3", curve25519=OTHER_CURVE)]
    await tx.olm_sessions.save([*rows, olm_row("4", ghost=GUIDE)])
    assert await tx.olm_sessions.with_devices(SCRIBE, [CURVE, OTHER_CURVE, "x"]) == {
        CURVE: [rows[1], rows[0]],
        OTHER_CURVE: [rows[2]],
        "x": [],
    }


async def test_saved_olm_session_replaces_older_ratchet(tx: Transaction) -> None:
    await tx.olm_sessions.save([olm_row()])
    moved_on = olm_row(pickle="q", used_at_ms=NOW_MS + 1)
    await tx.olm_sessions.save([olm_row(), moved_on])
    await tx.olm_sessions.save([])
    assert await tx.olm_sessions.with_device(SCRIBE, CURVE) == [moved_on]


async def test_only_given_olm_sessions_are_deleted(tx: Transaction) -> None:
    kept = [olm_row("2"), olm_row("1", curve25519=OTHER_CURVE), olm_row("1", ghost=GUIDE)]
    await tx.olm_sessions.save([olm_row("1"), *kept])
    await tx.olm_sessions.delete([olm_row("1")])
    assert await tx.olm_sessions.with_device(SCRIBE, CURVE) == kept[:1]
    assert await tx.olm_sessions.with_device(SCRIBE, OTHER_CURVE) == kept[1:2]
    assert await tx.olm_sessions.with_device(GUIDE, CURVE) == kept[2:]


async def test_deletion_of_all_olm_sessions_is_per_ghost(tx: Transaction) -> None:
    await tx.olm_sessions.save([olm_row(), olm_row(ghost=GUIDE)])
    for ghost in (SCRIBE, GUIDE):
        await tx.olm_sessions.set_recovery(ghost, CURVE, NOW_MS)
    await tx.olm_sessions.delete_all(SCRIBE)
    assert await tx.olm_sessions.with_device(SCRIBE, CURVE) == []
    assert await tx.olm_sessions.last_recovery(SCRIBE, CURVE) is None
    assert await tx.olm_sessions.with_device(GUIDE, CURVE) == [olm_row(ghost=GUIDE)]
    assert await tx.olm_sessions.last_recovery(GUIDE, CURVE) == NOW_MS


async def test_last_recovery_is_stored_per_device(tx: Transaction) -> None:
    await tx.olm_sessions.set_recovery(SCRIBE, CURVE, NOW_MS)
    await tx.olm_sessions.set_recovery(SCRIBE, CURVE, NOW_MS + 1)
    assert await tx.olm_sessions.last_recovery(SCRIBE, CURVE) == NOW_MS + 1
    assert await tx.olm_sessions.last_recovery(SCRIBE, OTHER_CURVE) is None
    assert await tx.olm_sessions.last_recovery(GUIDE, CURVE) is None
