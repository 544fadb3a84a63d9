"""Tables of the cost curves: each figure beside the one of the smallest size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from .tables import count, known, number, table

Row = dict[str, Any]

_WHO: Final = {"city": "SQLite", "city_postgres": "PostgreSQL", "floor": "*floor*"}


def _curve(rows: list[Row], *, unit: str, has_databases: bool) -> str:
    columns = ("what", "server", unit, "CPU µs each", ": smallest's", "p50 ms", "p99 ms")
    lines = []
    for row in rows:
        smallest = next(each for each in rows if (each["what"], each["who"]) == (row["what"], row["who"]))
        who = _WHO[row["who"]] if has_databases or row["who"] == "floor" else "this service"
        cpu_us, least_us = known(row["cpu_us"]), known(smallest["cpu_us"])
        lines.append(
            (
                row["what"],
                who,
                count(row["size"]),
                number(cpu_us),
                number(cpu_us / least_us if cpu_us is not None and least_us else None),
                number(row["p50_ms"]),
                number(row["p99_ms"]),
            )
        )
    return table(columns, lines)


def _restarts(rows: list[Row]) -> str:
    columns = ("server", "agents", "rooms", "ready after s", "CPU s", "requests until then", "requests/s after it")
    return table(
        columns,
        (
            (
                _WHO[row["who"]],
                count(row["agents"]),
                count(row["rooms"]),
                number(row["ready_s"]),
                number(row["cpu_s"]),
                count(row["requests"]),
                count(row["requests_per_s_later"]),
            )
            for row in rows
        ),
    )


RENDERERS: Final[dict[str, Callable[[list[Row]], str]]] = {
    "curve_subjects": partial(_curve, unit="subjects", has_databases=False),
    "curve_rooms": partial(_curve, unit="rooms", has_databases=True),
    "curve_messages": partial(_curve, unit="messages", has_databases=True),
    "curve_sockets": partial(_curve, unit="sockets", has_databases=False),
    "restarts": _restarts,
}
