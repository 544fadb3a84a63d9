"""The base class of repositories."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection


class Repository:
    """Statements about one kind of stored object, on the connection of a ``Transaction``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
