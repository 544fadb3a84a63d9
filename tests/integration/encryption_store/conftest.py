"""A transaction for each test of the repositories of encryption, which is rolled back after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.storage.database import Database, Transaction


@pytest.fixture
async def tx(module_database_url: str) -> AsyncIterator[Transaction]:
    """An open transaction on each kind of database."""
    database = Database(module_database_url)
    async with database.transaction() as tx:
        yield tx
        await tx.connection.rollback()
    await database.close()
