"""The homeserver monitor: refused tokens, failed pings, and rate limits."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from daarion_appservice.errors import HomeserverRateLimited
from daarion_appservice.matrix.client import monitor as monitor_module
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from tests.parts.scripted_homeserver import HANG, ScriptedHomeserver, refused
from tests.parts.waiting import WAIT_S


@pytest.fixture
async def homeserver() -> AsyncIterator[ScriptedHomeserver]:
    server = ScriptedHomeserver()
    async with server.serving():
        yield server


@pytest.mark.parametrize(
    ("retry_after_ms_value", "expected_ms"), [(120, 120), (10**12, 300_000), (-5, 0), (True, 1_000), ("soon", 1_000)]
)
async def test_retry_delay_of_429_is_bounded(
    homeserver: ScriptedHomeserver, retry_after_ms_value: object, expected_ms: int
) -> None:
    homeserver.next("versions", refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=retry_after_ms_value))
    client = Homeserver(homeserver.url, "as_token")
    with capture_logs() as logs, pytest.raises(HomeserverRateLimited) as limited:
        await client.versions()
    assert limited.value.retry_after_ms == expected_ms
    assert [line["event"] for line in logs] == ["rate_limited"]
    assert "rate_limited: false" in logs[0]["help"]
    await client.close()


async def test_refused_token_is_reported_until_accepted(homeserver: ScriptedHomeserver) -> None:
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.mark_up()
    returns: list[None] = []
    monitor.on_return(lambda: returns.append(None))
    homeserver.next("versions", *[refused(401, "M_UNKNOWN_TOKEN")] * 3)
    with capture_logs() as logs:
        for _ in range(3):
            await monitor._probe()
        assert monitor.refusal == "does not accept the as_token (M_UNKNOWN_TOKEN)"
        await monitor._probe()
    assert monitor.refusal is None
    assert [line["event"] for line in logs] == ["token_refused", "token_accepted"]
    assert len(returns) == 1, "waiting requests are repeated at once"
    await client.close()


async def test_ping_with_refused_token_reports_token(homeserver: ScriptedHomeserver) -> None:
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.mark_up()
    homeserver.next("ping", *[refused(401, "M_UNKNOWN_TOKEN")] * 2)
    with capture_logs() as logs:
        for _ in range(2):
            assert not await monitor.request_delivery()
    assert [line["event"] for line in logs] == ["token_refused"]
    assert monitor.refusal == "does not accept the as_token (M_UNKNOWN_TOKEN)"
    assert monitor.unreached is None
    await client.close()


@pytest.mark.parametrize(
    ("code", "message", "unreached", "help_"),
    [
        ("M_BAD_STATUS", "HTTP 403 Forbidden", "has another hs_token", "another hs_token"),
        (
            "M_CONNECTION_FAILED",
            "refused: 111",
            "cannot reach the service: 502 M_CONNECTION_FAILED: refused: 111",
            "address",
        ),
        (
            "M_CONNECTION_FAILED",
            "OpenSSL.SSL.Error",
            "cannot reach the service: 502 M_CONNECTION_FAILED: OpenSSL.SSL.Error",
            "TLS",
        ),
        ("M_URL_NOT_SET", "no URL set", "has a registration of this service without url", "no url"),
        ("M_FORBIDDEN", "Mismatching ID", "has a registration of this service with another id", "another id"),
    ],
)
async def test_failed_pings_are_reported_until_one_succeeds(
    homeserver: ScriptedHomeserver, code: str, message: str, unreached: str, help_: str
) -> None:
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.mark_up()
    homeserver.next("ping", *[refused(502, code, message)] * 3)
    with capture_logs() as logs:
        assert not await monitor.request_delivery()
        assert monitor.unreached is None, "one ping may fail while Synapse starts"
        assert not await monitor.request_delivery()
        assert monitor.unreached == unreached
        assert not await monitor.request_delivery()
        assert await monitor.request_delivery()
        assert monitor.unreached is None
    assert [line["event"] for line in logs] == ["homeserver_cannot_reach_service", "homeserver_reaches_service"]
    assert help_ in logs[0]["help"]
    await client.close()


async def test_regular_ping_finds_unreachable_service(
    homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    silences: list[None] = []
    monitor.on_silence(lambda: silences.append(None))
    monitor.mark_up()
    monitor.record_ping()
    await monitor._ping_if_overdue()
    assert homeserver.all("ping") == [], "a ping has just arrived"
    monkeypatch.setattr(monitor_module, "_PING_INTERVAL_S", 0.0)
    await monitor._ping_if_overdue()
    assert len(homeserver.all("ping")) == 1
    homeserver.next("ping", *[refused(502, "M_CONNECTION_FAILED", "refused: 111")] * 2)
    monkeypatch.setattr(monitor_module, "_ECHO_TIMEOUT_S", 0.0)
    for _ in range(2):
        await monitor._ping_if_overdue()
    assert monitor.unreached is not None
    assert silences == [None], "only the repeated ping is one that an event waits for"
    await client.close()


async def test_unanswered_pings_make_service_unreached(
    homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "_PING_TIMEOUT_S", 0.05)
    client = Homeserver(homeserver.url, "as_token")
    monitor = HomeserverMonitor(client, "city")
    monitor.mark_up()
    homeserver.next("ping", *[HANG] * 4)
    with capture_logs() as logs:
        for _ in range(4):
            assert monitor.unreached is None
            assert not await monitor.request_delivery()
    assert [line["event"] for line in logs] == ["homeserver_cannot_reach_service"]
    assert monitor.unreached == "cannot reach the service: no answer to a ping within 0.05 s"
    monkeypatch.setattr(monitor_module, "_PING_TIMEOUT_S", WAIT_S)
    assert await monitor.request_delivery()
    assert monitor.unreached is None
    await client.close()
