"""A city whose agents are asked in encrypted chats, shared by most tests of this directory: to start one is expensive."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.parts.encrypted_city import EncryptedCity, encrypted_city


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def shared_encrypted_city(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EncryptedCity]:
    directory = tmp_path_factory.mktemp("encrypted")
    shutil.copy(sqlite_template, directory / "city.db")
    async with encrypted_city(directory, f"sqlite:///{directory / 'city.db'}") as city:
        yield city


@pytest_asyncio.fixture(loop_scope="package")
async def city(shared_encrypted_city: EncryptedCity) -> AsyncIterator[EncryptedCity]:
    """The shared city, with people who leave at the end of the test."""
    await shared_encrypted_city.reset()
    async with shared_encrypted_city.with_people() as city:
        yield city


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_encrypted_city(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EncryptedCity]:
    async with encrypted_city(tmp_path_factory.mktemp("encrypted"), module_database_url) as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module")
async def own_city(own_encrypted_city: EncryptedCity) -> AsyncIterator[EncryptedCity]:
    """A city of the module alone, on its database, with people who leave at the end of the test."""
    await own_encrypted_city.reset()
    async with own_encrypted_city.with_people() as city:
        yield city
