"""The base class of repositories."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Delete, Insert, Update
from sqlalchemy.ext.asyncio import AsyncConnection

from .deferred_writes import DEFERRED


class Repository:
    """Statements about one kind of stored object, on the connection of a ``Transaction``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def _write(self, statement: Insert | Update | Delete, values: dict[str, Any] | None = None) -> None:
        """Write one row in the round trip of the next statement or of the commit (`deferred_writes`).

        Args:
            statement: the statement, an INSERT with ``inline()``; nothing may depend on the number of its rows.
            values: its parameters by name; None for none.
        """
        # Not `execute`, which raises unless the driver waits for the database.
        await self._connection.run_sync(Connection.execute, statement, values, execution_options=DEFERRED)
