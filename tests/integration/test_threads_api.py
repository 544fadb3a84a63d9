"""Threads in the city's API: posting, lists of threads and replies, the WebSocket, and who may read them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.parts.city import citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity
from tests.parts.ports import HOST

MESSAGES = "/city/rooms/general/messages"
THREADS = "/city/rooms/general/threads"
OKSANA, TARAS = citizen_token("u_123"), citizen_token("u_7")


async def post(city: InProcessCity, body: str, token: str = OKSANA, **more: Any) -> dict[str, Any]:
    answer = await city.call("POST", MESSAGES, {"body": body, **more}, token=token)
    assert answer.status == 201, answer.content
    message: dict[str, Any] = answer.content
    return message


async def test_reply_in_thread_shows_on_root(city: InProcessCity) -> None:
    root = await post(city, "Хто йде?")
    assert (root["thread_root"], root["thread"]) == (None, None)
    reply = await post(city, "я", TARAS, thread_root=root["id"])
    assert reply["thread_root"] == root["id"]
    (shown, _) = await city.get(MESSAGES)
    assert shown["thread"] == {
        "count": 1,
        "last_seq": reply["seq"],
        "last_reply_at": reply["created_at"],
        "authors": [reply["author"]],
    }


async def test_threads_are_listed_newest_first_by_pages(city: InProcessCity) -> None:
    roots = [await post(city, f"Корінь {number}") for number in range(3)]
    for root in (roots[2], roots[0], roots[1], roots[0]):
        await post(city, "так", thread_root=root["id"])
    await post(city, "без нитки")
    found, path = [], f"{THREADS}?limit=2"
    while path:
        answer = await city.call("GET", path)
        found += [each["id"] for each in answer.content]
        link = answer.headers.get("Link", "")
        path = link.partition("<")[2].partition(">")[0]
    assert found == [roots[0]["id"], roots[1]["id"], roots[2]["id"]]


async def test_replies_of_thread_are_listed_by_pages(city: InProcessCity) -> None:
    root = await post(city, "Хто йде?")
    replies = []
    for number in range(5):
        await post(city, f"поза ниткою {number}")
        replies.append(await post(city, f"у нитці {number}", thread_root=root["id"]))
    thread = f"{THREADS}/{root['id']}"
    ids = [each["id"] for each in replies]
    assert [each["id"] for each in await city.get(thread)] == ids
    assert [each["id"] for each in await city.get(f"{thread}?limit=2")] == ids[3:]
    assert [each["id"] for each in await city.get(f"{thread}?limit=2&before={replies[3]['seq']}")] == ids[1:3]
    assert [each["id"] for each in await city.get(f"{thread}?after={replies[2]['seq']}")] == ids[3:]
    assert await city.get(f"{THREADS}/{replies[0]['id']}") == [], "a reply has no thread of its own"


@pytest.mark.parametrize(
    "path", [f"{THREADS}/01M80JJ9ZZ3VJ0Q4Y7V1B2N3M4", "/city/rooms/nowhere/threads", "/city/rooms/nowhere/threads/x"]
)
async def test_unknown_thread_is_not_found(sqlite_city: InProcessCity, path: str) -> None:
    assert (await sqlite_city.call("GET", path)).status == 404


@pytest.mark.parametrize("query", ["before=x", "limit=0", "limit=101", f"before={1 << 60}"])
async def test_invalid_page_of_threads_is_refused(sqlite_city: InProcessCity, query: str) -> None:
    assert (await sqlite_city.call("GET", f"{THREADS}?{query}")).status in {400, 422}


async def test_refusals_name_the_thread(sqlite_city: InProcessCity) -> None:
    root = await post(sqlite_city, "Хто йде?")
    reply = await post(sqlite_city, "я", thread_root=root["id"])
    answer = await sqlite_city.call("POST", MESSAGES, {"body": "?", "thread_root": reply["id"]}, token=OKSANA)
    assert (answer.status, answer.content["code"]) == (422, "no_thread_root")
    answer = await sqlite_city.call("POST", MESSAGES, {"body": "?", "thread_root": 7}, token=OKSANA)
    assert answer.status == 422


async def test_websocket_carries_reply_and_root(city: InProcessCity) -> None:
    root = await post(city, "Хто йде?")
    url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/rooms/general?token={TARAS}"
    async with city.session.ws_connect(url) as socket:
        await socket.send_json({"event": "city.room.send", "body": "я", "thread_root": root["id"]})
        first, second = [await next_frame(socket) for _ in range(2)]
    assert (first["event"], second["event"]) == ("city.room.message", "city.room.message.updated")
    reply, update = first["message"], second["message"]
    assert reply["thread_root"] == root["id"]
    assert (update["id"], update["thread"]["count"]) == (root["id"], 1)
