"""Tests of the record of used nonces, on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.city.sign_in_nonces import NONCE_LIFETIME_S, SignInNonces
from daarion_appservice.errors import Forbidden
from daarion_appservice.storage.database import Database
from tests.parts.in_process_city import in_process_city

NOW_MS = 1_795_317_512_345


def nonces(now_ms: int = NOW_MS) -> SignInNonces:
    return SignInNonces("secret", lambda: now_ms, is_required=True)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with in_process_city(database_url) as city:
        yield city.city.database


async def use(database: Database, by: SignInNonces, nonce: str, token: str) -> None:
    async with database.transaction() as tx:
        await by.use(tx, nonce, token)


async def test_nonce_expiring_during_sign_in_is_used_once(database: Database) -> None:
    """Two sign-ins checked the nonce before its expiry, and the homeserver answered both after it."""
    nonce = nonces().issue().text
    late = nonces(NOW_MS + NONCE_LIFETIME_S * 1000 + 1)
    await use(database, late, nonce, "first")
    with pytest.raises(Forbidden):
        await use(database, late, nonce, "second")


async def test_process_with_clock_ahead_forgets_no_use(database: Database) -> None:
    nonce, ahead = nonces().issue().text, nonces(NOW_MS + 2 * NONCE_LIFETIME_S * 1000)
    await use(database, nonces(), nonce, "first")
    await use(database, ahead, ahead.issue().text, "of another person")
    nonces().check(nonce)
    with pytest.raises(Forbidden):
        await use(database, nonces(), nonce, "second")


async def test_uses_are_deleted_after_a_day(database: Database) -> None:
    nonce = nonces().issue().text
    await use(database, nonces(), nonce, "token")
    later = nonces(NOW_MS + 24 * 3600 * 1000 + 1)
    async with database.transaction() as tx:
        await later.use(tx, None, "another")
    await use(database, later, nonce, "token")
