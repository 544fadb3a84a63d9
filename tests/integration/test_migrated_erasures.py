"""Tests of the erasures that a migration keeps, on SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import text

from daarion_appservice.city.data_subjects import DataSubject
from daarion_appservice.city.types import CitizenId, UserId
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database
from tests.parts.migrations import EMPTY, downgrade


@EMPTY
async def test_migration_0045_keeps_data_subjects_of_erasures(database: Database) -> None:
    of_alice, of_oksana = DataSubject(user=UserId("@alice:x")), DataSubject(citizen=CitizenId("u_1"))

    async def stored() -> list[DataSubject | None]:
        async with database.read_only() as tx:
            return [erasure.data_subject for erasure in await tx.erasures.all(limit=9)]

    await migrate.upgrade(database)
    async with database.transaction() as tx:
        for name, data_subject in (("e1", of_alice), ("e2", of_oksana)):
            await tx.erasures.add(name, data_subject, now_ms=1)
        await tx.erasures.finish("e2", now_ms=2)
        await downgrade(tx, "0044")
        before = list(await tx.connection.scalars(text("SELECT person FROM erasures ORDER BY id")))
    assert ("@alice:x" in before[0], before[1]) == (True, "")
    await migrate.upgrade(database)
    assert await stored() == [None, of_alice]
