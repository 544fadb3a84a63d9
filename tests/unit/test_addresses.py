"""The address that a request counts for, behind trusted proxies and without them."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from structlog.testing import capture_logs

from daarion_appservice.config import Settings
from daarion_appservice.http.limits.addresses import Addresses

PROXY, CLIENT = "10.0.0.1", "203.0.113.7"


def counted(peer: str, *forwarded: str, trusted: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8")) -> str | None:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in forwarded])
    return Addresses(trusted).of(make_mocked_request("GET", "/", headers=headers).clone(remote=peer))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        pytest.param(CLIENT, [], CLIENT, id="no proxy"),
        pytest.param(PROXY, [], PROXY, id="the proxy itself"),
        pytest.param(PROXY, [CLIENT], CLIENT, id="trusted proxy"),
        pytest.param(CLIENT, ["198.51.100.1"], CLIENT, id="forged by a client"),
        pytest.param(PROXY, [f"198.51.100.1, {CLIENT}"], CLIENT, id="forged left entry"),
        pytest.param(PROXY, [f"127.0.0.1, {CLIENT}"], CLIENT, id="forged loopback"),
        pytest.param(PROXY, [f"10.0.0.9, {CLIENT}"], CLIENT, id="forged proxy"),
        pytest.param(PROXY, ["198.51.100.1", CLIENT], CLIENT, id="forged in another header line"),
        pytest.param(PROXY, [f"{CLIENT}, 10.0.0.2"], CLIENT, id="two proxies"),
        pytest.param(PROXY, ["10.0.0.3, 10.0.0.2"], "10.0.0.3", id="only proxies"),
        pytest.param(PROXY, [f"{CLIENT}, unknown"], PROXY, id="proxy without address"),
        pytest.param(PROXY, ["<script>, , 10.0.0.2"], "10.0.0.2", id="invalid text"),
        pytest.param(PROXY, [""], PROXY, id="empty"),
        pytest.param(PROXY, [" " * 5000 + CLIENT], PROXY, id="too long"),
        pytest.param(PROXY, [f"{CLIENT}:51234"], CLIENT, id="with a port"),
        pytest.param(PROXY, ["[2001:db8:1:2::9]:443"], "2001:db8:1:2::/64", id="IPv6 with a port"),
        pytest.param("2001:db8:1:2:ffff::1", [], "2001:db8:1:2::/64", id="IPv6"),
        pytest.param("2001:db8:1:2::1", [], "2001:db8:1:2::/64", id="IPv6 of the same /64"),
        pytest.param("2001:db8:1:3::1", [], "2001:db8:1:3::/64", id="IPv6 of another /64"),
        pytest.param("fe80::1%eth0", [], "fe80::/64", id="with a zone"),
        pytest.param(f"::ffff:{CLIENT}", [], CLIENT, id="IPv4-mapped"),
        pytest.param(f"::ffff:{PROXY}", [CLIENT], CLIENT, id="IPv4-mapped proxy"),
        pytest.param("fd00::1", [CLIENT], CLIENT, id="IPv6 proxy"),
        pytest.param("127.0.0.1", [], None, id="loopback"),
        pytest.param("::1", [], None, id="IPv6 loopback"),
        pytest.param("127.0.0.1", [CLIENT], None, id="loopback not trusted"),
    ],
)
def test_address_is_the_nearest_untrusted_one(peer: str, forwarded: list[str], expected: str | None) -> None:
    assert counted(peer, *forwarded) == expected


def test_loopback_proxy_is_trusted_by_default() -> None:
    assert counted("127.0.0.1", CLIENT, trusted=tuple(Settings().api.trusted_proxies)) == CLIENT
    assert counted("::1", CLIENT, trusted=tuple(Settings().api.trusted_proxies)) == CLIENT


def test_untrusted_proxy_is_logged_once() -> None:
    addresses = Addresses([])
    with capture_logs() as logs:
        for _ in range(3):
            request = make_mocked_request("GET", "/", headers=CIMultiDict({"X-Forwarded-For": CLIENT}))
            addresses.of(request.clone(remote="172.17.0.1"))
    assert [(each["event"], each["address"]) for each in logs] == [("proxy_not_trusted", "172.17.0.1")]
