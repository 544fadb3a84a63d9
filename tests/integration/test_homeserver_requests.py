"""Requests to the homeserver: those that it would not answer are not sent, and all are logged at debug."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from daarion_appservice.city.types import EventId, MatrixRoomId, UserId
from daarion_appservice.errors import HomeserverRefused
from daarion_appservice.matrix.client.homeserver import Homeserver
from tests.parts.ports import HOST, free_port
from tests.parts.scripted_homeserver import ScriptedHomeserver

ROOM, BOT, LONG = MatrixRoomId("!r"), UserId("@city:city.localhost"), "я" * 10_000


@pytest.fixture
async def homeserver() -> AsyncIterator[Homeserver]:
    """At a closed port: each sent request raises HomeserverUnavailable."""
    homeserver = Homeserver(f"http://{HOST}:{free_port()}", "as_token")
    yield homeserver
    await homeserver.close()


async def test_overlong_path_counts_as_absent(homeserver: Homeserver) -> None:
    assert await homeserver.state_event(ROOM, "m.room.name", LONG, as_user=BOT) is None
    assert await homeserver.event(ROOM, EventId(LONG), as_user=BOT) is None


async def test_request_with_too_long_target_is_refused(homeserver: Homeserver) -> None:
    with pytest.raises(HomeserverRefused, match="414 M_TOO_LARGE"):
        await homeserver.presence(UserId(LONG), as_user=BOT)
    with pytest.raises(HomeserverRefused, match="414 M_TOO_LARGE"):
        await homeserver.openid_holder(LONG)


async def test_requests_are_logged_at_debug_without_query(caplog: pytest.LogCaptureFixture) -> None:
    homeserver = ScriptedHomeserver()
    async with homeserver.serving():
        client = Homeserver(homeserver.url, "secret-token")
        with caplog.at_level("DEBUG", "daarion_appservice.homeserver_requests"):
            await client.joined_rooms(as_user=UserId("@agent_scribe:city.localhost"))
        await client.close()
    (line,) = caplog.messages
    assert line.startswith("GET _matrix/client/v3/joined_rooms as @agent_scribe:city.localhost: ")
    assert "secret-token" not in line
