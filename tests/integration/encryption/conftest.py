"""Fixtures of the tests of encryption with a scripted homeserver that keeps keys."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.parts.encryption_harness import EncryptionHarness, encryption_harness


@pytest.fixture
async def harness(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EncryptionHarness]:
    """The parts of encryption on SQLite, for rules that do not depend on the database."""
    async with encryption_harness(sqlite_url, monkeypatch) as harness:
        yield harness


@pytest.fixture
async def on_each(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EncryptionHarness]:
    """The parts of encryption on each database."""
    async with encryption_harness(database_url, monkeypatch) as harness:
        yield harness
