"""Tables of the benchmarks of rooms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any, Final

from .tables import count, number, percent, table

Row = dict[str, Any]

_WHO: Final = {
    "city": "this service, SQLite",
    "city_postgres": "this service, PostgreSQL",
    "mautrix": "mautrix, in memory",
    "fastapi": "FastAPI + asyncpg",
}
_ROUTES: Final = {
    "rooms": "`GET /city/rooms`",
    "room": "`GET /city/rooms/{id}`",
    "older": "`GET …/messages?before=`",
}
_WAYS: Final = {"in": "Element → city's WebSocket", "out": "city's POST → nio's sync"}


def _transactions(rows: list[Row]) -> str:
    columns = ("events in each", "server", "p50 ms", "p99 ms", "p50 − mautrix's ms", "events/s", "CPU µs an event")
    lines: list[tuple[str, ...]] = []
    for _, group in groupby(rows, key=lambda row: row["events"]):
        same = list(group)
        floor_ms = next(row["p50_ms"] for row in same if row["who"] == "mautrix")
        lines += [_transactions_line(row, floor_ms) for row in same]
    return table(columns, lines)


def _transactions_line(row: Row, floor_ms: float) -> tuple[str, ...]:
    return (
        count(row["events"]),
        _WHO[row["who"]],
        number(row["p50_ms"]),
        number(row["p99_ms"]),
        "" if row["who"] == "mautrix" else f"{row['p50_ms'] - floor_ms:+.2f}",
        count(row["events_per_s"]),
        number(row["cpu_us_an_event"]),
    )


def _delivery(rows: list[Row]) -> str:
    parts = ("ours", "synapse", "whole")
    columns = (
        "direction", "server", "messages", "service p50 ms", "p95 ms", "Synapse and client p50 ms", "p95 ms",
        "total p50 ms", "p95 ms",
    )  # fmt: skip
    return table(
        columns,
        (
            (
                _WAYS[row["way"]],
                _WHO[row["who"]],
                count(row["messages"]),
                *(number(row[f"{part}_p{rank}_ms"]) for part in parts for rank in (50, 95)),
            )
            for row in rows
        ),
    )


def _reads(rows: list[Row]) -> str:
    columns = (
        "route", "messages/s meanwhile", "server", "requests/s", ": the peer's", "p50 ms", "p99 ms", "core", "CPU µs each",
        "KiB each",
    )  # fmt: skip
    lines: list[tuple[str, ...]] = []
    for _, group in groupby(rows, key=lambda row: (row["route"], row["messages_per_s"])):
        same = list(group)
        peer_per_s = next(row["per_s"] for row in same if row["who"] == "fastapi")
        lines += [_reads_line(row, peer_per_s) for row in same]
    return table(columns, lines)


def _reads_line(row: Row, peer_per_s: float) -> tuple[str, ...]:
    return (
        _ROUTES[row["route"]],
        count(row["messages_per_s"]),
        _WHO[row["who"]],
        count(row["per_s"]),
        number(row["per_s"] / peer_per_s),
        number(row["p50_ms"]),
        number(row["p99_ms"]),
        percent(row["cpu_share"]),
        count(row["cpu_us_a_request"]),
        number(row["answer_bytes"] / 1024),
    )


_TURNS: Final = {"first": "first in a chat", "following": "following"}


def _encryption(rows: list[Row]) -> str:
    columns = (
        "exchange", "chat", "exchanges", "p50 ms", "p95 ms", "p50 : clear's", "service's CPU ms", "Synapse's CPU ms",
        "CPU : clear's",
    )  # fmt: skip
    lines: list[tuple[str, ...]] = []
    for _, group in groupby(rows, key=lambda row: row["turn"]):
        same = list(group)
        clear = next(row for row in same if row["chat"] == "clear")
        lines += [_encryption_line(row, clear) for row in same]
    return table(columns, lines)


def _encryption_line(row: Row, clear: Row) -> tuple[str, ...]:
    cpu_ms, clear_cpu_ms = (each["cpu_ms"] + each["synapse_cpu_ms"] for each in (row, clear))
    return (
        _TURNS[row["turn"]],
        row["chat"],
        count(row["exchanges"]),
        number(row["p50_ms"]),
        number(row["p95_ms"]),
        number(row["p50_ms"] / clear["p50_ms"]),
        number(row["cpu_ms"]),
        number(row["synapse_cpu_ms"]),
        number(cpu_ms / clear_cpu_ms),
    )


RENDERERS: Final[dict[str, Callable[[list[Row]], str]]] = {
    "transactions": _transactions,
    "delivery": _delivery,
    "reads": _reads,
    "encryption": _encryption,
}
