"""The statement that inserts rows or replaces those with the same primary key, and the names of the columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from ..upsert import insert

COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {"user": "user_id", "room": "matrix_room_id", "index": "message_index"}
)
"""The columns of fields whose names SQL reserves."""


async def save_rows(connection: AsyncConnection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows, or update the given columns of those that are stored.

    Args:
        connection: The connection of the transaction.
        table: The table; its primary key is in each row.
        rows: Columns with values, the same columns in each row. Of two rows with one key the last counts.
    """
    key = [column.name for column in table.primary_key]
    named = {tuple(row[name] for name in key): dict(row) for row in rows}
    if not named:
        return
    statement = insert(connection, table)
    first = next(iter(named.values()))
    changed = {name: statement.excluded[name] for name in first if name not in key}
    # Two transactions that lock rows in the same order do not block each other.
    ordered = sorted(named.values(), key=itemgetter(*key))
    await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), ordered)
