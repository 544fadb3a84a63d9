"""The cost of reads does not depend on the size of the history: query plans and counted rows, no clock.

Each query is the one that the code asks (caught on its way to the driver), with the values that it asks with.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import event, insert, text

from daarion_appservice.city.types import Author, AuthorKind, EventId, MatrixRoomId, MessageId, RoomId
from daarion_appservice.storage import migrate, tables
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.read_versions import POSTGRES, SQLITE
from tests.parts.postgres import Postgres

GROWING = {"messages", "feed", "inbox", "room_events", "reactions", "transactions"}
"""Tables that get longer as the city gets older."""

DEEPER_PAGES = 4
"""The index of a million is a level or two deeper than that of a thousand."""
A_FEW = 200
"""So many rows may be sorted: a planner may like that better than fetching a quiet room's in their order."""

SORTS_ITS_LIMIT = {"events that wait"}
"""Reads that sort rows after their limit. A plan of SQLite does not tell how many; the test of the work counts its steps."""

BUSY, QUIET = RoomId("city_r0"), RoomId("city_r1")
BUSY_ON_MATRIX = MatrixRoomId("!r0")
ROOMS = 20
FEW_ROOMS, MANY_ROOMS = 500, 3_000
FEW_MESSAGES, SOME_MESSAGES, MANY_MESSAGES = 1_000, 10_000, 1_000_000
OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана", None)

Read = Callable[[Transaction, int], Awaitable[object]]
"""Takes the number of messages that there are."""

