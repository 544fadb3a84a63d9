"""Tests of the routes ``/city/sign-in`` and ``/city/site``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from daarion_appservice.city.types import CitizenId
from daarion_appservice.config import JwtSettings, Settings
from daarion_appservice.config.validation import CLAIMS
from daarion_appservice.http.auth.jwt_check import JwtCheck
from daarion_appservice.http.auth.jwt_issue import JwtIssue
from daarion_appservice.http.auth.principals import Citizen
from tests.parts.city import JWT_SECRET, citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.scripted_homeserver import HANG_UP, Reply, ScriptedHomeserver, refused

BY_NAME = {"name": True}
TONIGHT = 1_795_317_512.9


# --- tokens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agreed", [{}, {"issuer": "city"}, {"audience": "pages"}, {"issuer": "c", "audience": "p"}])
async def test_issued_token_is_accepted(agreed: dict[str, str]) -> None:
    settings = JwtSettings.model_validate({"secret": JWT_SECRET, **agreed})
    issued = JwtIssue(settings, lifetime_s=60).token(CitizenId("u_7"), "Оксана")
    assert await JwtCheck(settings).citizen(issued.text) == Citizen(
        CitizenId("u_7"),
        "Оксана",
        is_admin=False,
        expires_at=issued.expires_at + int(settings.leeway_s),
        issued_at=issued.expires_at - 60,
    )


def test_issued_token_expires() -> None:
    settings = JwtSettings.model_validate({"secret": JWT_SECRET, "issuer": "city", "audience": "pages"})
    issued = JwtIssue(settings, lifetime_s=90.5, now_s=lambda: TONIGHT).token(CitizenId("u_7"), "Оксана")
    claims = jwt.decode(issued.text, JWT_SECRET, ["HS256"], options={"verify_exp": False}, audience="pages")
    assert (claims["iat"], claims["exp"], issued.expires_at) == (1_795_317_512, 1_795_317_602, 1_795_317_602)
    assert set(claims) == set(CLAIMS), "one that could be the admins' claim must be told to contradictions"


# --- by name ------------------------------------------------------------------------------------------


async def test_sign_in_by_name_returns_token(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, sign_in=BY_NAME | {"token_lifetime_s": 600}) as city:
        before = datetime.now(UTC)
        came = await city.call("POST", "/city/sign-in/name", {"name": " Оксана  Зоря "})
        assert (came.status, came.content["display_name"]) == (200, "Оксана Зоря")
        ends = datetime.fromisoformat(came.content["expires_at"])
        assert 599 <= (ends - before).total_seconds() <= 660
        posted = await city.call(
            "POST", "/city/rooms/general/messages", {"body": "Добрий вечір!"}, token=came.content["token"]
        )
        author = posted.content["author"]
        assert (author["id"], author["display_name"]) == (came.content["user_id"], "Оксана Зоря")


async def test_same_name_is_new_citizen_each_time(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, sign_in=BY_NAME) as city:
        came = [(await city.call("POST", "/city/sign-in/name", {"name": "Іван"})).content for _ in range(3)]
        assert len({each["user_id"] for each in came}) == 3
        assert all(each["user_id"].startswith("u_") for each in came)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({}, "invalid"),
        ({"name": ""}, "invalid"),
        ({"name": 7}, "invalid"),
        ({"name": "   "}, "name_required"),
        ({"name": "я" * 61}, "name_invalid"),
        ({"name": "Окса\u202eна"}, "name_invalid"),
    ],
)
async def test_invalid_name_is_refused(sqlite_url: str, sent: dict[str, Any], code: str) -> None:
    async with in_process_city(sqlite_url, sign_in=BY_NAME) as city:
        answer = await city.call("POST", "/city/sign-in/name", sent)
        assert (answer.status, answer.content["code"]) == (422, code)


async def test_sign_in_by_name_off_is_403(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url) as city:
        answer = await city.call("POST", "/city/sign-in/name", {"name": "Оксана"})
        assert (answer.status, answer.content["code"]) == (403, "sign_in_closed")


async def test_links_are_limited_as_sign_ins(sqlite_url: str) -> None:
    limits, headers = {"sign_ins": "2/hour"}, {"X-Forwarded-For": "203.0.113.7"}
    api = {"trusted_proxies": ["127.0.0.1"]}
    async with in_process_city(sqlite_url, limits=limits, api=api) as city:
        proof = {"access_token": "secret", "matrix_server_name": "city.localhost"}
        token = citizen_token("u_1", "Оксана")
        answers = [
            (await city.call("PUT", "/city/me/matrix", proof, token=token, headers=headers)).status for _ in range(3)
        ]
        assert answers == [403, 403, 429]


async def test_sign_ins_are_limited_by_address(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, sign_in=BY_NAME, limits={"sign_ins": "2/hour"}) as city:

        async def arrive(address: str, token: str | None = None) -> int:
            answer = await city.call(
                "POST", "/city/sign-in/name", {"name": "Іван"}, token=token, headers={"X-Forwarded-For": address}
            )
            return answer.status

        somebody = citizen_token("u_1", "Оксана")
        assert [await arrive("203.0.113.7") for _ in range(3)] == [200, 200, 429]
        assert await arrive("203.0.113.7", somebody) == 429
        assert await arrive("198.51.100.4", somebody) == 200


# --- with a Matrix account ----------------------------------------------------------------------------

ALICE = {"sub": "@alice:city.localhost"}


async def proof(city: InProcessCity, token: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return the body of a sign-in: an OpenID token, a new one unless ``token`` is given, with a new nonce."""
    nonce = (await city.call("POST", "/city/sign-in/nonce")).content["nonce"]
    sent = {"access_token": token or f"secret-{nonce}", "token_type": "Bearer", "matrix_server_name": "city.localhost"}
    return sent | {"nonce": nonce} | fields


