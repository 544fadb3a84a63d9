"""Nodes, microDAOs and districts of the registry."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Table, bindparam, delete, select
from sqlalchemy.engine import Row

from ..city.places import Place, PlaceKind
from .key_values import registry_changed
from .repository import Repository
from .tables import districts, microdaos, nodes
from .upsert import insert

_TABLES: Final[dict[PlaceKind, tuple[Table, str]]] = {
    PlaceKind.NODE: (nodes, "id"),
    PlaceKind.MICRODAO: (microdaos, "slug"),
    PlaceKind.DISTRICT: (districts, "id"),
}
"""The table of each kind, with its key column."""


class PlaceRepository(Repository):
    """The tables ``nodes``, ``microdaos`` and ``districts``."""

    async def all(self) -> list[Place]:
        return [
            _place(kind, key, row)
            for kind, (table, key) in _TABLES.items()
            for row in await self._connection.execute(select(table))
        ]

    async def put_all(self, described: Collection[Place]) -> None:
        """Add places, or replace the descriptions of existing ones."""
        if not described:
            return
        # This statement must be the first: a concurrent change of the registry waits here.
        await registry_changed(self._connection)
        for kind, (table, key) in _TABLES.items():
            rows = [_row(place, table, key) for place in described if place.kind is kind]
            if not rows:
                continue
            statement = insert(self._connection, table)
            columns = {name: statement.excluded[name] for name in rows[0] if name != key}
            await self._connection.execute(
                statement.on_conflict_do_update(index_elements=[table.c[key]], set_=columns), rows
            )

    async def remove(self, kind: PlaceKind, ids: Collection[str]) -> None:
        if not ids:
            return
        await registry_changed(self._connection)
        table, key = _TABLES[kind]
        await self._connection.execute(
            delete(table).where(table.c[key] == bindparam("removed")), [{"removed": each} for each in ids]
        )


def _row(place: Place, table: Table, key: str) -> dict[str, str]:
    known = {key: place.id, "name": place.name, "description": place.description, "district": place.district}
    return {name: value for name, value in known.items() if name in table.c}


def _place(kind: PlaceKind, key: str, row: Row[Any]) -> Place:
    columns = row._mapping  # noqa: SLF001 -- SQLAlchemy's own name for it
    return Place(kind, columns[key], columns["name"], columns.get("description", ""), columns.get("district", ""))
