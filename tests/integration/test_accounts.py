"""Tests of the routes ``/city/me/matrix``, which link a Matrix account by an OpenID token."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import HttpResponse, InProcessCity, in_process_city
from tests.parts.scripted_homeserver import HANG_UP, Reply, ScriptedHomeserver, refused

ALICE = "@alice:city.localhost"
OKSANA = citizen_token("u_1", "Оксана")
ME = {
    "user_id": "u_1",
    "display_name": "Оксана",
    "avatar_url": None,
    "status_text": None,
    "matrix_user_id": None,
    "ghost_user_id": "@citizen_u_1:city.localhost",
    "subject": "u_1",
}


@dataclass
class AccountHarness:
    city: InProcessCity
    homeserver: ScriptedHomeserver

    async def link(self, token: str = "secret-openid", server: str = "city.localhost") -> HttpResponse:
        nonce = (await self.city.call("POST", "/city/sign-in/nonce")).content["nonce"]
        proof = {"access_token": token, "matrix_server_name": server, "token_type": "Bearer", "nonce": nonce}
        return await self.city.call("PUT", "/city/me/matrix", proof, token=OKSANA)

    async def me(self) -> object:
        return await self.city.get("/city/me", token=OKSANA)


@pytest.fixture
async def harness(sqlite_url: str) -> AsyncIterator[AccountHarness]:
    homeserver = ScriptedHomeserver()
    async with homeserver.serving(), in_process_city(sqlite_url, homeserver={"address": homeserver.url}) as city:
        yield AccountHarness(city, homeserver)


async def test_an_account_is_linked_and_unlinked(harness: AccountHarness) -> None:
    assert await harness.me() == ME
    harness.homeserver.next("openid", Reply(200, {"sub": "@alice:city.localhost"}))
    linked = await harness.link()
    # Linked citizens are shown with the name of the Matrix account.
    shown = {"display_name": "alice", "matrix_user_id": ALICE, "subject": ALICE}
    assert (linked.status, linked.content) == (200, ME | shown)
    assert await harness.me() == linked.content
    for _ in range(2):
        assert (await harness.city.call("DELETE", "/city/me/matrix", token=OKSANA)).status == 204
    assert await harness.me() == ME


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (refused(401, "M_UNKNOWN_TOKEN", "Access Token unknown or expired"), 403, "openid_invalid"),
        (refused(404, "M_UNRECOGNIZED"), 503, "openid_unavailable"),
        (HANG_UP, 503, "homeserver_unavailable"),
        (Reply(200, {"sub": 1}), 503, "homeserver_unavailable"),
        (Reply(200, ["nonsense"]), 503, "homeserver_unavailable"),
        (Reply(200, {"sub": "nonsense"}), 403, "openid_invalid"),
        (Reply(200, {"sub": "@alice:elsewhere.example"}), 403, "openid_foreign"),
        (Reply(200, {"sub": "@agent_daarwizz:city.localhost"}), 403, "openid_foreign"),
        (Reply(200, {"sub": "@citizen_u_2:city.localhost"}), 403, "openid_foreign"),
    ],
)
async def test_invalid_openid_token_is_403(
    harness: AccountHarness, caplog: pytest.LogCaptureFixture, reply: Reply, status: int, code: str
) -> None:
    caplog.set_level(logging.DEBUG)
    harness.homeserver.next("openid", reply)
    answer = await harness.link()
    assert (answer.status, answer.content["code"]) == (status, code)
    assert await harness.me() == ME
    of_the_homeserver = "aiohttp.access"
    assert not [each for each in caplog.records if each.name != of_the_homeserver and "secret" in each.getMessage()]


async def test_foreign_homeserver_is_refused_without_request(harness: AccountHarness) -> None:
    answer = await harness.link(server="elsewhere.example")
    assert (answer.status, answer.content["code"]) == (403, "openid_foreign")
    assert harness.homeserver.all("openid") == []


async def test_me_is_for_citizens_only(harness: AccountHarness) -> None:
    assert (await harness.city.call("GET", "/city/me")).status == 401
    assert (await harness.city.call("GET", "/city/me", token=ADMIN_TOKEN)).status == 403