@pytest.fixture
async def homeserver() -> AsyncIterator[ScriptedHomeserver]:
    homeserver = ScriptedHomeserver()
    async with homeserver.serving():
        yield homeserver


@asynccontextmanager
async def city_of(homeserver: ScriptedHomeserver, database_url: str, **sections: Any) -> AsyncIterator[InProcessCity]:
    async with in_process_city(
        database_url, homeserver={"address": homeserver.url}, sign_in={"matrix": True}, **sections
    ) as city:
        yield city


async def sign_in_concurrently(city: InProcessCity, homeserver: ScriptedHomeserver, profile: Any = None) -> Any:
    """Alice comes in; ``profile`` is hers on Matrix."""
    homeserver.next("openid", Reply(200, {"sub": "@alice:city.localhost"}))
    homeserver.next("profile_of", profile or Reply(200, {"displayname": "Alice"}))
    came = await city.call("POST", "/city/sign-in/matrix", await proof(city))
    assert came.status == 200, came
    return came.content


async def test_same_account_is_same_citizen(homeserver: ScriptedHomeserver, database_url: str) -> None:
    async with city_of(homeserver, database_url) as city:
        first, again = [await sign_in_concurrently(city, homeserver) for _ in range(2)]
        assert first["user_id"] == again["user_id"]
        assert await city.get("/city/me", token=again["token"]) == {
            "user_id": first["user_id"],
            "display_name": "Alice",
            "avatar_url": None,
            "status_text": None,
            "matrix_user_id": "@alice:city.localhost",
            "ghost_user_id": f"@citizen_{first['user_id']}:city.localhost",
            "subject": "@alice:city.localhost",
        }


async def test_concurrent_sign_in_of_account_is_one_citizen(homeserver: ScriptedHomeserver, database_url: str) -> None:
    async with city_of(homeserver, database_url) as city:
        came = await asyncio.gather(*(sign_in_concurrently(city, homeserver) for _ in range(8)))
        assert len({each["user_id"] for each in came}) == 1


async def test_linked_account_signs_in_as_its_citizen(homeserver: ScriptedHomeserver, sqlite_url: str) -> None:
    async with city_of(homeserver, sqlite_url) as city:
        homeserver.next("openid", Reply(200, {"sub": "@alice:city.localhost"}))
        linked = await city.call("PUT", "/city/me/matrix", await proof(city), token=citizen_token("u_1", "Оксана"))
        assert linked.status == 200
        assert (await sign_in_concurrently(city, homeserver))["user_id"] == "u_1"


