"""Fixtures of the integration tests; a module that needs other settings defines its own ``city``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daarion_appservice.storage.database import Database
from tests.parts.config_file import write_config
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.media_harness import MediaHarness, media_harness
from tests.parts.message_exchange import MessageExchange, message_exchange
from tests.parts.terminal import Terminal


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    """A city on each database."""
    async with in_process_city(database_url) as city:
        yield city


@pytest.fixture
async def sqlite_city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    """A city on SQLite, for tests that do not depend on the database."""
    async with in_process_city(sqlite_url) as city:
        yield city


@pytest.fixture
async def exchange(module_database_url: str) -> AsyncIterator[MessageExchange]:
    """A room whose messages go both ways; the tests of a module share its database."""
    async with message_exchange(module_database_url) as exchange:
        yield exchange


@pytest.fixture
async def harness(sqlite_url: str) -> AsyncIterator[MediaHarness]:
    """A city on SQLite with a fake media repository."""
    async with media_harness(sqlite_url) as harness:
        yield harness


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database of each kind."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
def terminal(
    tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """A terminal in a directory with a configuration, on each kind of database."""
    monkeypatch.chdir(tmp_path)
    write_config(Path("config.yaml"), {"database.url": database_url, "homeserver.domain": "city.localhost"})
    return Terminal(tmp_path, database_url, capsys, monkeypatch)
