"""Posting messages: response, idempotency, order and validation."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.parts.api import (
    MESSAGES,
    OKSANA,
    TIMESTAMP,
    post_message,
    problem_of,
    with_placeholders,
)
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity


async def test_message_has_documented_fields(city: InProcessCity) -> None:
    content = {"body": "Доброго дня", "client_id": "c-1"}
    answer = await city.call("POST", MESSAGES, content, token=OKSANA)

    assert answer.status == 201
    assert with_placeholders(answer.content) == {
        "id": answer.content["id"],
        "room_id": "city_general",
        "seq": 1,
        "author": {
            "kind": "citizen",
            "id": "u_123",
            "display_name": "Оксана",
            "matrix_user_id": "@citizen_u_123:city.localhost",
            "avatar_url": None,
        },
        "body": "Доброго дня",
        "formatted_body": None,
        "msgtype": "m.text",
        "media": None,
        "poll": None,
        "location": None,
        "unsupported": False,
        "original_type": None,
        "mentions_room": False,
        "mentions": [],
        "reply_to": None,
        "thread_root": None,
        "thread": None,
        "reactions": [],
        "edited_at": None,
        "deleted": False,
        "created_at": TIMESTAMP,
        "matrix_event_id": None,
        "delivery": "pending",
        "delivery_error": None,
        "client_id": "c-1",
    }
    assert await city.get(MESSAGES) == [answer.content]
    room = await city.get("/city/rooms/general")
    assert (room["messages"], room["last_event"]) == ([answer.content], answer.content["created_at"])


async def test_message_of_agent_has_agent_as_author(sqlite_city: InProcessCity) -> None:
    message = await post_message(sqlite_city, "записую", token=await sqlite_city.agent_token("scribe"))
    assert message["author"] == {
        "kind": "agent",
        "id": "scribe",
        "display_name": "Писар",
        "matrix_user_id": "@agent_scribe:city.localhost",
        "avatar_url": None,
    }


async def test_message_list_is_paged_by_before(city: InProcessCity) -> None:
    for number in range(1, 56):
        await post_message(city, str(number))

    async def seqs(query: str) -> list[int]:
        return [message["seq"] for message in await city.get(f"{MESSAGES}?{query}")]

    assert await seqs("") == list(range(6, 56))
    assert await seqs("limit=3") == [53, 54, 55]
    assert await seqs("limit=3&before=53") == [50, 51, 52]
    assert await seqs("limit=200&before=4") == [1, 2, 3]
    assert await seqs("before=1") == []
    assert await seqs("before=-5") == []
    assert len((await city.get("/city/rooms/general"))["messages"]) == 50


async def test_repeated_client_id_returns_first_message(city: InProcessCity) -> None:
    first = await city.call("POST", MESSAGES, {"body": "once", "client_id": "c"}, token=OKSANA)
    again = await city.call("POST", MESSAGES, {"body": "twice", "client_id": "c"}, token=OKSANA)
    assert (first.status, again.status) == (201, 200)
    assert again.content == first.content

    other = citizen_token("u_9")
    elsewhere = [
        await post_message(city, "by somebody else", token=other, client_id="c"),
        await post_message(city, "in another room", room="welcome", client_id="c"),
        await post_message(city, "by an agent", token=await city.agent_token("scribe"), client_id="c"),
    ]
    assert len({message["id"] for message in [first.content, *elsewhere]}) == 4


async def test_concurrent_client_id_posts_one_message(city: InProcessCity) -> None:
    content = {"body": "once", "client_id": "c"}
    answers = await asyncio.gather(*(city.call("POST", MESSAGES, content, token=OKSANA) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    assert len({answer.content["id"] for answer in answers}) == 1
    await post_message(city, "next")
    assert [message["seq"] for message in await city.get(MESSAGES)] == [1, 2]


async def test_concurrent_messages_have_successive_seq(city: InProcessCity) -> None:
    await asyncio.gather(*(post_message(city, str(number)) for number in range(25)))
    messages = await city.get(MESSAGES)
    assert [message["seq"] for message in messages] == list(range(1, 26))
    assert {message["body"] for message in messages} == {str(number) for number in range(25)}


async def test_reply_to_must_be_in_same_room(city: InProcessCity) -> None:
    question = await post_message(city, "?")
    assert (await post_message(city, "!", reply_to=question["id"]))["reply_to"] == question["id"]
    elsewhere = {"body": "!", "reply_to": question["id"]}
    answer = await city.call("POST", "/city/rooms/welcome/messages", elsewhere, token=OKSANA)
    assert problem_of(answer) == (404, "no_such_message")


NO_MESSAGES: list[tuple[Any, tuple[int, str]]] = [
    ({}, (422, "message_empty")),
    ({"body": ""}, (422, "message_empty")),
    ({"body": " \n\t"}, (422, "message_empty")),
    ({"body": None}, (422, "invalid")),
    ({"body": ["hi"]}, (422, "invalid")),
    ({"body": "a\0b"}, (422, "text_invalid")),
    ({"body": "x" * 48_001}, (413, "message_too_long")),
    ({"body": "Ю" * 24_001}, (413, "message_too_long")),
    ({"body": "\n" * 24_000 + "x"}, (413, "message_too_long")),
    ({"body": "hi", "client_id": ""}, (422, "invalid")),
    ({"body": "hi", "client_id": "x" * 256}, (422, "invalid")),
    ({"body": "hi", "client_id": "a\0b"}, (422, "text_invalid")),
    ({"body": "hi", "reply_to": "unknown"}, (404, "no_such_message")),
    ({"body": "hi", "reply_to": "a\0b"}, (422, "text_invalid")),
    ({"body": "hi", "reply_to": "x" * 65}, (422, "invalid")),
    ([], (422, "invalid")),
    ("hi", (422, "invalid")),
    (None, (422, "message_empty")),
]


async def test_invalid_message_is_refused(city: InProcessCity) -> None:
    for content, refusal in NO_MESSAGES:
        answer = await city.call("POST", MESSAGES, content, token=OKSANA)
        assert problem_of(answer) == refusal, str(content)[:100]
    assert await city.get(MESSAGES) == []


async def test_longest_message_is_stored_unchanged(city: InProcessCity) -> None:
    body = "Ю" * 23_999
    await post_message(city, body)
    assert (await city.get(MESSAGES))[0]["body"] == body