@pytest.mark.parametrize(
    "profile",
    [
        Reply(200, {}),
        Reply(200, {"displayname": 7}),
        Reply(200, {"displayname": "  "}),
        Reply(200, {"displayname": "Al\u202eice"}),
        refused(404, "M_NOT_FOUND"),
        HANG_UP,
    ],
)
async def test_account_without_name_is_named_by_user_id(
    homeserver: ScriptedHomeserver, sqlite_url: str, profile: Any
) -> None:
    async with city_of(homeserver, sqlite_url) as city:
        assert (await sign_in_concurrently(city, homeserver, profile))["display_name"] == "alice"


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (refused(401, "M_UNKNOWN_TOKEN"), 403, "openid_invalid"),
        (refused(404, "M_UNRECOGNIZED"), 503, "openid_unavailable"),
        (HANG_UP, 503, "homeserver_unavailable"),
        (Reply(200, {"sub": "@alice:elsewhere.example"}), 403, "openid_foreign"),
        (Reply(200, {"sub": "@agent_daarwizz:city.localhost"}), 403, "openid_foreign"),
    ],
)
async def test_invalid_openid_token_is_403(
    homeserver: ScriptedHomeserver, sqlite_url: str, reply: Any, status: int, code: str
) -> None:
    homeserver.next("openid", reply)
    async with city_of(homeserver, sqlite_url) as city:
        answer = await city.call("POST", "/city/sign-in/matrix", await proof(city))
        assert (answer.status, answer.content["code"]) == (status, code)


async def test_foreign_homeserver_is_refused_without_request(homeserver: ScriptedHomeserver, sqlite_url: str) -> None:
    async with city_of(homeserver, sqlite_url) as city:
        theirs = await proof(city, matrix_server_name="elsewhere.example")
        answer = await city.call("POST", "/city/sign-in/matrix", theirs)
        assert (answer.status, answer.content["code"]) == (403, "openid_foreign")
        assert homeserver.all("openid") == []


async def test_unavailable_profile_keeps_stored_name(homeserver: ScriptedHomeserver, sqlite_url: str) -> None:
    async with city_of(homeserver, sqlite_url) as city:
        token = (await sign_in_concurrently(city, homeserver))["token"]
        await sign_in_concurrently(city, homeserver, refused(404, "M_NOT_FOUND"))
        posted = await city.call("POST", "/city/rooms/general/messages", {"body": "привіт"}, token=token)
        assert posted.content["author"]["display_name"] == "Alice"


async def test_sign_in_by_matrix_off_is_403(homeserver: ScriptedHomeserver, sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, homeserver={"address": homeserver.url}, sign_in=BY_NAME) as city:
        answer = await city.call("POST", "/city/sign-in/matrix", await proof(city))
        assert (answer.status, answer.content["code"]) == (403, "sign_in_closed")
        assert homeserver.all("openid") == []


async def sign_in(city: InProcessCity, sent: dict[str, Any]) -> tuple[int, str | None]:
    answer = await city.call("POST", "/city/sign-in/matrix", sent)
    return answer.status, answer.content.get("code")


async def test_nonce_is_accepted_once(homeserver: ScriptedHomeserver, database_url: str) -> None:
    for _ in range(3):
        homeserver.next("openid", Reply(200, ALICE))
    async with city_of(homeserver, database_url) as city:
        first = await proof(city)
        assert await sign_in(city, first) == (200, None)
        assert await sign_in(city, first) == (403, "nonce_invalid")
        assert await sign_in(city, first | {"access_token": "another"}) == (403, "nonce_invalid")


async def test_openid_token_is_accepted_once(homeserver: ScriptedHomeserver, database_url: str) -> None:
    for _ in range(3):
        homeserver.next("openid", Reply(200, ALICE))
    async with city_of(homeserver, database_url) as city:
        assert await sign_in(city, await proof(city, "leaked")) == (200, None)
        assert await sign_in(city, await proof(city, "leaked")) == (403, "openid_used")
        link = await city.call(
            "PUT", "/city/me/matrix", await proof(city, "leaked"), token=citizen_token("u_2", "Іван")
        )
        assert (link.status, link.content["code"]) == (403, "openid_used")


