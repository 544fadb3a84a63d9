"""Results as JSON in benchmarks/results/, and as tables in docs/reference/benchmarks.md between markers of their section."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any, Final

import orjson

from . import curve_tables, pages_tables, rooms_tables
from .processes import ROOT
from .tables import count, known, number, percent, table

Row = dict[str, Any]

RESULTS: Final = ROOT / "benchmarks" / "results"
PAGE: Final = ROOT / "docs" / "reference" / "benchmarks.md"

_WHO: Final = {
    "city": "this service",
    "city_batch": "this service, `batch=1`",
    "city_redis": "this service, Redis",
    "seeds": "naive design",
    "socketio": "python-socketio",
    "nchan": "nginx with nchan",
    "ws": "Node's `ws`",
    "floor": "*floor*",
    "naive_puts": "naive loop of PUTs",
}
_WAYS: Final = {"bulk": "HTTP, 100 in a request", "singles": "HTTP, one by one", "frames": "WebSocket frames"}
_STORES: Final = {
    "machine": "state machine, with expiry (simulated time)",
    "memory": "store in memory",
    "redis": "store in Redis",
}


def write(section: str, machine: Row, rows: list[Row]) -> None:
    """Store the rows of a section as JSON, and replace its table on the page."""
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine, "rows": rows}
    (RESULTS / f"{section}.json").write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    PAGE.write_text(replaced(PAGE.read_text(), section, f"{_machine(machine)}\n\n{render(section, rows)}"))


def replaced(page: str, section: str, text: str) -> str:
    """Return the page with ``text`` between the markers of ``section``.

    Raises:
        ValueError: the page has no such markers.
    """
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"{PAGE.name} has no place for {section}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def render(section: str, rows: list[Row]) -> str:
    """Return the tables of a section as Markdown."""
    return _RENDERERS[section](rows)


def _heartbeats(rows: list[Row]) -> str:
    columns = (
        "subjects", "transport", "server", "heartbeats/s", "core", "Redis's core", "µs each", "p50 ms", "p99 ms",
        "RSS MiB", "start s",
    )  # fmt: skip
    return table(
        columns,
        (
            (
                count(row["subjects"]),
                _WAYS[row["way"]],
                _WHO[row["who"]],
                count(row["per_s"]),
                percent(row["cpu_share"]),
                percent(row.get("redis_cpu_share")),
                number(row["us_a_heartbeat"]),
                number(row["p50_ms"]),
                number(row["p99_ms"]),
                count(row["rss_mib"]),
                number(row.get("start_s")),
            )
            for row in rows
        ),
    )


def _store(rows: list[Row]) -> str:
    columns = ("subjects", "what", "µs each", "Redis's µs each", "at most, each second")
    return table(
        columns,
        (
            (
                count(row["subjects"]),
                _STORES[row["store"]],
                number(row["us_a_heartbeat"]),
                number(row.get("redis_us_a_heartbeat")),
                count(row.get("per_s_at_most")),
            )
            for row in rows
        ),
    )


def _fanout(rows: list[Row]) -> str:
    columns = (
        "sockets", "server", "lone change p50 ms", "p99 ms", "p50 : floor's", "p99 : floor's", "CPU µs a frame",
        "updates/s in churn", "core", "updates per CPU second", "kept up", "KiB a socket",
    )  # fmt: skip
    lines: list[tuple[str, ...]] = []
    for _, group in groupby(rows, key=lambda row: row["sockets"]):
        same = list(group)
        floor = next(row for row in same if row["who"] == "floor")
        lines += [_fanout_line(row, floor) for row in same]
    return table(columns, lines)


def _fanout_line(row: Row, floor: Row) -> tuple[str, ...]:
    p50_ms, p99_ms = known(row["lone_p50_ms"]), known(row["lone_p99_ms"])
    return (
        count(row["sockets"]),
        _WHO[row["who"]],
        number(p50_ms),
        number(p99_ms),
        number(None if p50_ms is None else p50_ms / floor["lone_p50_ms"]),
        number(None if p99_ms is None else p99_ms / floor["lone_p99_ms"]),
        number(row.get("lone_us_a_frame")),
        count(row["updates_per_s"]),
        percent(row["cpu_share"]),
        count(row["updates_per_cpu_s"]),
        "no" if row["fell_behind"] else "yes",
        number(row["kib_a_socket"]),
    )


def _ghosts(rows: list[Row]) -> str:
    columns = (
        "client", "ghosts", "flaps", "Synapse's core", "own core", "seen after p50 ms", "p95 ms", "seen",
        "Synapse's answer p99 ms",
    )  # fmt: skip
    return table(
        columns,
        (
            (
                _WHO[row["who"]],
                count(row["ghosts"]),
                str(row["flaps"]),
                percent(row["synapse_cpu_share"]),
                percent(row["cpu_share"]),
                count(row["seen_p50_ms"]),
                count(row["seen_p95_ms"]),
                f"{row['seen']} of {row['seen'] + row['unseen']}",
                count(row["synapse_p99_ms"]),
            )
            for row in rows
        ),
    )


_RENDERERS: Final[dict[str, Callable[[list[Row]], str]]] = {
    "heartbeats": _heartbeats,
    "store": _store,
    "fanout": _fanout,
    "ghosts": _ghosts,
    **rooms_tables.RENDERERS,
    **pages_tables.RENDERERS,
    **curve_tables.RENDERERS,
}

SECTIONS: Final = tuple(_RENDERERS)


def _machine(machine: Row) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    return (
        f"{machine['date']}: {machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, {libraries}."
    )
