"""A city without tasks and listeners, for the duration of one command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..config import loading as config_file
from ..storage import migrate
from ..storage.database import Database
from ..storage.sqlite_file import check_exists

if TYPE_CHECKING:
    from ..wiring import City

T = TypeVar("T")


def with_city(config: Path, work: Callable[[City], Awaitable[T]]) -> T:
    """Load the configuration and the city, check its homeserver, run ``work``, and close everything."""

    async def do() -> T:
        async with _city(config) as city:
            return await work(city)

    return asyncio.run(do())


def with_migrated_database(config: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    """Migrate the database and run ``work``. Raise StartError if the SQLite file does not exist."""

    async def migrated(database: Database) -> T:
        check_exists(database.file, config)
        await migrate.upgrade(database)
        return await work(database)

    return with_database(config, migrated)


def with_database(config: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run ``work`` with the database alone, which needs no tokens."""

    async def do() -> T:
        database = Database(config_file.load(config).database.url)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(do())


@asynccontextmanager
async def _city(config: Path) -> AsyncIterator[City]:
    # Imported here: the whole city takes long to import, and most commands need only its database.
    from ..app import load  # noqa: PLC0415
    from ..matrix.client.startup_checks import identify  # noqa: PLC0415
    from ..wiring import build_city  # noqa: PLC0415

    city = build_city(config_file.load(config))
    try:
        check_exists(city.database.file, config)
        await load(city)
        await identify(city.homeserver, city.settings, city.identities)
        yield city
    finally:
        await city.close()
