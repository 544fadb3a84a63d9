"""The own profile of a citizen, `PATCH /city/me`: what is accepted, and where the others see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from daarion_appservice.city.linked_accounts import LinkedAccount
from daarion_appservice.city.types import CitizenId, UserId
from tests.parts.city import citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import HttpResponse, InProcessCity, in_process_city
from tests.parts.media_harness import OKSANA, TARAS, MediaHarness, media_harness
from tests.parts.ports import HOST


@pytest.fixture
async def media(database_url: str) -> AsyncIterator[MediaHarness]:
    async with media_harness(database_url) as harness:
        yield harness


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


async def change(city: InProcessCity, token: str = OKSANA, **fields: Any) -> HttpResponse:
    return await city.call("PATCH", "/city/me", fields, token=token)


async def changed(city: InProcessCity, token: str = OKSANA, **fields: Any) -> dict[str, Any]:
    answer = await change(city, token, **fields)
    assert answer.status == 200, answer
    content: dict[str, Any] = answer.content
    return content


@asynccontextmanager
async def connected(city: InProcessCity, path: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"http://{HOST}:{city.city.settings.api.port}{path}"
    async with city.session.ws_connect(url, params={"token": OKSANA}) as socket:
        yield socket


async def until(socket: aiohttp.ClientWebSocketResponse, event: str) -> dict[str, Any]:
    """Return the next frame of an event."""
    while True:
        frame: dict[str, Any] = await next_frame(socket)
        if frame["event"] == event:
            return frame


async def test_name_is_shown_with_earlier_messages(city: InProcessCity) -> None:
    assert (await city.call("POST", "/city/rooms/general/messages", {"body": "раніше"}, token=OKSANA)).status == 201
    assert (await city.get("/city/rooms/general"))["messages"][0]["author"]["display_name"] == "Оксана"
    me = await changed(city, display_name="  Оксана   Київська ")
    assert (me["display_name"], me["status_text"], me["avatar_url"]) == ("Оксана Київська", None, None)
    await city.call("POST", "/city/rooms/general/messages", {"body": "потім"}, token=OKSANA)
    room = await city.get("/city/rooms/general")
    assert {each["author"]["display_name"] for each in room["messages"]} == {"Оксана Київська"}
    assert (await city.get("/city/people/u_1"))["display_name"] == "Оксана Київська"
    assert (await city.get("/city/citizens?ids=u_1"))["citizens"][0]["display_name"] == "Оксана Київська"
    # Without an own name, the name of the token counts again.
    assert (await changed(city, display_name=None))["display_name"] == "Оксана"
    assert (await city.get("/city/rooms/general"))["messages"][0]["author"]["display_name"] == "Оксана"


async def test_open_room_gets_new_name(city: InProcessCity) -> None:
    await city.call("POST", "/city/rooms/general/join", token=OKSANA)
    async with connected(city, "/ws/city/rooms/general") as socket:
        await changed(city, display_name="Оксана Київська")
        frame = await until(socket, "city.room.member")
        assert (frame["member"]["id"], frame["member"]["display_name"]) == ("u_1", "Оксана Київська")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"display_name": " "}, "name_required"),
        ({"display_name": "Окса\u202eна"}, "name_invalid"),
        ({"display_name": "x" * 61}, "name_invalid"),
        ({"status_text": "x" * 256}, "invalid"),
        ({"avatar": "mxc://city.localhost/of-nobody"}, "avatar_unknown"),
        ({"avatar": "https://example.org/face.png"}, "avatar_unknown"),
    ],
)
async def test_invalid_profile_is_refused(city: InProcessCity, fields: dict[str, Any], code: str) -> None:
    answer = await change(city, **fields)
    assert (answer.status, answer.content["code"]) == (422, code)
    assert (await city.get("/city/me", token=OKSANA))["display_name"] == "Оксана"


async def test_profile_needs_citizen(city: InProcessCity) -> None:
    agent = await city.agent_token("scribe")
    assert (await city.call("PATCH", "/city/me", {"display_name": "Хтось"})).status == 401
    assert (await change(city, agent, display_name="Хтось")).status == 403


async def test_picture_must_be_own_upload(media: MediaHarness) -> None:
    mxc = (await media.upload(token=TARAS)).content["mxc"]
    assert (await change(media.city, avatar=mxc)).content["code"] == "avatar_unknown"
    document = (await media.upload(b"%PDF-1.7 a file", "application/pdf", query="?filename=a.pdf")).content["mxc"]
    assert (await change(media.city, avatar=document)).content["code"] == "avatar_invalid"


async def test_picture_is_public_and_can_be_removed(media: MediaHarness) -> None:
    city = media.city
    mxc = (await media.upload()).content["mxc"]
    await city.call("POST", "/city/rooms/general/messages", {"body": "привіт"}, token=OKSANA)
    url = (await changed(city, avatar=mxc))["avatar_url"]
    assert url == f"/city/media/{mxc.removeprefix('mxc://')}"
    async with city.session.get(f"http://{HOST}:{city.city.settings.api.port}{url}") as picture:
        assert (picture.status, picture.content_type) == (200, "image/png")
    assert (await city.get("/city/rooms/general"))["messages"][0]["author"]["avatar_url"] == url
    assert (await city.get("/city/people/u_1", token=OKSANA))["avatar_url"] == url
    await changed(city, avatar=None)
    assert (await city.get("/city/rooms/general"))["messages"][0]["author"]["avatar_url"] is None


async def test_linked_citizen_changes_status_text_only(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await tx.accounts.link(LinkedAccount(CitizenId("u_1"), UserId("@alice:hs"), "Alice"), now_ms=1)
    await city.city.account_cache.load()
    answer = await change(city, display_name="Оксана Київська")
    assert (answer.status, answer.content["code"]) == (409, "linked_profile")
    me = await changed(city, status_text="пишу літопис")
    assert (me["display_name"], me["status_text"], me["subject"]) == ("Alice", "пишу літопис", "@alice:hs")


async def test_status_text_lasts_longer_than_session(city: InProcessCity) -> None:
    async with connected(city, "/ws/city/presence") as socket:
        await socket.send_json({"event": "presence.heartbeat"})
        await until(socket, "presence.update")
        await changed(city, status_text="пишу літопис")
        assert (await until(socket, "presence.update"))["status_msg"] == "пишу літопис"
        await socket.send_json({"event": "presence.offline"})
        assert (await until(socket, "presence.update"))["status"] == "offline"
        await socket.send_json({"event": "presence.heartbeat"})
        assert (await until(socket, "presence.update"))["status_msg"] == "пишу літопис"
        await changed(city, status_text=None)
        assert (await until(socket, "presence.update"))["status_msg"] is None


async def test_status_text_brings_nobody_online(city: InProcessCity) -> None:
    await changed(city, status_text="пишу літопис")
    assert (await city.get("/city/people/u_1", token=OKSANA))["presence"] == "offline"


async def test_erased_citizen_who_comes_back_has_no_profile(city: InProcessCity) -> None:
    await changed(city, display_name="Оксана Київська")
    accounts = city.city.identities.accounts
    assert accounts.own_profile(CitizenId("u_1")).display_name == "Оксана Київська"
    async with city.city.database.transaction() as tx:
        await tx.connection.exec_driver_sql("DELETE FROM citizens")
        await tx.connection.exec_driver_sql(
            "INSERT INTO erased_ids (digest, erasure_id, generation) VALUES ('00', 'E1', 1)"
        )
        await tx.accounts.link(LinkedAccount(CitizenId("u_9"), UserId("@alice:hs")), now_ms=1)
    await city.city.account_cache.load()
    assert accounts.own_profile(CitizenId("u_1")).display_name is None


async def test_open_room_gets_name_of_new_token(city: InProcessCity) -> None:
    await city.call("POST", "/city/rooms/general/join", token=OKSANA)
    async with connected(city, "/ws/city/rooms/general") as socket:
        await city.call("POST", "/api/v1/presence/heartbeat", {}, token=citizen_token("u_1", "Оксана Київська"))
        frame = await until(socket, "city.room.member")
        assert (frame["member"]["id"], frame["member"]["display_name"]) == ("u_1", "Оксана Київська")
