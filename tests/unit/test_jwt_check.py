"""Verification of citizens' JWTs: valid, invalid and forged tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from daarion_appservice.city.types import CitizenId
from daarion_appservice.config.settings import JwtSettings
from daarion_appservice.errors import Unauthenticated, Unavailable
from daarion_appservice.http.auth.jwt_check import JwtCheck
from daarion_appservice.http.auth.principals import Citizen

SECRET = "a secret of sixty-four characters, long enough for any hash that a forger tries"

PRIVATE: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
PEM = {
    name: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for name, key in PRIVATE.items()
}
BY_SECRET = JwtSettings(secret=SecretStr(SECRET))


LEEWAY_S = 60
"""The default of ``api.jwt.leeway_s``."""


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "u_123", "exp": int(time.time()) + 60} | more


def signed(key: Any = SECRET, algorithm: str = "HS256", **more: Any) -> str:
    content = {name: value for name, value in claims(**more).items() if value is not ...}
    return jwt.encode(content, key, algorithm)


def by_hand(header: dict[str, Any], content: dict[str, Any], key: str | None) -> str:
    """A token as a forger makes it, whom no library stops."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, content)]
    signature = b"" if key is None else hmac.digest(key.encode(), b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def refusal(settings: JwtSettings, token: str) -> str:
    with pytest.raises(Unauthenticated) as raised:
        await JwtCheck(settings).citizen(token)
    assert raised.value.code == "token_invalid"
    return raised.value.detail


# --- a shared secret ----------------------------------------------------------------------------------


async def test_token_signed_with_secret_identifies_citizen() -> None:
    end = int(time.time()) + 60
    citizen = await JwtCheck(BY_SECRET).citizen(signed(exp=end))
    assert citizen == Citizen(CitizenId("u_123"), "u_123", is_admin=False, expires_at=end + LEEWAY_S)


@pytest.mark.parametrize(
    "exp", ["9999999999", "9_999_999_999", 10**400, 1.7e308], ids=["digits", "underscores", "long", "float"]
)
async def test_exp_string_or_beyond_float_is_accepted(exp: object) -> None:
    token = by_hand({"alg": "HS256", "typ": "JWT"}, {"sub": "u_123", "exp": exp}, SECRET)
    citizen = await JwtCheck(BY_SECRET).citizen(token)
    assert citizen.expires_at == int(exp) + LEEWAY_S  # type: ignore[call-overload]


def signed_with(more: dict[str, Any]) -> str:
    return signed(**more)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_clock_ahead_within_leeway_accepted(claim: str) -> None:
    citizen = await JwtCheck(BY_SECRET).citizen(signed_with({claim: time.time() + LEEWAY_S - 10}))
    assert citizen.id == "u_123"


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_clock_ahead_beyond_leeway_refused(claim: str) -> None:
    await refusal(BY_SECRET, signed_with({claim: int(time.time()) + LEEWAY_S + 60}))
    await refusal(BY_SECRET.model_copy(update={"leeway_s": 0.0}), signed_with({claim: int(time.time()) + 5}))


async def test_token_expired_within_leeway_accepted() -> None:
    end = int(time.time()) - LEEWAY_S + 10
    assert (await JwtCheck(BY_SECRET).citizen(signed(exp=end))).expires_at == end + LEEWAY_S


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(signed(SECRET[::-1]), id="another secret"),
        pytest.param(signed(exp=int(time.time()) - LEEWAY_S - 1), id="expired"),
        pytest.param(signed(exp=...), id="without an end"),
        pytest.param(signed(exp="tomorrow"), id="an end that is not a time"),
        pytest.param(signed(nbf=int(time.time()) + 600), id="not valid yet"),
        pytest.param(signed(sub=...), id="nobody's"),
        pytest.param(signed(algorithm="HS512"), id="a stronger hash than agreed"),
        pytest.param(by_hand({"alg": "none"}, claims(), None), id="alg none"),
        pytest.param(by_hand({"alg": "None", "typ": "JWT"}, claims(), None), id="alg None"),
        pytest.param(by_hand({}, claims(), SECRET), id="no alg"),
        pytest.param(by_hand({"alg": ["HS256"]}, claims(), SECRET), id="a list of algs"),
        pytest.param(by_hand({"alg": "HS256"}, claims(sub=123), SECRET), id="a number as sub"),
        pytest.param(by_hand({"alg": "HS256"}, claims(exp=1e400), SECRET), id="an infinite life"),
        pytest.param(signed()[:-4], id="cut off"),
        pytest.param(signed() + "AAAA", id="prolonged"),
        pytest.param(signed(PRIVATE["RS256"], "RS256"), id="a key that we do not know"),
        *("", ".", "..", "a.b.c", "e30.e30.", "\udcff.\udcff.\udcff", "ю.ю.ю", "x" * 10_000),
    ],
)
async def test_invalid_token_is_refused(token: str) -> None:
    await refusal(BY_SECRET, token)


