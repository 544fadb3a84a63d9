"""The check of the header ``Host`` on both listeners, against DNS rebinding."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from structlog.testing import capture_logs

from daarion_appservice.http.auth.hosts import Hosts
from tests.parts.city import JWT_SECRET
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST


@pytest.fixture
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(
        sqlite_url,
        api={"public_url": "https://city.example", "allowed_hosts": ["city.lan"], "jwt": {"secret": JWT_SECRET}},
        appservice={"address": "http://service.internal:7025"},
        sign_in={"name": True},
    ) as city:
        yield city


@pytest.mark.parametrize(
    ("method", "path", "listener"),
    [
        ("GET", "/", "api"),
        ("GET", "/city/rooms", "api"),
        ("GET", "/openapi.json", "api"),
        ("GET", "/nowhere", "api"),
        ("POST", "/city/sign-in/name", "api"),
        ("OPTIONS", "/city/rooms", "api"),
        ("GET", "/readyz", "matrix"),
        ("GET", "/internal/matrix/presence/@alice:city.localhost", "matrix"),
        ("PUT", "/_matrix/app/v1/transactions/1", "matrix"),
    ],
)
async def test_unknown_host_gets_421(city: InProcessCity, method: str, path: str, listener: str) -> None:
    answer = await city.call(method, path, headers={"Host": "attacker.example:7001"}, listener=listener)
    assert answer.status == 421
    if listener == "api":
        assert answer.content["code"] == "host_not_allowed"
    else:
        assert answer.content["errcode"] == "M_FORBIDDEN"


@pytest.mark.parametrize("path", ["/ws/city/presence", "/ws/city/rooms/general"])
async def test_websocket_with_unknown_host_gets_421(city: InProcessCity, path: str) -> None:
    host = f"attacker.example:{city.city.settings.api.port}"
    with pytest.raises(aiohttp.WSServerHandshakeError, match="421"), capture_logs() as logs:
        await city.session.ws_connect(
            f"http://{HOST}:{city.city.settings.api.port}{path}", headers={"Host": host, "Origin": f"http://{host}"}
        )
    (warning,) = [each for each in logs if each["event"] == "host_not_allowed"]
    assert warning["host"] == "attacker.example"
    assert "api.public_url" in warning["help"]


@pytest.mark.parametrize("host", ["city.example", "CITY.example:443", "city.lan", "127.0.0.1:1", "[::1]:1", "city"])
async def test_configured_hosts_are_accepted(city: InProcessCity, host: str) -> None:
    assert (await city.call("GET", "/city/rooms", headers={"Host": host})).status == 200


@pytest.mark.parametrize("host", ["service.internal:7025", "appservice:7025", "172.17.0.1", "city.lan"])
async def test_matrix_listener_accepts_its_address(city: InProcessCity, host: str) -> None:
    assert (await city.call("GET", "/healthz", headers={"Host": host}, listener="matrix")).status == 200


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("localhost", True),
        ("city.localhost", True),
        ("localhost.", True),
        ("192.168.1.7", True),
        ("::1", True),
        ("localhost.attacker.example", False),
        ("127.0.0.1.nip.io", False),
        ("127.0.0.1.", True),
        ("1.2.3", False),
        ("notlocalhost.com", False),
    ],
)
def test_local_names_are_accepted(host: str, is_allowed: bool) -> None:
    assert Hosts([], "api.public_url").allows(host) is is_allowed
