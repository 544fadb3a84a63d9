"""Statements about rows of encryption use indexes, however many rows there are."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from sqlalchemy import event, text

from daarion_appservice.city.types import EventId
from daarion_appservice.storage.database import Transaction
from tests.parts.encryption_rows import (
    ALICE,
    BOB,
    CURVE,
    NOW_MS,
    OTHER_CURVE,
    OTHER_SESSION,
    ROOM,
    SCRIBE,
    SESSION,
    index_row,
    request_row,
    withheld_row,
)

SCANS = {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan"}
Query = Callable[[Transaction], Awaitable[object]]

QUERIES: dict[str, Query] = {
    "account": lambda tx: tx.encryption_accounts.get(SCRIBE),
    "devices of users": lambda tx: tx.encryption_devices.of_users([ALICE, BOB]),
    "owners": lambda tx: tx.encryption_devices.owners([ALICE, BOB]),
    "stale users": lambda tx: tx.encryption_devices.stale([ALICE, BOB]),
    "changes of users": lambda tx: tx.encryption_devices.changes([ALICE, BOB]),
    "mark stale": lambda tx: tx.encryption_devices.mark_stale([ALICE, BOB]),
    "replace devices": lambda tx: tx.encryption_devices.replace(ALICE, []),
    "olm sessions": lambda tx: tx.olm_sessions.with_device(SCRIBE, CURVE),
    "olm sessions of devices": lambda tx: tx.olm_sessions.with_devices(SCRIBE, [CURVE, OTHER_CURVE]),
    "last recovery": lambda tx: tx.olm_sessions.last_recovery(SCRIBE, CURVE),
    "inbound sessions": lambda tx: tx.megolm_sessions.inbound(ROOM, SESSION),
    "inbound session": lambda tx: tx.megolm_sessions.find_inbound(ROOM, SESSION, CURVE),
    "known sessions": lambda tx: tx.megolm_sessions.inbound_exists([(ROOM, SESSION), (ROOM, OTHER_SESSION)]),
    "index": lambda tx: tx.megolm_sessions.index(ROOM, SESSION, ALICE, 1),
    "add index": lambda tx: tx.megolm_sessions.add_index(index_row()),
    "outbound session": lambda tx: tx.megolm_sessions.outbound(SCRIBE, ROOM),
    "shared keys": lambda tx: tx.megolm_sessions.shared(SESSION),
    "shared key": lambda tx: tx.megolm_sessions.shared_with(SESSION, ALICE, "PHONE"),
    "open requests": lambda tx: tx.key_requests.open(SCRIBE),
    "requests for a session": lambda tx: tx.key_requests.of_session(ROOM, SESSION),
    "delete request": lambda tx: tx.key_requests.delete(request_row()),
    "last answer": lambda tx: tx.key_requests.last_answer(SCRIBE, ALICE, "PHONE", SESSION),
    "withheld code": lambda tx: tx.withheld_keys.find(ROOM, SESSION, ALICE),
    "store withheld code": lambda tx: tx.withheld_keys.save(withheld_row()),
    "to-device messages": lambda tx: tx.to_device_outbox.waiting(SCRIBE),
    "undecrypted event": lambda tx: tx.undecrypted.get(EventId("$1")),
    "due events": lambda tx: tx.undecrypted.due(NOW_MS, 50),
    "expired events": lambda tx: tx.undecrypted.received_until(NOW_MS, 50),
    "next attempt": lambda tx: tx.undecrypted.next_try_ms(),
    "wake session": lambda tx: tx.undecrypted.wake_session(ROOM, SESSION, NOW_MS),
    "wake room": lambda tx: tx.undecrypted.wake_room(ROOM, NOW_MS),
    "ciphertext": lambda tx: tx.encrypted_entries.get("txn-1"),
}


async def recorded(tx: Transaction, query: Query) -> list[tuple[str, Any]]:
    """Return the statements that the driver got, with their parameters."""
    found: list[tuple[str, Any]] = []

    def catch(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    engine = tx.connection.sync_connection
    assert engine is not None
    event.listen(engine, "before_cursor_execute", catch)
    await query(tx)
    event.remove(engine, "before_cursor_execute", catch)
    return found


async def scans(tx: Transaction, statement: str, parameters: Any) -> list[str]:
    """Return the steps of a plan that read a whole table or index of encryption."""
    if tx.connection.dialect.name == "sqlite":
        plan = await tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row[-1] for row in plan if re.match(r"SCAN encryption_", row[-1])]
    found = (await tx.connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)).scalar_one()
    root = (orjson.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return whole_scans(root, is_limited=False)


def whole_scans(node: dict[str, Any], *, is_limited: bool) -> list[str]:
    """Return the nodes of a plan without an index condition; the first entries of an index need none."""
    kind = node["Node Type"]
    is_first_entries = is_limited and "Filter" not in node and kind != "Seq Scan"
    own = [f"{kind} {node.get('Relation Name')}"] if kind in SCANS and "Index Cond" not in node else []
    inner = [step for each in node.get("Plans", ()) for step in whole_scans(each, is_limited=kind == "Limit")]
    return inner if is_first_entries else own + inner


@pytest.mark.parametrize("name", QUERIES)
async def test_query_reads_no_whole_table(tx: Transaction, name: str) -> None:
    statements = await recorded(tx, QUERIES[name])
    assert statements
    if tx.connection.dialect.name == "postgresql":
        # An empty table is read as a whole unless that counts as expensive.
        await tx.connection.execute(text("SET LOCAL enable_seqscan = off"))
    found = {statement: await scans(tx, statement, parameters) for statement, parameters in statements}
    assert {statement: steps for statement, steps in found.items() if steps} == {}
