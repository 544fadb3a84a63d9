"""The doctor names what is wrong with the keys of encrypted chats."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from daarion_appservice.city.types import Agent, AgentSlug, UserId
from daarion_appservice.clock import now_ms
from daarion_appservice.config import editing as config_edit
from daarion_appservice.config import loading as config_file
from daarion_appservice.doctor import encryption
from daarion_appservice.encryption.accounts import create_account
from daarion_appservice.encryption.primitives import PickleKey
from daarion_appservice.storage import migrate
from daarion_appservice.storage.database import Database, Transaction
from tests.parts.doctor import expect_finding, write_config
from tests.parts.encryption_rows import SCRIBE, undecrypted_row

OTHER_KEY = base64.b64encode(bytes(range(32))).decode()
_HOUR_MS = 3_600_000


async def change(config: Path, work: Callable[[Transaction], Awaitable[None]]) -> None:
    database = Database(config_file.load(config, {}).database.url)
    try:
        async with database.transaction() as tx:
            await work(tx)
    finally:
        await database.close()


@pytest.fixture
async def config(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with the agent scribe, whose keys the homeserver has, and whose service answers."""
    config = write_config(tmp_path, {"database.url": sqlite_url})
    database = Database(sqlite_url)
    await migrate.upgrade(database)
    await database.close()
    octets = config_file.load(config, {}).encryption.octets()
    assert octets is not None
    account = create_account(UserId(SCRIBE), "E2E_1", PickleKey(octets))

    async def fill(tx: Transaction) -> None:
        await tx.agents.put(Agent("scribe", AgentSlug("scribe"), "Scribe", rooms=()), now_ms=1)
        await tx.encryption_accounts.save(account)
        await tx.encryption_accounts.set_uploaded(account.ghost, is_uploaded=True)

    await change(config, fill)
    monkeypatch.setattr(encryption, "is_running", lambda _: asyncio.sleep(0, result=True))
    return config


async def test_agents_with_keys_pass(config: Path) -> None:
    await expect_finding("pickle_key", config, "pass", "It reads them")
    await expect_finding("encryption_devices", config, "pass", "1 agent(s) have keys; 0 event(s)")


@pytest.mark.parametrize(("key", "what"), [(OTHER_KEY, "stored with another"), ("", "pickle_key is empty")])
async def test_pickle_key_of_other_database_is_named(config: Path, key: str, what: str) -> None:
    config_edit.set_values(config, {"encryption.pickle_key": key})
    found = await expect_finding("pickle_key", config, "fail", what, "discard-keys")
    assert not key or key not in f"{found}"
    await expect_finding("encryption_devices", config, "skip")


async def test_agent_without_uploaded_keys_is_named(config: Path) -> None:
    await change(config, lambda tx: tx.encryption_accounts.set_uploaded(UserId(SCRIBE), is_uploaded=False))
    await expect_finding("encryption_devices", config, "warn", "scribe: no encryption keys", "encryption_unsupported")


@pytest.mark.parametrize(("age_ms", "status"), [(2 * _HOUR_MS, "warn"), (_HOUR_MS // 2, "pass")])
async def test_event_without_key_is_named_after_an_hour(config: Path, age_ms: int, status: str) -> None:
    await change(config, lambda tx: tx.undecrypted.add(undecrypted_row(received_at_ms=now_ms() - age_ms)))
    await expect_finding("encryption_devices", config, status, "1 event(s) wait")


async def test_checks_are_skipped_while_encryption_is_off(config: Path) -> None:
    config_edit.set_values(config, {"encryption.enabled": False})
    await expect_finding("pickle_key", config, "skip", "enabled is false")
    await expect_finding("encryption_devices", config, "skip")
