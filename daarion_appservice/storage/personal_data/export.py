"""The export of a data subject's data as lines of JSON, read in small pages: neither memory nor a transaction grows with it.

{"type": "export", "schema": 1, …}      who, and when
{"type": "message", …}                  a record for each row (`holdings`), and of presence
{"type": "end", "records": 27}          missing if the export was cut short
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, exists, func, select, tuple_
from sqlalchemy.engine import RowMapping

from ...city.data_subjects import DataSubject
from ...city.presence import PresenceState
from ...city.timestamps import timestamp
from ...city.types import SubjectId
from ..database import Database
from .holdings import HOLDINGS, Holding

SCHEMA_VERSION: Final = 1
"""The version of the records. It increases when a field changes its meaning or goes; new fields do not change it."""

_PAGE: Final = 100
_JSON_COLUMNS: Final = frozenset(
    {"mentions", "media", "details", "payload", "rooms", "selections", "event", "power_levels"}
)
_DURATIONS: Final = frozenset({"latency_ms"})

Record = dict[str, Any]


async def has_data(database: Database, data_subject: DataSubject) -> bool:
    """Return whether any table has rows of the data subject."""
    async with database.read_only() as tx:
        for holding in HOLDINGS:
            found = select(exists().where(holding.owned(data_subject)).select_from(holding.table))
            if (await tx.connection.execute(found)).scalar():
                return True
    return False


async def export_lines(
    database: Database, data_subject: DataSubject, more: Iterable[Record] = (), *, now_ms: int
) -> AsyncIterator[bytes]:
    """Yield the export of a data subject as JSON objects, each with a line feed.

    Rows that change meanwhile are in the export as they are when their page is read.

    Args:
        data_subject: Whose data it is.
        more: Further records, of what is not in the database.
        now_ms: The present time in milliseconds since 1970.

    Raises:
        DatabaseError: A statement failed.
    """
    yield _line(
        {
            "type": "export",
            "schema": SCHEMA_VERSION,
            "exported_at": timestamp(now_ms),
            "subjects": data_subject.subjects,
            "matrix_user_ids": data_subject.users,
        }
    )
    count = 0
    for record in more:
        count += 1
        yield _line(record)
    for holding in HOLDINGS:
        if holding.record is not None:
            async for row in _rows(database, holding, data_subject):
                count += 1
                yield _line(_record(holding, row))
    yield _line({"type": "end", "records": count})


def presence_record(subject: SubjectId, state: PresenceState) -> Record:
    """Return the record of a subject's presence, which no table has."""
    return {"type": "presence", "subject": subject, "status": state.status, "status_msg": state.status_msg}


async def count_rows(database: Database, data_subject: DataSubject) -> dict[str, int]:
    """Return the number of the data subject's rows by table, without tables that have none."""
    counts: dict[str, int] = {}
    async with database.read_only() as tx:
        for holding in HOLDINGS:
            statement = select(func.count()).select_from(holding.table).where(holding.owned(data_subject))
            if count := (await tx.connection.execute(statement)).scalar_one():
                counts[str(holding.table.name)] = count
    return counts


async def _rows(database: Database, holding: Holding, data_subject: DataSubject) -> AsyncIterator[RowMapping]:
    key = list(holding.table.primary_key.columns)
    exported = holding.exported or holding.owned
    after: ColumnElement[bool] | None = None
    while True:
        statement = select(holding.table).where(exported(data_subject)).order_by(*key).limit(_PAGE)
        if after is not None:
            statement = statement.where(after)
        async with database.read_only() as tx:
            page = (await tx.connection.execute(statement)).mappings().all()
        for row in page:
            yield row
        if len(page) < _PAGE:
            return
        after = tuple_(*key) > tuple_(*(page[-1][column] for column in key))


def field_name(column: str) -> str:
    """Return the field of a column: times have no unit, because the export writes them as RFC 3339."""
    return column if column in _DURATIONS else column.removesuffix("_ms")


def _record(holding: Holding, row: RowMapping) -> Record:
    assert holding.record is not None
    fields = {name: value for column, value in row.items() if (name := str(column)) not in holding.omitted}
    return {"type": holding.record} | dict(_field(name, value) for name, value in fields.items())


def _field(name: str, value: Any) -> tuple[str, Any]:
    if (field := field_name(name)) != name:
        return field, timestamp(value) if value else None
    if name in _JSON_COLUMNS and isinstance(value, str) and value:
        return name, orjson.loads(value)
    return name, value


def _line(record: Record) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
