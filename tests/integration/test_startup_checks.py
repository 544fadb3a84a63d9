"""The first ping of the homeserver: repeated after a failure inside Synapse, else its refusal ends the start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from daarion_appservice.config.settings import Settings
from daarion_appservice.errors import StartError
from daarion_appservice.matrix.client import startup_checks
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.client.startup_checks import run_startup_checks
from tests.parts.messaging import IDENTITIES
from tests.parts.scripted_homeserver import ScriptedHomeserver, refused

PARTS: Any = SimpleNamespace(
    homeserver=SimpleNamespace(domain="city.localhost"),
    appservice=SimpleNamespace(
        id="daarion", bot="daarion_bot", address="http://here", registration="registration.yaml"
    ),
    matrix=SimpleNamespace(host="127.0.0.1", port=7025),
)
SETTINGS = cast("Settings", PARTS)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup_checks, "_MAX_RETRY_S", 0.01)
    monkeypatch.setattr(startup_checks, "_PING_PAUSE_S", 0.01)


async def _checked_in(homeserver: ScriptedHomeserver) -> HomeserverMonitor:
    client = Homeserver(homeserver.url, "token")
    monitor = HomeserverMonitor(client, "daarion")
    try:
        await run_startup_checks(client, monitor, SETTINGS, IDENTITIES)
    finally:
        await client.close()
    return monitor


async def test_ping_that_fails_within_synapse_is_repeated() -> None:
    homeserver = ScriptedHomeserver()
    reason = refused(502, "M_CONNECTION_FAILED", "AlreadyCalled: Tried to cancel an already-called event.")
    homeserver.next("ping", *[reason] * 7)
    async with homeserver.serving():
        assert (await _checked_in(homeserver)).is_up
    assert len(homeserver.all("ping")) == 8


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (502, "M_CONNECTION_FAILED", "Connection was refused by other side: 111"),
        (504, "M_CONNECTION_TIMEOUT", "Timeout waiting for response from remote server"),
    ],
)
async def test_unreachable_appservice_address_ends_start(status: int, code: str, message: str) -> None:
    homeserver = ScriptedHomeserver()
    homeserver.next("ping", *[refused(status, code, message)] * 7)
    async with homeserver.serving():
        with pytest.raises(StartError, match="cannot reach the service at http://here"):
            await _checked_in(homeserver)
    assert len(homeserver.all("ping")) == 5
