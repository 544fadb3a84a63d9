"""Tables of the benchmarks of pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .tables import count, number, percent, table

Row = dict[str, Any]

_PAGES: Final = {"home": "Home", "rooms": "`/city`", "room": "a room", "agent": "an agent", "agents": "`/agents`"}
_CONDITIONS: Final = {"fast": "unthrottled", "slow4g": "slow 4G", "slow4g_cpu4": "slow 4G, processor 4 times slower"}
_FIELDS: Final = {"agents": "agents", "rooms": "rooms", "pane": "list of rooms beside a page", "palette": "palette"}
_WORK: Final = ("main thread's CPU ms", "of it scripts", "of it style and layout")


def _loading(rows: list[Row]) -> str:
    columns = ("page", "conditions", "LCP ms", "CLS", "JavaScript kB", *_WORK, "other load")
    return table(
        columns,
        (
            (
                _PAGES[row["page"]],
                _CONDITIONS[row["conditions"]],
                count(row["lcp_ms"]),
                f"{row['cls']:.3f}",
                count(row["js_bytes"] / 1000),
                *_work(row),
                percent(row["other_load"]),
            )
            for row in rows
        ),
    )


def _keys(rows: list[Row]) -> str:
    columns = ("field", "processor", "strokes", "painted after p50 ms", "p95 ms", *_WORK, "other load")
    return table(
        columns,
        (
            (
                _FIELDS[row["field"]],
                "this one" if row["cpu_factor"] == 1 else f"{row['cpu_factor']} times slower",
                count(row["strokes"]),
                number(row["p50_ms"]),
                number(row["p95_ms"]),
                *_work(row),
                percent(row["other_load"]),
            )
            for row in rows
        ),
    )


def _presence(rows: list[Row]) -> str:
    columns = (
        "page",
        "subjects",
        "changes",
        "changes/s",
        "main thread",
        "of it scripts",
        "of it style and layout",
        "other load",
    )
    return table(
        columns,
        (
            (
                _PAGES[row["page"]],
                count(row["subjects"]),
                f"online, {row['status']}",
                count(row["changes_per_s"]),
                percent(row["share"]),
                percent(row["script_share"]),
                percent(row["layout_share"]),
                percent(row["other_load"]),
            )
            for row in rows
        ),
    )


def _typing(rows: list[Row]) -> str:
    columns = ("messages loaded", "typing changes", "long tasks", "longest ms", *_WORK, "other load")
    return table(
        columns,
        (
            (
                count(row["messages"]),
                count(row["changes"]),
                count(row["long_tasks"]),
                count(row["longest_ms"]),
                *_work(row),
                percent(row["other_load"]),
            )
            for row in rows
        ),
    )


def _work(row: Row) -> tuple[str, str, str]:
    return number(row["task_ms"]), number(row["script_ms"]), number(row["layout_ms"])


RENDERERS: Final[dict[str, Callable[[list[Row]], str]]] = {
    "page_loading": _loading,
    "page_keys": _keys,
    "page_presence": _presence,
    "page_typing": _typing,
}
