"""Key requests, answers to them and withheld codes in the database."""

from __future__ import annotations

from daarion_appservice.storage.database import Transaction
from daarion_appservice.storage.encryption.withheld_keys import MAX_CODES
from tests.parts.encryption_rows import (
    ALICE,
    BOB,
    EMOJI_DEVICE,
    GUIDE,
    NOW_MS,
    OTHER_CURVE,
    OTHER_ROOM,
    OTHER_SESSION,
    ROOM,
    SCRIBE,
    SESSION,
    request_row,
    withheld_row,
)

# --- requests -----------------------------------------------------------------------------------------


async def test_open_requests_come_oldest_first(tx: Transaction) -> None:
    newer, older = request_row("r1"), request_row("r2", session_id=OTHER_SESSION, sent_at_ms=NOW_MS - 1)
    for row in (newer, older, request_row("r3", ghost=GUIDE)):
        await tx.key_requests.save(row)
    assert await tx.key_requests.open(SCRIBE) == [older, newer]


async def test_repeated_request_replaces_first(tx: Transaction) -> None:
    await tx.key_requests.save(request_row("r1"))
    again = request_row("r2", sent_at_ms=NOW_MS + 1, attempts=2)
    await tx.key_requests.save(again)
    assert await tx.key_requests.open(SCRIBE) == [again]


async def test_requests_for_session_are_of_all_ghosts(tx: Transaction) -> None:
    rows = [request_row("r1"), request_row("r2", user=BOB), request_row("r3", ghost=GUIDE)]
    for row in (*rows, request_row("r4", session_id=OTHER_SESSION)):
        await tx.key_requests.save(row)
    assert await tx.key_requests.of_session(ROOM, SESSION) == rows
    assert await tx.key_requests.of_session(OTHER_ROOM, SESSION) == []


async def test_deleted_request_leaves_others(tx: Transaction) -> None:
    kept = [request_row("r2", user=BOB), request_row("r3", session_id=OTHER_SESSION)]
    for row in (request_row("r1"), *kept):
        await tx.key_requests.save(row)
    await tx.key_requests.delete(request_row("an older id"))
    assert await tx.key_requests.open(SCRIBE) == kept


# --- answers ------------------------------------------------------------------------------------------


async def test_last_answer_is_stored_per_device_and_session(tx: Transaction) -> None:
    requests = tx.key_requests
    await requests.set_answer(SCRIBE, ALICE, EMOJI_DEVICE, SESSION, NOW_MS)
    await requests.set_answer(SCRIBE, ALICE, EMOJI_DEVICE, SESSION, NOW_MS + 1)
    assert await requests.last_answer(SCRIBE, ALICE, EMOJI_DEVICE, SESSION) == NOW_MS + 1
    assert await requests.last_answer(GUIDE, ALICE, EMOJI_DEVICE, SESSION) is None
    assert await requests.last_answer(SCRIBE, BOB, EMOJI_DEVICE, SESSION) is None
    assert await requests.last_answer(SCRIBE, ALICE, "PHONE", SESSION) is None
    assert await requests.last_answer(SCRIBE, ALICE, EMOJI_DEVICE, OTHER_SESSION) is None


async def test_old_requests_and_answers_are_pruned(tx: Transaction) -> None:
    requests = tx.key_requests
    new = request_row("r2", session_id=OTHER_SESSION)
    for row in (request_row("r1", sent_at_ms=NOW_MS - 1), new):
        await requests.save(row)
    await requests.set_answer(SCRIBE, ALICE, "PHONE", SESSION, NOW_MS - 1)
    await requests.set_answer(SCRIBE, ALICE, "PHONE", OTHER_SESSION, NOW_MS)
    await requests.prune(NOW_MS)
    assert await requests.open(SCRIBE) == [new]
    assert await requests.last_answer(SCRIBE, ALICE, "PHONE", SESSION) is None
    assert await requests.last_answer(SCRIBE, ALICE, "PHONE", OTHER_SESSION) == NOW_MS


# --- withheld codes -----------------------------------------------------------------------------------


async def test_code_for_session_comes_before_general_code(tx: Transaction) -> None:
    general = withheld_row("m.no_olm", room=None, session_id=None)
    await tx.withheld_keys.save(withheld_row())
    await tx.withheld_keys.save(general)
    assert await tx.withheld_keys.find(ROOM, SESSION, ALICE) == withheld_row()
    assert await tx.withheld_keys.find(ROOM, OTHER_SESSION, ALICE) == general
    assert await tx.withheld_keys.find(OTHER_ROOM, SESSION, ALICE) == general
    assert await tx.withheld_keys.find(ROOM, SESSION, BOB) is None


async def test_newest_code_for_session_is_found(tx: Transaction) -> None:
    newer = withheld_row("m.blacklisted", curve25519=OTHER_CURVE)
    await tx.withheld_keys.save(withheld_row())
    await tx.withheld_keys.save(newer)
    assert await tx.withheld_keys.find(ROOM, SESSION, ALICE) == newer


async def test_later_code_replaces_earlier_one(tx: Transaction) -> None:
    for code in ("m.unverified", "com.example.own"):
        await tx.withheld_keys.save(withheld_row(code))
    assert await tx.withheld_keys.find(ROOM, SESSION, ALICE) == withheld_row("com.example.own")


async def test_user_has_limited_number_of_codes(tx: Transaction) -> None:
    await tx.withheld_keys.save(withheld_row(user=BOB))
    for number in range(MAX_CODES + 1):
        await tx.withheld_keys.save(withheld_row(session_id=str(number)))
    assert await tx.withheld_keys.find(ROOM, "0", ALICE) is None
    assert await tx.withheld_keys.find(ROOM, "1", ALICE) == withheld_row(session_id="1")
    assert await tx.withheld_keys.find(ROOM, SESSION, BOB) == withheld_row(user=BOB)
