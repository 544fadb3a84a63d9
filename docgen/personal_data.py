"""Generates ``docs/reference/personal-data.md`` from the register of tables with personal data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from daarion_appservice.storage.personal_data.export import field_name
from daarion_appservice.storage.personal_data.holdings import HOLDINGS, IMPERSONAL, Holding

from .markdown import code, header, table

_SOURCE: Final = "daarion_appservice/storage/personal_data/holdings.py"


def page() -> str:
    return header("Personal data", _SOURCE, "personal-data") + "".join(_sections())


def _sections() -> Iterator[str]:
    yield "\n## Tables with data of persons\n"
    yield table(
        ("table", "record", "fields", "erasure"),
        (
            (code(each.table.name), code(each.record) if each.record else "", _fields(each), each.erasure.value)
            for each in sorted(HOLDINGS, key=lambda each: each.table.name)
        ),
    )
    yield "\n## Other tables\n"
    yield table(("table", "content"), ((code(each.name), holds) for each, holds in IMPERSONAL.items()))


def _fields(holding: Holding) -> str:
    if holding.record is None:
        return holding.note
    names = [field_name(column.name) for column in holding.table.c if column.name not in holding.omitted]
    note = f" ({holding.note})" if holding.note else ""
    return ", ".join(map(code, names)) + note
