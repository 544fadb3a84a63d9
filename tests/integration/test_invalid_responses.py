"""Any JSON in a homeserver's response raises an error of `errors`, and no other exception."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daarion_appservice.city.types import EventId, MatrixRoomId, UserId
from daarion_appservice.errors import (
    HomeserverError,
    HomeserverRefused,
    HomeserverUnavailable,
    InvalidHomeserverResponse,
)
from daarion_appservice.matrix.client.homeserver import Homeserver
from tests.parts.ports import HOST

ROOM, EVENT, BOT = MatrixRoomId("!r"), EventId("$e"), UserId("@city:city.localhost")
Call = Callable[[Homeserver], Awaitable[Any]]
CALLS: Final[dict[str, Call]] = {
    "versions": lambda it: it.versions(),
    "whoami": lambda it: it.whoami(),
    "register": lambda it: it.register(BOT),
    "devices": lambda it: it.devices(BOT),
    "openid_holder": lambda it: it.openid_holder("token"),
    "profile": lambda it: it.profile(BOT),
    "capabilities": lambda it: it.capabilities(as_user=BOT),
    "upload": lambda it: it.upload(BOT, b"", "image/png"),
    "media_config": lambda it: it.media_config(),
    "presence": lambda it: it.presence(BOT, as_user=BOT),
    "create_room": lambda it: it.create_room({}, as_user=BOT),
    "room_of_alias": lambda it: it.room_of_alias("#a:b"),
    "is_in_directory": lambda it: it.is_in_directory(ROOM),
    "state": lambda it: it.state(ROOM, "m.room.name", as_user=BOT),
    "state_event": lambda it: it.state_event(ROOM, "m.room.name", as_user=BOT),
    "whole_state": lambda it: it.whole_state(ROOM, as_user=BOT),
    "event": lambda it: it.event(ROOM, EVENT, as_user=BOT),
    "joined_members": lambda it: it.joined_members(ROOM, as_user=BOT),
    "joined_rooms": lambda it: it.joined_rooms(as_user=BOT),
    "sync": lambda it: it.sync(since=None, filter_json="{}", timeout_ms=0, as_user=BOT),
    "join": lambda it: it.join(ROOM, as_user=BOT),
    "invitations": lambda it: it.invitations(as_user=BOT),
    "send": lambda it: it.send(ROOM, "m.room.message", "t", {}, as_user=BOT, with_device=False),
    "redact": lambda it: it.redact(ROOM, EVENT, "t", as_user=BOT, with_device=False),
    "edits": lambda it: it.edits(ROOM, EVENT, by=BOT, as_user=BOT),
    "messages_before": lambda it: it.messages_before(ROOM, None, limit=10, as_user=BOT),
}
ODD: Final = (
    *("", "null", "true", "7", '"text"', "[]", "{}", "[null]", "<html></html>", '{"a"', "NaN", "[" * 100_000),
    '{"joined": [], "joined_rooms": {}, "chunk": {}, "devices": {}, "versions": {}, "user_id": 7, "room_id": [], "event_id": {}}',
    '{"joined": {"@a:b": 7}, "joined_rooms": [7, null], "chunk": [7, null], "devices": [7], "rooms": 7, "next_batch": "s"}',
    '{"chunk": [{"sender": "@city:city.localhost"}], "rooms": {"invite": 7}, "next_batch": "s", "end": 7}',
    '{"chunk": [], "rooms": {"invite": {"!r": {"invite_state": {"events": [7]}}}}, "next_batch": 7, "displayname": 7}',
)


@asynccontextmanager
async def answering(status: int, body: bytes, content_type: str = "application/json") -> AsyncIterator[Homeserver]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type=content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host=HOST) as server:
        homeserver = Homeserver(f"http://{HOST}:{server.port}", "as_token")
        try:
            yield homeserver
        finally:
            await homeserver.close()


@pytest.mark.parametrize("status", [200, 403, 429, 502])
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:30] or "empty")
async def test_odd_response_raises_homeserver_errors_only(odd: str, status: int) -> None:
    async with answering(status, odd.encode()) as homeserver:
        for name, call in CALLS.items():
            try:
                await call(homeserver)
            except HomeserverError:
                continue
            except Exception as error:
                raise AssertionError(f"{name} on {odd[:60]!r}") from error


@pytest.mark.parametrize("errcode", ['{"errcode": 7, "error": []}', '{"errcode": null}'])
async def test_errcode_that_is_no_text_is_still_a_refusal(errcode: str) -> None:
    async with answering(403, errcode.encode()) as homeserver:
        with pytest.raises(HomeserverRefused) as raised:
            await homeserver.presence(BOT, as_user=BOT)
    assert raised.value.status == 403
    assert isinstance(raised.value.errcode, str)


@pytest.mark.parametrize(
    "name", ["joined_members", "joined_rooms", "devices", "edits", "messages_before", "whole_state"]
)
async def test_response_without_list_is_no_outage(name: str) -> None:
    async with answering(200, b"{}") as homeserver:
        with pytest.raises(InvalidHomeserverResponse) as raised:
            await CALLS[name](homeserver)
    assert not isinstance(raised.value, HomeserverUnavailable)


async def test_values_beyond_canonical_json_are_read() -> None:
    big = "9" * 5_000
    page = f'{{"chunk": [{{"event_id": "$e", "n": 1{"0" * 400}, "m": {big}, "s": "\\ud800", "d": {"[" * 600}{"]" * 600}}}]}}'
    async with answering(200, page.encode()) as homeserver:
        [event], end = await homeserver.messages_before(ROOM, None, limit=10, as_user=BOT)
    assert (event["event_id"], event["n"], event["m"], event["s"], end) == ("$e", None, None, "?", None)