async def test_concurrent_uses_of_nonce_sign_in_once(homeserver: ScriptedHomeserver, database_url: str) -> None:
    async with city_of(homeserver, database_url) as city:
        sent = await proof(city)
        for _ in range(6):
            homeserver.next("openid", Reply(200, ALICE))
        answers = await asyncio.gather(*(sign_in(city, sent) for _ in range(6)))
        assert sorted(answers) == [(200, None)] + [(403, "nonce_invalid")] * 5


async def test_sign_in_without_nonce_asks_no_homeserver(homeserver: ScriptedHomeserver, sqlite_url: str) -> None:
    async with city_of(homeserver, sqlite_url) as city:
        for nonce in (None, "", "nonsense"):
            assert await sign_in(city, await proof(city, nonce=nonce)) == (403, "nonce_invalid")
        assert homeserver.all("openid") == []


async def test_nonce_survives_homeserver_outage(homeserver: ScriptedHomeserver, sqlite_url: str) -> None:
    homeserver.next("openid", refused(404, "M_UNRECOGNIZED"))
    homeserver.next("openid", Reply(200, ALICE))
    async with city_of(homeserver, sqlite_url) as city:
        sent = await proof(city)
        assert await sign_in(city, sent) == (503, "openid_unavailable")
        assert await sign_in(city, sent) == (200, None)


async def test_nonce_is_optional_by_configuration(homeserver: ScriptedHomeserver, sqlite_url: str) -> None:
    homeserver.next("openid", Reply(200, ALICE))
    settings = {"matrix": True, "require_nonce": False}
    async with in_process_city(sqlite_url, homeserver={"address": homeserver.url}, sign_in=settings) as city:
        sent = await proof(city)
        del sent["nonce"]
        assert await sign_in(city, sent) == (200, None)


# --- what the pages are told --------------------------------------------------------------------------


async def test_site_has_sign_in_methods(sqlite_url: str) -> None:
    sections: dict[str, dict[str, Any]] = {
        "sign_in": {"url": "https://auth.example.org/in"},
        "web": {"client_url": "", "homeserver_url": "https://matrix.example.org/", "away_after_s": 60},
        "presence": {"heartbeat_s": 5, "ttl_s": 12.5},
        "city": {"name": "Поділ"},
        "api": {"anonymous_read": False},
    }
    async with in_process_city(sqlite_url, **sections) as city:
        assert await city.get("/city/site") == {
            "city_name": "Поділ",
            "sign_in": {"url": "https://auth.example.org/in", "name": False, "matrix": False},
            "matrix": {
                "server_name": "city.localhost",
                "homeserver_url": "https://matrix.example.org",
                "client_url": None,
            },
            "heartbeat_ms": 5000,
            "away_after_ms": 60_000,
            "url_previews": False,
        }


# --- configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["name", "matrix"])
def test_sign_in_needs_signing_key(way: str) -> None:
    with pytest.raises(ValueError, match=r"needs api\.jwt\.secret"):
        Settings.model_validate({"sign_in": {way: True}, "api": {"jwt": {"jwks_url": "https://auth.example.org/jwks"}}})


@pytest.mark.parametrize("claim", ["name=root", "sub", "iss=city"])
def test_issued_token_has_no_admin_claim(claim: str) -> None:
    api = {"jwt": {"secret": JWT_SECRET, "admin_claim": claim}}
    with pytest.raises(ValueError, match=r"must not be set with this api\.jwt\.admin_claim"):
        Settings.model_validate({"sign_in": BY_NAME, "api": api})
    assert not Settings.model_validate({"api": api}).sign_in.name


def test_room_slug_of_a_page_is_refused() -> None:
    with pytest.raises(ValueError, match="/city/feed is another page of the city"):
        Settings.model_validate({"city": {"rooms": [{"slug": "feed", "name": "Новини"}]}})
