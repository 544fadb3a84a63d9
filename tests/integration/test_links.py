"""Tests of links between citizens and Matrix accounts: concurrent requests, and profiles that are not available."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.parts.city import citizen_token
from tests.parts.in_process_city import HttpResponse, InProcessCity, in_process_city
from tests.parts.scripted_homeserver import Reply, ScriptedHomeserver

ALICE, BORYS = "@alice:city.localhost", "@borys:city.localhost"
CITIZENS = [f"u_{number}" for number in range(1, 4)]


@dataclass
class LinkHarness:
    """A city whose citizens prove Matrix accounts."""

    city: InProcessCity
    homeserver: ScriptedHomeserver

    async def proof(self, user: str, profile: Reply | None = None) -> dict[str, Any]:
        self.homeserver.next("openid", Reply(200, {"sub": user}))
        self.homeserver.next("profile_of", profile or Reply(200, {"displayname": "Alice"}))
        nonce = (await self.city.call("POST", "/city/sign-in/nonce")).content["nonce"]
        return {"access_token": f"token {nonce}", "matrix_server_name": "city.localhost", "nonce": nonce}

    async def link(self, citizen: str, proof: dict[str, Any]) -> HttpResponse:
        return await self.city.call("PUT", "/city/me/matrix", proof, token=citizen_token(citizen, citizen))

    async def unlink(self, citizen: str) -> None:
        answer = await self.city.call("DELETE", "/city/me/matrix", token=citizen_token(citizen, citizen))
        assert answer.status == 204


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[LinkHarness]:
    homeserver = ScriptedHomeserver()
    async with homeserver.serving(), in_process_city(database_url, homeserver={"address": homeserver.url}) as city:
        yield LinkHarness(city, homeserver)


async def test_concurrent_links_of_account_are_200_or_409(harness: LinkHarness) -> None:
    """One citizen has another account, in place of which the contested one is linked."""
    for _ in range(6):
        assert (await harness.link(CITIZENS[0], await harness.proof(BORYS))).status == 200
        proofs = [await harness.proof(ALICE) for _ in CITIZENS]
        answers = await asyncio.gather(*map(harness.link, CITIZENS, proofs))
        assert Counter(answer.status for answer in answers) == {200: 1, 409: len(CITIZENS) - 1}
        await asyncio.gather(*map(harness.unlink, CITIZENS))


async def test_relink_without_profile_keeps_stored_one(harness: LinkHarness) -> None:
    citizen = CITIZENS[0]
    await harness.link(citizen, await harness.proof(ALICE))
    assert (await harness.link(citizen, await harness.proof(ALICE, Reply(503, {})))).status == 200
    async with harness.city.city.database.read_only() as tx:
        assert [each.display_name for each in await tx.accounts.all()] == ["Alice"]
