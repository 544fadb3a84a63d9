"""Tests of the routes ``/city/rooms/{room_id}/messages``: edits, deletions and reactions, and their WebSocket events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from daarion_appservice.city.rooms import RoomUpdate
from daarion_appservice.http.message_pages import MAX_PAGE_BYTES
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import SERVICE_TOKEN, HttpResponse, InProcessCity, in_process_city
from tests.parts.ports import HOST

MESSAGES = "/city/rooms/general/messages"
OKSANA = citizen_token("u_1", "Оксана")
TARAS = citizen_token("u_2", "Тарас")
ADMIN = citizen_token("u_9", "Адмін", role="admin")
THUMB = quote("👍")


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


async def post(city: InProcessCity, body: str, token: str = OKSANA, **more: Any) -> dict[str, Any]:
    answer = await city.call("POST", MESSAGES, {"body": body} | more, token=token)
    assert answer.status == 201, answer
    message: dict[str, Any] = answer.content
    return message


def said_no(answer: HttpResponse) -> tuple[int, str]:
    return answer.status, answer.content["code"]


async def test_only_author_or_admin_changes_message(city: InProcessCity) -> None:
    tokens = {
        "anonymous": None,
        "its author": OKSANA,
        "another citizen": TARAS,
        "an agent": await city.agent_token("scribe"),
        "an admin citizen": ADMIN,
        "a service": SERVICE_TOKEN,
        "the admin": ADMIN_TOKEN,
    }
    expected = {
        "PATCH": [401, 200, 403, 403, 403, 403, 403],
        "PUT": [401, 200, 200, 200, 200, 403, 403],
        "DELETE reaction": [401, 200, 200, 200, 200, 403, 403],
        "DELETE": [401, 200, 403, 403, 200, 403, 403],
    }
    for what, statuses in expected.items():
        for (who, token), status in zip(tokens.items(), statuses, strict=True):
            message = await post(city, f"{what} by {who}")
            path = f"{MESSAGES}/{message['id']}"
            if what in {"PUT", "DELETE reaction"}:
                path += f"/reactions/{THUMB}"
            content: Any = {"body": "changed"} if what == "PATCH" else ...
            answer = await city.call(what.split()[0], path, content, token=token)
            assert answer.status == status, (what, who, answer)
            (stored,) = await city.get(f"{MESSAGES}?limit=1")
            if status != 200:
                assert stored == message, "and nothing is changed"


async def test_edited_message_has_documented_fields(city: InProcessCity) -> None:
    message = await post(city, "раз")
    path = f"{MESSAGES}/{message['id']}"
    edited = (await city.call("PATCH", path, {"body": "**два**"}, token=OKSANA)).content
    assert edited["edited_at"] is not None
    assert edited == message | {
        "body": "**два**",
        "formatted_body": "<strong>два</strong>",
        "edited_at": edited["edited_at"],
    }
    reacted = (await city.call("PUT", f"{path}/reactions/{THUMB}", token=TARAS)).content
    assert reacted == edited | {
        "reactions": [{"emoji": "👍", "count": 1, "by": ["u_2"], "url": None, "shortcode": None}]
    }
    assert await city.get(MESSAGES) == [reacted]
    assert (await city.get("/city/rooms/general"))["messages"] == [reacted]
    deleted = (await city.call("DELETE", path, token=OKSANA)).content
    assert deleted == edited | {"body": "", "formatted_body": None, "deleted": True}
    assert await city.get(MESSAGES) == [deleted]


@pytest.mark.parametrize(
    ("method", "tail", "content", "expected"),
    [
        ("PATCH", "", {"body": " "}, (422, "message_empty")),
        ("PATCH", "", {}, (422, "invalid")),
        ("PATCH", "", {"body": "ї" * 30_000}, (413, "message_too_long")),
        ("PUT", "/reactions/" + "x" * 65, ..., (422, "reaction_key_invalid")),
        ("PUT", "/reactions/%20", ..., (422, "reaction_key_invalid")),
        ("PUT", "/reactions/%00", ..., (422, "text_invalid")),
    ],
)
async def test_invalid_edit_is_refused(
    city: InProcessCity, method: str, tail: str, content: Any, expected: tuple[int, str]
) -> None:
    message = await post(city, "так і лишиться")
    answer = await city.call(method, f"{MESSAGES}/{message['id']}{tail}", content, token=OKSANA)
    assert said_no(answer) == expected
    assert await city.get(MESSAGES) == [message]


@pytest.mark.parametrize(
    ("method", "tail"), [("PATCH", ""), ("DELETE", ""), ("PUT", "/reactions/x"), ("DELETE", "/reactions/x")]
)
async def test_unknown_message_is_404(city: InProcessCity, method: str, tail: str) -> None:
    message = await post(city, "тут")
    content: Any = {"body": "там"} if method == "PATCH" else ...
    for path in (f"{MESSAGES}/none", f"/city/rooms/builders/messages/{message['id']}"):
        answer = await city.call(method, path + tail, content, token=OKSANA)
        assert said_no(answer) == (404, "no_such_message")
    answer = await city.call(method, f"/city/rooms/none/messages/{message['id']}{tail}", content, token=OKSANA)
    assert said_no(answer) == (404, "no_such_room")


async def test_changes_are_sent_and_replayed_on_websocket(city: InProcessCity) -> None:
    url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/rooms/general?since=0"
    async with city.session.ws_connect(url) as socket:
        message = await post(city, "раз", client_id="c1")
        # The replay may be read after the message, and would tell what it has become meanwhile.
        received = [await next_frame(socket)]
        path = f"{MESSAGES}/{message['id']}"
        edited = (await city.call("PATCH", path, {"body": "два"}, token=OKSANA)).content
        reacted = (await city.call("PUT", f"{path}/reactions/{THUMB}", token=TARAS)).content
        back = (await city.call("DELETE", f"{path}/reactions/{THUMB}", token=TARAS)).content
        deleted = (await city.call("DELETE", path, token=ADMIN)).content
        received += [await next_frame(socket) for _ in range(4)]
    assert [(each["event"], each["seq"], each["message"]) for each in received] == [
        ("city.room.message", 1, message),
        ("city.room.message.updated", 2, edited),
        ("city.room.reaction", 3, reacted),
        ("city.room.reaction", 4, back),
        ("city.room.message.deleted", 5, deleted),
    ]
    assert [each["by"]["id"] for each in received[1:]] == ["u_1", "u_2", "u_2", "u_9"]
    assert [(each["emoji"], each["added"]) for each in received[2:4]] == [("👍", True), ("👍", False)]
    async with city.session.ws_connect(url) as socket:
        again = [await next_frame(socket) for _ in range(5)]
    assert [each["seq"] for each in again] == [1, 2, 3, 4, 5]
    # Each message once, in its current state; deleted content is not repeated.
    assert [each["message"] for each in again] == [deleted, None, None, None, None]
    assert {each["message_id"] for each in again} == {message["id"]}


async def test_changes_in_archived_room_are_refused(city: InProcessCity) -> None:
    message = await post(city, "стоїть")
    await city.city.rooms.change("general", RoomUpdate(archived=True))
    path = f"{MESSAGES}/{message['id']}"
    for method, tail, content in (("PATCH", "", {"body": "х"}), ("DELETE", "", ...), ("PUT", "/reactions/x", ...)):
        answer = await city.call(method, path + tail, content, token=OKSANA)
        assert said_no(answer) == (409, "room_archived")
    assert await city.get(MESSAGES) == [message]


async def test_popularity_counts_recent_messages(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    week_ms = 7 * 24 * 3_600_000
    now = city.city.messages._now_ms()
    for at_ms, room in [(now - 3 * week_ms, "welcome")] * 5 + [(now, "builders")] * 2:
        monkeypatch.setattr(city.city.messages, "_now_ms", lambda at_ms=at_ms: at_ms)
        answer = await city.call("POST", f"/city/rooms/{room}/messages", {"body": "тут"}, token=OKSANA)
        assert answer.status == 201
    rooms = await city.get("/city/rooms?sort=popular")
    assert [room["slug"] for room in rooms] == ["builders", "welcome", "general"]


async def test_page_over_byte_limit_links_to_next_page(city: InProcessCity) -> None:
    for number in range(10):
        await post(city, f"{number} " + "x" * 40_000)
    found: list[str] = []
    address, pages = f"{MESSAGES}?limit=200", 0
    while address:
        answer = await city.call("GET", address)
        assert len(orjson.dumps(answer.content)) <= MAX_PAGE_BYTES
        found = [each["body"][0] for each in answer.content] + found
        link = answer.headers.get("Link", "")
        address = link.removesuffix('>; rel="prev"').removeprefix("<")
        pages += 1
    assert found == [str(number) for number in range(10)]
    assert pages == 2
    room = await city.get("/city/rooms/general")
    assert room["has_older"]
    assert 1 <= len(room["messages"]) < 10


async def test_last_page_has_no_link_header(city: InProcessCity) -> None:
    for number in range(3):
        await post(city, str(number))
    assert "Link" not in (await city.call("GET", f"{MESSAGES}?limit=3")).headers
    assert "Link" in (await city.call("GET", f"{MESSAGES}?limit=2")).headers
    assert not (await city.get("/city/rooms/general"))["has_older"]


async def test_rendered_markdown_is_that_of_a_message(city: InProcessCity) -> None:
    for body in ("*привіт*, @daarwizz", "без розмітки", ""):
        answer = await city.call("POST", "/city/markdown", {"body": body}, token=OKSANA)
        assert answer.status == 200
        expected = (await post(city, body))["formatted_body"] if body else None
        assert answer.content == {"formatted_body": expected}
    too_long = await city.call("POST", "/city/markdown", {"body": "x" * 48_001}, token=OKSANA)
    assert said_no(too_long) == (413, "message_too_long")
