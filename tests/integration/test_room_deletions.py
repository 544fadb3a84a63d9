"""Rooms that are being deleted in the background: they can be read, and every change is the same conflict."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from daarion_appservice.city.types import AgentSlug
from daarion_appservice.storage import removed_rooms
from tests.parts.api import post_message, problem_of
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity
from tests.parts.limits import socket

ADA = citizen_token("u_3", "Ада", role="admin")
REFUSED = (409, "room_being_deleted")
ROOM = "/city/rooms/{room_id}"
METHODS = ("post", "put", "patch", "delete")
BODIES: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("patch", ROOM): [
        {},
        {"archived": False},
        {"archived": True},
        {"name": "Saved"},
        {"description": "Saved"},
        {"avatar": ""},
        {"writers": "moderators"},
    ],
    ("post", ROOM + "/messages"): [{"body": "too late"}],
    ("patch", ROOM + "/messages/{message_id}"): [{"body": "too late"}],
    ("post", ROOM + "/messages/{message_id}/votes"): [{"selections": []}],
    ("put", ROOM + "/typing"): [{"typing": True}, {"typing": False}],
    ("put", ROOM + "/read"): [{"message_id": "MESSAGE"}],
    ("put", ROOM + "/notifications"): [{"mode": "none"}],
    ("post", ROOM + "/kick"): [{"subject": "u_123"}],
}
"""The bodies of the changes that have one."""


@pytest.fixture
async def message(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of the message that is left in the room ``builders``, whose deletion has begun."""
    first = await post_message(city, "first", room="builders", token=ADA)
    for number in range(4):
        await post_message(city, str(number), room="builders", token=ADA)
    monkeypatch.setattr(removed_rooms, "PORTION", 2)
    assert (await city.call("DELETE", "/city/rooms/builders", token=ADMIN_TOKEN)).status == 202
    return str(first["id"])


async def test_every_change_of_a_room_that_is_being_deleted_is_refused(city: InProcessCity, message: str) -> None:
    before = await city.get("/city/rooms/builders")
    operations = [
        (method, path)
        for path, methods in (await city.get("/openapi.json"))["paths"].items()
        for method in METHODS
        if path.startswith(ROOM) and method in methods and (method, path) != ("delete", ROOM)
    ]
    assert len(operations) > 15
    assert BODIES.keys() <= set(operations)
    for method, path in operations:
        names = {"room_id": "builders", "message_id": message, "subject": "u_123", "emoji": "%F0%9F%91%8D"}
        for body in BODIES.get((method, path), [{}]):
            sent = {key: message if value == "MESSAGE" else value for key, value in body.items()}
            content = sent if (method, path) in BODIES else ...
            answer = await city.call(method.upper(), path.format(**names), content, token=ADA)
            assert problem_of(answer) == REFUSED, (method, path, body)
    assert await city.get("/city/rooms/builders") == before
    await city.city.room_deletions.step()
    assert (await city.call("GET", "/city/rooms/builders")).status == 404


@pytest.mark.parametrize("body", [{"name": "Saved"}, {"archived": False}, {"avatar": ""}])
async def test_admin_token_cannot_keep_a_room_that_is_being_deleted(
    city: InProcessCity, message: str, body: dict[str, Any]
) -> None:
    answer = await city.call("PATCH", "/city/rooms/builders", body, token=ADMIN_TOKEN)
    if "avatar" not in body:
        assert problem_of(answer) == REFUSED
    assert answer.status in {403, 409}
    assert (await city.get("/city/rooms/builders"))["archived"]


async def test_frames_to_a_room_that_is_being_deleted_are_refused(city: InProcessCity, message: str) -> None:
    frames: list[dict[str, Any]] = [
        {"event": "city.room.send", "body": "too late"},
        {"event": "city.room.typing", "typing": True},
        {"event": "city.room.read", "message_id": message},
    ]
    async with socket(city, "/ws/city/rooms/builders", ADA) as opened:
        for frame in frames:
            await opened.send_json(frame)
            assert await _next_error(opened) == "room_being_deleted"


async def test_agent_cannot_leave_or_write_in_a_room_that_is_being_deleted(city: InProcessCity, message: str) -> None:
    token = await city.agent_token(AgentSlug("daarwizz"))
    for method, path in (("POST", "/join"), ("POST", "/leave"), ("POST", "/messages")):
        content: Any = {"body": "too late"} if path == "/messages" else ...
        answer = await city.call(method, f"/city/rooms/builders{path}", content, token=token)
        assert problem_of(answer) == REFUSED


async def test_archived_room_that_is_not_being_deleted_keeps_its_errors(city: InProcessCity) -> None:
    await city.call("PATCH", "/city/rooms/builders", {"archived": True}, token=ADMIN_TOKEN)
    late = await city.call("POST", "/city/rooms/builders/messages", {"body": "late"}, token=ADA)
    assert problem_of(late) == (409, "room_archived")
    restored = await city.call("PATCH", "/city/rooms/builders", {"archived": False}, token=ADMIN_TOKEN)
    assert (restored.status, restored.content["archived"]) == (200, False)


async def _next_error(opened: aiohttp.ClientWebSocketResponse) -> str:
    while True:
        frame = await next_frame(opened)
        if frame["event"] == "error":
            return str(frame["code"])