READS: dict[str, Read] = {
    "the last 50 of a busy room": lambda tx, _: tx.messages.before(BUSY, None, limit=50),
    "the last 50 of a quiet room": lambda tx, _: tx.messages.before(QUIET, None, limit=50),
    "50 before a number": lambda tx, n: tx.messages.before(BUSY, n // 4, limit=50),
    "50 after a number": lambda tx, n: tx.messages.between(BUSY, n // 4, n, limit=50),
    "the history after a number": lambda tx, n: tx.room_events.after(BUSY, n // 4, limit=50),
    "versions, popular first": lambda tx, _: tx.rooms.page_versions(sort="popular", limit=100, offset=0),
    "versions, recent first": lambda tx, _: tx.rooms.page_versions(sort="recent", limit=100, offset=0),
    "versions by name": lambda tx, _: tx.rooms.page_versions(sort="name", limit=100, offset=0),
    "rooms, popular first": lambda tx, _: tx.rooms.page(sort="popular", limit=100, offset=0),
    "rooms, recent first": lambda tx, _: tx.rooms.page(sort="recent", limit=100, offset=0),
    "rooms by name": lambda tx, _: tx.rooms.page(sort="name", limit=100, offset=0),
    "one room": lambda tx, _: tx.rooms.find("r0"),
    "the feed": lambda tx, _: tx.feed.before(None, limit=20),
    "the feed before an entry": lambda tx, n: tx.feed.before(f"{n // 2:026}", limit=20),
    "a message": lambda tx, n: tx.messages.get(MessageId(f"{n // 2:026}")),
    "some messages": lambda tx, n: tx.messages.by_ids([MessageId(f"{n // 2 + each:026}") for each in range(50)]),
    "a message by its client's id": lambda tx, n: tx.messages.by_client_id(OKSANA, BUSY, f"c{n // 2 & ~1}"),
    "a message by its event": lambda tx, n: tx.messages.by_event_id(EventId(f"${n // 2}")),
    "the first message that Matrix knows": lambda tx, _: tx.messages.oldest_from_matrix(BUSY),
    "messages of some events": lambda tx, n: tx.messages.places(BUSY, [f"${n // 2 + each}" for each in range(50)]),
    "messages from Matrix of some events": lambda tx, n: tx.messages.places(
        BUSY, [f"${n // 2 + each}" for each in range(50)], is_from_matrix=True
    ),
    "events that no sweep returned": lambda tx, _: tx.inbox_order.unswept(BUSY_ON_MATRIX),
    "messages from Matrix after a number": lambda tx, n: tx.messages.from_matrix_after(BUSY, n // 4),
    "the last message from Matrix": lambda tx, n: tx.messages.last_from_matrix(
        BUSY, BUSY_ON_MATRIX, exclude={f"${n // 2}"}
    ),
    "events that wait": lambda tx, _: tx.inbox.waiting(after_id=0, limit=100),
    "dead events": lambda tx, _: tx.inbox.dead_letters(),
    "which events came before": lambda tx, n: tx.inbox.find_processed([f"${n // 2 + each}" for each in range(50)]),
    "how many events wait": lambda tx, _: tx.inbox.counts(),
    "messages on their way": lambda tx, _: tx.outbox.waiting(limit=100),
}


@dataclass(frozen=True)
class RecordedQuery:
    """A statement that the driver received, with its parameters."""

    statement: str
    parameters: Any


@asynccontextmanager
async def city_of(messages: int, url: str) -> AsyncIterator[Database]:
    """With so many messages, feed entries and handled events."""
    database = Database(url)
    try:
        await migrate.upgrade(database)
        async with database.transaction() as tx:
            for statement in _history(messages, is_sqlite=database.is_sqlite):
                await tx.connection.execute(text(statement))
        async with database.transaction() as tx:
            await tx.connection.execute(text("ANALYZE"))
        yield database
    finally:
        await database.close()


def _history(messages: int, *, is_sqlite: bool) -> list[str]:
    ulid = "printf('%026d', i)" if is_sqlite else "lpad(i::text, 26, '0')"
    # Half of all in the busy room; the quiet one has 60, the oldest.
    room = f"'city_r' || (CASE WHEN i % 2 = 0 THEN 0 WHEN i < 120 THEN 1 ELSE 2 + i / 2 % {ROOMS - 2} END)"

    def numbers(count: int) -> str:
        if is_sqlite:
            return f"(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1}) SELECT i FROM n)"
        return f"(SELECT i FROM generate_series(0, {count - 1}) AS i)"

    rooms = f"""
        INSERT INTO rooms (id, slug, name, created_at_ms, last_seq, message_count, last_event_ms)
        SELECT 'city_r' || i, 'r' || i, 'Room ' || i, i, {messages}, {messages}, i FROM {numbers(ROOMS)} AS n"""
    message_rows = f"""
        INSERT INTO messages (id, room_id, seq, author_kind, author_id, author_name, body, msgtype, client_id,
            created_at_ms, matrix_event_id, delivery)
        SELECT {ulid}, {room}, i, 'citizen', 'u_1', 'Оксана', 'Добрий вечір', 'm.text', 'c' || i, i, '$' || i, 'sent'
        FROM {numbers(messages)} AS n"""
    inbox_rows = f"""
        INSERT INTO room_events (room_id, seq, kind, author_kind, author_id, author_name, at_ms)
        SELECT '{BUSY}', i * 2 + 1, 'city.room.join', 'citizen', 'u_' || i, 'Тарас', i FROM {numbers(messages // 2)} AS n"""
    outbox_rows = f"""
        INSERT INTO feed (id, kind, created_at_ms, room_id, message_id)
        SELECT {ulid}, 'room_message', i, {room}, {ulid} FROM {numbers(messages)} AS n"""
    received = f"""
        INSERT INTO inbox (event_id, matrix_room_id, event, received_at_ms, state, swept)
        SELECT '$' || i, '!r' || i % {ROOMS}, '', i, CASE WHEN i < {messages - 150} THEN 'done' ELSE 'new' END,
            i < {messages - 150}
        FROM {numbers(messages)} AS n"""
    to_be_sent = f"""
        INSERT INTO outbox (message_id, room_id, txn_id) SELECT {ulid}, '{BUSY}', 't' || i FROM {numbers(120)} AS n"""
    return [rooms, message_rows, inbox_rows, outbox_rows, received, to_be_sent]


async def record_queries(database: Database, messages: int) -> dict[str, list[RecordedQuery]]:
    found = {name: await _record_queries(database, read, messages) for name, read in READS.items()}
    # What is asked around SQLAlchemy.
    return found | {
        "version of a room": [RecordedQuery(*((SQLITE, (BUSY,)) if database.is_sqlite else (POSTGRES, ([BUSY],))))]
    }


async def _record_queries(database: Database, read: Read, messages: int) -> list[RecordedQuery]:
    """What ``read`` asks the database."""
    found: list[RecordedQuery] = []

    def catch(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            found.append(RecordedQuery(statement, parameters))

    async with database.read_only() as tx:
        engine = tx.connection.sync_connection
        assert engine is not None
        event.listen(engine, "before_cursor_execute", catch)
        await read(tx, messages)
    assert found
    return found


async def mistakes(database: Database, name: str, query: RecordedQuery) -> list[str]:
    """What of the plan of a read grows with the history."""
    async with database.read_only() as tx:
        if database.is_sqlite:
            plan = await tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query.statement}", query.parameters)
            return _mistakes_of_sqlite([row[-1] for row in plan], may_sort=name in SORTS_ITS_LIMIT)
        plan = await tx.connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {query.statement}", query.parameters)
        return _mistakes_of_postgres(_nodes(_json(plan.scalar_one())["Plan"]))


def _mistakes_of_sqlite(steps: list[str], *, may_sort: bool) -> list[str]:
    scans = [step for step in steps if (found := re.match(r"SCAN (\w+)", step)) and found[1] in GROWING]
    touches = any(re.search(rf"\b(?:SCAN|SEARCH) {table}\b", step) for step in steps for table in GROWING)
    sorts = [step for step in steps if "TEMP B-TREE" in step and touches and not may_sort]
    return [step for step in scans if "USING" not in step] + sorts


def _mistakes_of_postgres(nodes: list[dict[str, Any]]) -> list[str]:
    touches = any(node.get("Relation Name") in GROWING for node in nodes)
    return [
        f"{node['Node Type']} {node.get('Relation Name', '')}"
        for node in nodes
        if (node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWING)
        or (node["Node Type"] in {"Sort", "Incremental Sort"} and touches and node["Plan Rows"] > A_FEW)
    ]


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for inner in plan.get("Plans", ()) for node in _nodes(inner))]


def _json(value: Any) -> Any:
    found = orjson.loads(value) if isinstance(value, str) else value
    return found[0]


@dataclass(frozen=True)
class Work:
    """What was done to answer, counted."""

    rows: int
    """Rows that were looked at; on SQLite steps of its machine."""
    pages: int
    """Pages that were looked at; on SQLite not known."""


async def _work(database: Database, query: RecordedQuery) -> Work:
    if database.is_sqlite:
        return _work_of_sqlite(str(database.url.database), query)
    async with database.read_only() as tx:
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query.statement}"
        plan = _json((await tx.connection.exec_driver_sql(explain, query.parameters)).scalar_one())["Plan"]
    rows = sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) for node in _nodes(plan)
    )
    return Work(round(rows), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _work_of_sqlite(path: str, query: RecordedQuery) -> Work:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection = sqlite3.connect(path)
    try:
        connection.set_progress_handler(step, 1)
        connection.execute(query.statement, query.parameters).fetchall()
    finally:
        connection.close()
    return Work(steps, 0)


async def test_no_read_walks_through_the_history(database_url: str) -> None:
    async with city_of(SOME_MESSAGES, database_url) as database:
        found = {
            name: wrong
            for name, queries in (await record_queries(database, SOME_MESSAGES)).items()
            for query in queries
            if (wrong := await mistakes(database, name, query))
        }
    assert found == {}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_partial_indexes_are_used(database_url: str) -> None:
    """SQLite uses one only for the very term of its WHERE; PostgreSQL, which can prove more, may rightly choose another."""
    wanted = {
        "events that no sweep returned": "ix_inbox_unswept",
        "messages from Matrix after a number": "ix_messages_from_matrix",
        "the last message from Matrix": "ix_messages_from_matrix",
    }
    async with city_of(SOME_MESSAGES, database_url) as database:
        queries = await record_queries(database, SOME_MESSAGES)
        async with database.read_only() as tx:
            for name, index in wanted.items():
                (query,) = queries[name]
                plan = await tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query.statement}", query.parameters)
                steps = [row[-1] for row in plan]
                assert any(f"INDEX {index} " in step for step in steps), (name, steps, query.statement)


