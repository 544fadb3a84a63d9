"""The steps of authentication: limit of wrong tokens, principal, count. Tokens and limits are fakes without I/O."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from daarion_appservice.city.types import CitizenId
from daarion_appservice.config import LimitsSettings, Settings
from daarion_appservice.errors import CityError, InvalidInput, TooManyRequests, Unauthenticated, Unavailable
from daarion_appservice.http.auth.authenticator import CityAuthenticator, InternalAuthenticator, is_same_secret
from daarion_appservice.http.auth.principals import Anonymous, Citizen, Principal, ServicePrincipal
from daarion_appservice.http.limits.rates import RateLimiter
from daarion_appservice.http.limits.token_guesses import TokenGuesses

OKSANA = Citizen(CitizenId("u_1"), "Оксана")


class FakeTokens:
    def __init__(self, steps: list[str], error: CityError | None = None) -> None:
        self.steps = steps
        self.error = error

    async def principal(self, token: str) -> Principal:
        self.steps.append(f"look up {token}")
        if self.error is not None:
            raise self.error
        return OKSANA


class FakeLimits:
    def __init__(self, steps: list[str]) -> None:
        self.steps = steps
        self.is_blocked = False

    def check_token_guesses(self, _request: web.Request) -> None:
        self.steps.append("check guesses")
        if self.is_blocked:
            raise TooManyRequests("too many wrong tokens", retry_after_s=1)

    async def count_wrong_token(self, _request: web.Request, token: str, _error: Unauthenticated) -> None:
        self.steps.append(f"count wrong {token}")

    async def count(self, _request: web.Request, principal: Principal) -> None:
        self.steps.append(f"count {type(principal).__name__}")

    async def count_address(self, _request: web.Request) -> None:
        self.steps.append("count address")


def build(error: CityError | None = None) -> tuple[CityAuthenticator, FakeLimits, list[str]]:
    steps: list[str] = []
    limits = FakeLimits(steps)
    return CityAuthenticator(cast("Any", FakeTokens(steps, error)), cast("Any", limits)), limits, steps


def request(authorization: str | None = None, path: str = "/city/rooms") -> web.Request:
    return make_mocked_request("GET", path, headers={"Authorization": authorization} if authorization else {})


async def test_request_with_token_is_looked_up_then_counted() -> None:
    authenticator, _, steps = build()
    assert await authenticator.principal(request("Bearer abc")) == OKSANA
    assert steps == ["check guesses", "look up abc", "count Citizen"]


async def test_request_without_token_is_counted_as_anonymous() -> None:
    authenticator, _, steps = build()
    assert await authenticator.principal(request(path="/city/rooms?token=abc")) == Anonymous()
    assert steps == ["count Anonymous"]


async def test_stream_request_may_have_token_in_query() -> None:
    authenticator, _, steps = build()
    assert await authenticator.stream_principal(request(path="/ws?token=abc")) == OKSANA
    assert await authenticator.stream_principal(request("Bearer header", "/ws?token=query")) == OKSANA
    assert [each for each in steps if each.startswith("look up")] == ["look up abc", "look up header"]


async def test_blocked_address_is_refused_before_lookup() -> None:
    authenticator, limits, steps = build()
    limits.is_blocked = True
    with pytest.raises(TooManyRequests):
        await authenticator.principal(request("Bearer abc"))
    assert steps == ["check guesses"]


async def test_wrong_token_is_counted_as_guess_and_read() -> None:
    authenticator, _, steps = build(Unauthenticated("token_invalid", "unknown"))
    with pytest.raises(Unauthenticated):
        await authenticator.principal(request("Bearer abc"))
    assert steps == ["check guesses", "look up abc", "count wrong abc", "count address"]


async def test_unusable_citizen_is_counted_as_read() -> None:
    authenticator, _, steps = build(InvalidInput("citizen_id_too_long", "too long", status=422))
    with pytest.raises(InvalidInput):
        await authenticator.principal(request("Bearer abc"))
    assert steps == ["check guesses", "look up abc", "count address"]


async def test_unavailable_lookup_is_not_counted() -> None:
    authenticator, _, steps = build(Unavailable("jwks_unavailable", "down"))
    with pytest.raises(Unavailable):
        await authenticator.principal(request("Bearer abc"))
    assert steps == ["check guesses", "look up abc"]


@pytest.mark.parametrize("authorization", ["Basic abc", "Bearer", "Bearer  ", "abc"])
async def test_malformed_header_is_invalid_and_counted(authorization: str) -> None:
    authenticator, _, steps = build()
    with pytest.raises(Unauthenticated):
        await authenticator.principal(request(authorization))
    assert steps == ["count address"]


def guesses(limit: str) -> TokenGuesses:
    return TokenGuesses(RateLimiter(LimitsSettings(wrong_tokens=limit), None))


async def test_different_wrong_tokens_block_the_key() -> None:
    limit, wrong = guesses("2/hour"), Unauthenticated("token_invalid", "unknown")
    for token in ("a", "a", "b"):
        limit.check("address:x")
        await limit.count("address:x", token, wrong)
    with pytest.raises(TooManyRequests):
        limit.check("address:x")
    limit.check("address:y")


async def test_other_errors_are_no_guesses() -> None:
    limit = guesses("1/hour")
    for number in range(5):
        await limit.count("address:x", f"token {number}", Unauthenticated("sign_in", "no token"))
    limit.check("address:x")


@pytest.mark.parametrize(
    ("given", "expected", "is_same"),
    [("secret", "secret", True), ("secre", "secret", False), ("", "", False), ("x", "", False), ("\udcff", "s", False)],
)
def test_is_same_secret_empty_equals_nothing(given: str, expected: str, is_same: bool) -> None:
    assert is_same_secret(given, expected) is is_same


@pytest.mark.parametrize(
    ("token", "authorization", "expected"),
    [
        ("internal", "Bearer internal", ServicePrincipal()),
        ("internal", None, Anonymous()),
        ("", None, ServicePrincipal()),
    ],
)
async def test_internal_principal(token: str, authorization: str | None, expected: Principal) -> None:
    settings = Settings.model_validate({"matrix": {"internal_token": token, "host": "127.0.0.1"}})
    headers = {"Host": "localhost:7025"} | ({"Authorization": authorization} if authorization else {})
    assert await InternalAuthenticator(settings).principal(make_mocked_request("GET", "/", headers=headers)) == expected


async def test_internal_wrong_token_is_invalid() -> None:
    settings = Settings.model_validate({"matrix": {"internal_token": "internal"}})
    with pytest.raises(Unauthenticated):
        await InternalAuthenticator(settings).principal(request("Bearer other"))