@pytest.mark.parametrize(
    "sub",
    [
        "",
        " ",
        "   ",
        " u_1",
        "u_1 ",
        "agent:daarwizz",
        "@alice:daarion.space",
        "u_\0",
        "u_\n",
        "\ud800",
        "\u2800",
        "u_\u3164",
        "\ufe0f",
        "x" * 201,
    ],
)
async def test_token_with_reserved_id_is_refused(sub: str) -> None:
    assert "sub" in await refusal(BY_SECRET, by_hand({"alg": "HS256"}, claims(sub=sub), SECRET))


async def test_token_without_configured_key_is_refused() -> None:
    for token in (signed(), by_hand({"alg": "HS256"}, claims(), ""), by_hand({"alg": "none"}, claims(), None)):
        assert "not accepted" in await refusal(JwtSettings(), token)


# --- a public key -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_token_signed_with_public_key_is_accepted(algorithm: str) -> None:
    check = JwtCheck(JwtSettings(public_key=PEM[algorithm]))
    assert (await check.citizen(signed(PRIVATE[algorithm], algorithm))).id == "u_123"


@pytest.mark.parametrize("configured", PRIVATE)
@pytest.mark.parametrize("used", PRIVATE)
async def test_token_signed_with_other_key_is_refused(configured: str, used: str) -> None:
    key = PRIVATE[used]
    if used == configured:
        key = {
            "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }[used]()
    await refusal(JwtSettings(public_key=PEM[configured]), signed(key, used))


@pytest.mark.parametrize("algorithm", PRIVATE)
@pytest.mark.parametrize("secret", ["", SECRET])
async def test_public_key_as_secret_is_refused(algorithm: str, secret: str) -> None:
    settings = JwtSettings(public_key=PEM[algorithm], secret=SecretStr(secret))
    await refusal(settings, by_hand({"alg": "HS256", "typ": "JWT"}, claims(), PEM[algorithm]))


async def test_secret_and_public_key_are_both_accepted() -> None:
    check = JwtCheck(JwtSettings(public_key=PEM["ES256"], secret=SecretStr(SECRET)))
    assert (await check.citizen(signed())).id == "u_123"
    assert (await check.citizen(signed(PRIVATE["ES256"], "ES256"))).id == "u_123"


# --- keys by address ----------------------------------------------------------------------------------


class KeyServer:
    """A sign-in service that publishes its keys."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.raw: str | None = None
        self.requests = 0

    async def serve(self, _request: web.Request) -> web.Response:
        self.requests += 1
        if self.raw is not None:
            return web.Response(text=self.raw, content_type="application/json")
        return web.json_response({"keys": self.keys})

    def publish(self, algorithm: str, kid: str) -> None:
        kind = jwt.get_algorithm_by_name(algorithm)
        public = kind.to_jwk(PRIVATE[algorithm].public_key(), as_dict=True)
        self.keys.append(public | {"kid": kid, "use": "sig", "alg": algorithm})


@pytest.fixture
def keys() -> KeyServer:
    return KeyServer()


@pytest.fixture
async def jwks_url(keys: KeyServer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/jwks", keys.serve)
    async with TestServer(app) as server:
        yield str(server.make_url("/jwks"))


@pytest.mark.parametrize("algorithm", PRIVATE)
async def test_jwks_is_fetched_once(keys: KeyServer, jwks_url: str, algorithm: str) -> None:
    keys.publish(algorithm, "today")
    check = JwtCheck(JwtSettings(jwks_url=jwks_url))
    token = jwt.encode(claims(), PRIVATE[algorithm], algorithm, headers={"kid": "today"})
    for _ in range(3):
        assert (await check.citizen(token)).id == "u_123"
    assert keys.requests == 1


async def test_key_outside_jwks_is_refused(keys: KeyServer, jwks_url: str) -> None:
    keys.publish("ES256", "today")
    settings = JwtSettings(jwks_url=jwks_url)
    forged = ec.generate_private_key(ec.SECP256R1())
    for headers in ({"kid": "today"}, {"kid": "tomorrow"}, {}):
        await refusal(settings, jwt.encode(claims(), forged, "ES256", headers=headers))
    await refusal(settings, by_hand({"alg": "HS256", "kid": "today"}, claims(), PEM["ES256"]))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("published", [*PRIVATE, "oct"])
async def test_published_key_of_another_type_is_refused(
    keys: KeyServer, jwks_url: str, algorithm: str, published: str
) -> None:
    if published == "oct":
        keys.raw = '{"keys": [{"kty": "oct", "kid": "today", "k": "AA"}]}'
    else:
        keys.publish(published, "today")
    header = {"alg": algorithm, "kid": "today"}
    await refusal(JwtSettings(jwks_url=jwks_url), by_hand(header, claims(), "another key"))


ODD_KEY_SETS = ["", "not json", "[]", '{"keys": []}', '{"keys": 1}', '{"keys": [{"kty": "odd"}]}']


@pytest.mark.parametrize("raw", [*ODD_KEY_SETS, pytest.param("[" * 100_000, id="nested too deep")])
async def test_jwks_invalid_raises_unavailable(keys: KeyServer, jwks_url: str, raw: str) -> None:
    keys.raw = raw
    token = jwt.encode(claims(), PRIVATE["ES256"], "ES256", headers={"kid": "today"})
    with pytest.raises(Unavailable) as raised:
        await JwtCheck(JwtSettings(jwks_url=jwks_url)).citizen(token)
    assert (raised.value.status, raised.value.code) == (503, "jwks_unavailable")


async def test_jwks_server_down_raises_unavailable(unused_tcp_port: int) -> None:
    token = jwt.encode(claims(), PRIVATE["ES256"], "ES256", headers={"kid": "today"})
    with pytest.raises(Unavailable) as raised:
        await JwtCheck(JwtSettings(jwks_url=f"http://127.0.0.1:{unused_tcp_port}/jwks")).citizen(token)
    assert raised.value.code == "jwks_unavailable"


# --- claims -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "more", "fits"),
    [
        ({"issuer": "city"}, {"iss": "city"}, True),
        ({"issuer": "city"}, {"iss": "other"}, False),
        ({"issuer": "city"}, {}, False),
        ({"audience": "rooms"}, {"aud": "rooms"}, True),
        ({"audience": "rooms"}, {"aud": ["shop", "rooms"]}, True),
        ({"audience": "rooms"}, {"aud": "shop"}, False),
        ({"audience": "rooms"}, {}, False),
        ({}, {"iss": "anybody", "aud": "anything"}, True),
    ],
)
async def test_issuer_and_audience_are_checked_if_configured(
    wanted: dict[str, str], more: dict[str, Any], *, fits: bool
) -> None:
    settings = JwtSettings.model_validate({"secret": SECRET} | wanted)
    if fits:
        assert (await JwtCheck(settings).citizen(signed(**more))).id == "u_123"
    else:
        await refusal(settings, signed(**more))


@pytest.mark.parametrize(
    ("admin_claim", "more", "is_admin"),
    [
        ("role=admin", {"role": "admin"}, True),
        ("role=admin", {"role": ["citizen", "admin"]}, True),
        ("role=admin", {"role": "administrator"}, False),
        ("role=admin", {"role": ["citizen"]}, False),
        ("role=admin", {"role": {"admin": True}}, False),
        ("role=admin", {"role": None}, False),
        ("role=admin", {}, False),
        ("is_admin", {"is_admin": True}, True),
        ("is_admin", {"is_admin": "false"}, False),
        ("is_admin", {"is_admin": 1}, False),
        ("is_admin", {}, False),
        ("", {"": True}, False),
        ("=", {"": ""}, False),
    ],
)
async def test_admin_claim_makes_admin(admin_claim: str, more: dict[str, Any], *, is_admin: bool) -> None:
    settings = JwtSettings(secret=SecretStr(SECRET), admin_claim=admin_claim)
    assert (await JwtCheck(settings).citizen(signed(**more))).is_admin is is_admin


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"name": " Оксана "}, "Оксана"),
        ({"name": "", "preferred_username": "oksana"}, "oksana"),
        ({"name": ["Оксана"], "preferred_username": 5}, "u_123"),
        ({"name": "a\0b"}, "ab"),
        ({"name": "\0"}, "u_123"),
        ({"name": "a\ud800b"}, "a?b"),
        ({"name": "x" * 300}, "x" * 255),
        ({"name": "N\u202egpj \u2066x\u2069\u200f"}, "Ngpj x"),
        ({"name": "\u202e", "preferred_username": "oksana"}, "oksana"),
    ],
)
async def test_display_name_comes_from_the_claims(more: dict[str, Any], name: str) -> None:
    citizen = await JwtCheck(BY_SECRET).citizen(by_hand({"alg": "HS256"}, claims(**more), SECRET))
    assert citizen.display_name == name
