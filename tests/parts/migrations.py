"""The parameter of tests whose database is empty, and downgrades."""

from __future__ import annotations

import pytest
from alembic import command
from sqlalchemy import Connection

from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Transaction

EMPTY = pytest.mark.parametrize("is_migrated", [False], ids=["empty"])
"""Gives a test a database without tables, in place of a migrated one."""


async def downgrade(tx: Transaction, to: str) -> None:
    """Undo the migrations after the revision ``to``."""

    def run(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.downgrade(config, to)

    await tx.connection.run_sync(run)