async def test_list_of_rooms_costs_the_same_with_more_rooms(database_url: str) -> None:
    lists = {name: read for name, read in READS.items() if name.startswith(("versions", "rooms"))}
    lists["unlisted rooms"] = lambda tx, _: tx.rooms.unlisted()
    async with city_of(FEW_MESSAGES, database_url) as database:
        await _add_rooms(database, range(ROOMS, FEW_ROOMS))
        before = await _work_of(database, lists)
        await _add_rooms(database, range(FEW_ROOMS, MANY_ROOMS))
        now = await _work_of(database, lists)
    assert {name: rows for name, rows in now.items() if rows > before[name]} == {}


async def _add_rooms(database: Database, numbers: range) -> None:
    new = [
        {"id": f"city_n{i}", "slug": f"n{i}", "name": f"Room {i}", "created_at_ms": i, "popularity": i} for i in numbers
    ]
    async with database.transaction() as tx:
        await tx.connection.execute(insert(tables.rooms), new)
        await tx.connection.execute(text("ANALYZE"))


async def _work_of(database: Database, reads: dict[str, Read]) -> dict[str, int]:
    queries = {name: await _record_queries(database, read, FEW_MESSAGES) for name, read in reads.items()}
    return {name: sum([(await _work(database, query)).rows for query in asked]) for name, asked in queries.items()}


@pytest.mark.soak
async def test_million_messages_cost_as_a_thousand_do(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> None:
    if database_url.startswith("sqlite"):
        small_url = f"sqlite:///{tmp_path / 'small.db'}"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        small_url = postgres.url(postgres.create_database())
    more = {}
    async with city_of(FEW_MESSAGES, small_url) as small, city_of(MANY_MESSAGES, database_url) as large:
        of_few = (await record_queries(small, FEW_MESSAGES)).values()
        of_many = await record_queries(large, MANY_MESSAGES)
        for (name, queries), same in zip(of_many.items(), of_few, strict=True):
            for query, smaller in zip(queries, same, strict=True):
                before, now = await _work(small, smaller), await _work(large, query)
                if now.rows > before.rows or now.pages > before.pages + DEEPER_PAGES:
                    more[name, query.statement] = (before, now)
                assert await mistakes(large, name, query) == [], name
    assert more == {}
