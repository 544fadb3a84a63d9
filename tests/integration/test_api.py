"""The city's API as everybody meets it: who may do what, what answers look like, and what cannot be sent."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
import zlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from aiohttp.http_exceptions import BadHttpMessage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from daarion_appservice.city.presence import PresenceState, RemotePresence, Status
from daarion_appservice.city.rooms import RoomUpdate
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    Content,
    EventId,
    Member,
    SubjectId,
    UserId,
)
from daarion_appservice.clock import now_ms
from daarion_appservice.http import routing
from daarion_appservice.http.bad_request_log import BadRequestFilter
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN, Answer, InProcessCity, in_process_city
from tests.parts.ports import HOST

OKSANA = citizen_token("u_123", "Оксана")
MESSAGES = "/city/rooms/general/messages"
HEARTBEAT = "/api/v1/agents/scribe/heartbeat"
INTERNAL = "/internal/matrix/presence"
PROBLEM = {"type", "title", "status", "code", "detail"}


@cache
def bomb() -> bytes:
    """Made only where it is sent: every worker imports this module, and 200 MB take half a second to compress."""
    return gzip.compress(bytes(200_000_000))


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        yield city


@pytest.fixture
async def here(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    """The same, where the database makes no difference."""
    async with in_process_city(sqlite_url) as city:
        yield city


def problem(answer: Answer) -> tuple[int, str]:
    """Status and code of an answer that is an RFC 9457 problem."""
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer
    assert answer.content.keys() - {"errors"} == PROBLEM
    code = answer.content["code"]
    assert (answer.content["status"], answer.content["type"]) == (answer.status, f"urn:daarion:problem:{code}")
    assert answer.content["detail"]
    return answer.status, code


def matrix_problem(answer: Answer) -> tuple[int, str]:
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.content.keys() == {"errcode", "error"}
    return answer.status, answer.content["errcode"]


async def said(city: InProcessCity, request: bytes) -> bytes:
    """What is answered to these very bytes, or its beginning."""
    reader, writer = await asyncio.open_connection(HOST, city.city.settings.api.port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(65_536), 10)
    finally:
        writer.close()


async def post(city: InProcessCity, body: str, *, token: str = OKSANA, room: str = "general", **more: Any) -> Any:
    answer = await city.call("POST", f"/city/rooms/{room}/messages", {"body": body} | more, token=token)
    assert answer.status in {200, 201}, answer
    return answer.content


# --- who may do what ----------------------------------------------------------------------------------

WHO = ("anonymous", "citizen", "admin citizen", "scribe", "daarwizz", "service", "admin")
READ = dict.fromkeys(WHO, 200)
MAY: dict[tuple[str, str], dict[str, int]] = {
    ("GET", "/city/rooms"): READ,
    ("GET", "/city/rooms/general"): READ,
    ("GET", MESSAGES): READ,
    ("GET", "/api/v1/agents"): READ,
    ("GET", "/api/v1/agents/scribe"): READ,
    ("GET", "/api/v1/agents/scribe/presence"): READ,
    ("POST", "/city/rooms"): {
        "anonymous": 401,
        "citizen": 201,
        "admin citizen": 201,
        "scribe": 403,
        "daarwizz": 403,
        "service": 403,
        "admin": 201,
    },
    ("POST", MESSAGES): {
        "anonymous": 401,
        "citizen": 201,
        "admin citizen": 201,
        "scribe": 201,
        "daarwizz": 201,
        "service": 403,
        "admin": 403,
    },
    ("POST", HEARTBEAT): {
        "anonymous": 401,
        "citizen": 403,
        "admin citizen": 403,
        "scribe": 200,
        "daarwizz": 403,
        "service": 200,
        "admin": 403,
    },
}


async def tokens_of(city: InProcessCity) -> dict[str, str | None]:
    return {
        "anonymous": None,
        "citizen": OKSANA,
        "admin citizen": citizen_token("u_1", role="admin"),
        "scribe": await city.agent_token("scribe"),
        "daarwizz": await city.agent_token("daarwizz"),
        "service": SERVICE_TOKEN,
        "admin": ADMIN_TOKEN,
    }


def a_body_for(path: str, who: str) -> Any:
    return {"/city/rooms": {"name": f"Room of {who}"}, MESSAGES: {"body": "hello"}, HEARTBEAT: {}}[path]


async def test_everybody_may_do_what_they_may_and_nothing_else(city: InProcessCity) -> None:
    tokens = await tokens_of(city)
    for (method, path), expected in MAY.items():
        for who in WHO:
            content = a_body_for(path, who) if method == "POST" else ...
            answer = await city.call(method, path, content, token=tokens[who])
            assert answer.status == expected[who], (method, path, who, answer)
            if answer.status in {401, 403}:
                assert problem(answer)[1] in {"sign_in", "not_allowed", "not_this_agent"}
                assert ("WWW-Authenticate" in answer.headers) == (answer.status == 401)


async def test_a_city_can_be_closed_to_whoever_does_not_sign_in(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, api={"anonymous_read": False, "jwt": {"secret": "another " * 8}}) as city:
        for (method, path), expected in MAY.items():
            if expected is READ:
                assert problem(await city.call(method, path)) == (401, "sign_in")
        assert await city.get("/city/rooms", token=await city.agent_token("scribe"))


NO_TOKENS = [
    "Bearer",
    "Bearer ",
    "Basic dTox",
    "Bearer nonsense",
    "Bearer agt_",
    "Bearer agt_01_secret",
    f"Bearer {citizen_token('u_1', exp=int(time.time()) - 1)}",
    f"Bearer {citizen_token('agent:scribe')}",
    f"Bearer {citizen_token('@alice:city.localhost')}",
    "Bearer \udcff\udcfe",
    "Bearer ключ",
]


async def test_a_wrong_token_is_never_taken_for_none(here: InProcessCity) -> None:
    for authorization in NO_TOKENS:
        for method, path in MAY:
            answer = await here.call(method, path, headers={"Authorization": authorization})
            assert problem(answer) == (401, "token_invalid"), (method, path, authorization)


async def test_a_revoked_token_is_worth_nothing_and_a_new_one_counts_at_once(city: InProcessCity) -> None:
    old = await city.agent_token("scribe")
    assert (await city.call("POST", HEARTBEAT, {}, token=old)).status == 200
    async with city.city.database.transaction() as tx:
        scribe = await tx.agents.by_slug("scribe")
        assert scribe is not None
        await tx.agents.revoke_tokens(scribe, None, now_ms=1)
    await city.city.registry.load()

    assert problem(await city.call("POST", HEARTBEAT, {}, token=old)) == (401, "token_invalid")
    assert (await city.call("POST", HEARTBEAT, {}, token=await city.agent_token("scribe"))).status == 200


async def test_an_agent_speaks_for_itself_only(here: InProcessCity) -> None:
    answer = await here.call("POST", HEARTBEAT, {}, token=await here.agent_token("daarwizz"))
    assert problem(answer) == (403, "not_this_agent")
    assert (await here.get("/api/v1/agents/scribe/presence"))["presence"] == "offline"


async def test_a_citizen_whose_id_no_ghost_can_have_is_told_so(here: InProcessCity) -> None:
    answer = await here.call("POST", MESSAGES, {"body": "hi"}, token=citizen_token("Ю" * 100))
    assert problem(answer) == (422, "citizen_id_too_long")


# --- what answers look like ---------------------------------------------------------------------------

MOMENT = "a moment"


def shape_of(content: dict[str, Any]) -> dict[str, Any]:
    """The same, with every time of day replaced by a word once it has proved to be one."""
    shape = dict(content)
    for key in ("created_at", "last_event", "edited_at"):
        if isinstance(value := shape.get(key), str):
            assert value.endswith("Z")
            assert abs(datetime.fromisoformat(value).timestamp() - time.time()) < 60
            shape[key] = MOMENT
    return shape


GENERAL = {
    "id": "city_general",
    "slug": "general",
    "name": "General",
    "description": "Головна кімната міста",
    "members_online": 0,
    "last_event": None,
    "last_seq": 0,
    "matrix_room_id": None,
    "matrix_room_alias": "#city_general:city.localhost",
    "matrix_status": "pending",
    "matrix_error": None,
    "is_default": True,
    "archived": False,
    "encrypted": False,
    "history_visibility": "world_readable",
    "is_public": True,
    "created_at": MOMENT,
}


async def test_rooms_are_shown_as_promised(city: InProcessCity) -> None:
    rooms = {room["slug"]: shape_of(room) for room in await city.get("/city/rooms")}
    assert rooms.keys() == {"general", "welcome", "builders"}
    assert rooms["general"] == GENERAL
    for name in ("general", "city_general"):
        room = shape_of(await city.get(f"/city/rooms/{name}"))
        assert room == GENERAL | {"may_read": True, "messages": [], "has_older": False, "online_members": []}


async def test_a_message_is_shown_as_promised(city: InProcessCity) -> None:
    content = {"body": "Доброго дня", "client_id": "c-1"}
    answer = await city.call("POST", MESSAGES, content, token=OKSANA)

    assert answer.status == 201
    assert shape_of(answer.content) == {
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
        "mentions": [],
        "reply_to": None,
        "reactions": [],
        "edited_at": None,
        "deleted": False,
        "created_at": MOMENT,
        "matrix_event_id": None,
        "delivery": "pending",
        "delivery_error": None,
        "client_id": "c-1",
    }
    assert await city.get(MESSAGES) == [answer.content]
    room = await city.get("/city/rooms/general")
    assert (room["messages"], room["last_event"]) == ([answer.content], answer.content["created_at"])


async def test_an_agent_writes_under_its_own_name(here: InProcessCity) -> None:
    message = await post(here, "записую", token=await here.agent_token("scribe"))
    assert message["author"] == {
        "kind": "agent",
        "id": "scribe",
        "display_name": "Писар",
        "matrix_user_id": "@agent_scribe:city.localhost",
        "avatar_url": None,
    }


async def test_an_agents_presence_is_shown_as_promised(here: InProcessCity) -> None:
    before = {
        "agent_id": "scribe",
        "display_name": "Писар",
        "matrix_user_id": "@agent_scribe:city.localhost",
        "presence": "offline",
        "last_active_ago_ms": None,
        "status_msg": None,
    }
    assert await here.get("/api/v1/agents/scribe/presence") == before

    token = await here.agent_token("scribe")
    beat = await here.call("POST", HEARTBEAT, {"status_msg": "слухаю", "session_id": "1"}, token=token)

    after = await here.get("/api/v1/agents/scribe/presence")
    assert 0 <= after.pop("last_active_ago_ms") < 10_000
    assert after.items() <= (before | {"presence": "online", "status_msg": "слухаю"}).items()
    assert beat.content.keys() == before.keys() | {"next_heartbeat_ms", "expires_in_ms"}
    assert (beat.content["next_heartbeat_ms"], beat.content["expires_in_ms"]) == (20_000, 40_000)


async def test_heartbeats_without_a_body_keep_the_text_and_null_clears_it(here: InProcessCity) -> None:
    token = await here.agent_token("scribe")
    said = []
    for content in ({"status_msg": "слухаю"}, ..., {}, {"status": "away"}, {"status_msg": None}, {"status": "offline"}):
        answer = await here.call("POST", HEARTBEAT, content, token=token)
        said.append((answer.content["presence"], answer.content["status_msg"], answer.content["next_heartbeat_ms"]))
    assert said == [
        ("online", "слухаю", 20_000),
        ("online", "слухаю", 20_000),
        ("online", "слухаю", 20_000),
        ("away", "слухаю", 20_000),
        ("online", None, 20_000),
        ("offline", None, None),
    ]


async def test_the_registry_is_shown_with_presence_and_can_be_searched(here: InProcessCity) -> None:
    await here.call("POST", HEARTBEAT, {}, token=SERVICE_TOKEN)
    agents = {agent["slug"]: agent for agent in await here.get("/api/v1/agents")}
    assert agents["daarwizz"] == {
        "id": "daarwizz",
        "slug": "daarwizz",
        "agent_id": "daarwizz",
        "display_name": "DAARWIZZ",
        "matrix_user_id": "@agent_daarwizz:city.localhost",
        "presence": "offline",
        "last_active_ago_ms": None,
        "status_msg": None,
        "title": "Orchestrator",
        "kind": None,
        "avatar": None,
        "avatar_url": None,
        "color": None,
        "node_id": None,
        "node_role": None,
        "microdao": "daarion",
        "microdao_role": "orchestrator",
        "role": "orchestrator",
        "district": None,
        "rooms": ["general"],
    }
    for query, slugs in {
        "node_id=node-1": ["scribe"],
        "microdao=daarion": ["daarwizz"],
        "role=guardian": ["scribe"],
        "q=%D0%BF%D0%B8%D1%81": ["scribe"],
        "presence=online": ["scribe"],
        "presence=offline": ["daarwizz"],
        "role=guardian&presence=offline": [],
        "ids=scribe,nobody": ["scribe"],
        "ids=,": [],
        "": ["daarwizz", "scribe"],
    }.items():
        assert [agent["slug"] for agent in await here.get(f"/api/v1/agents?{query}")] == slugs, query


async def test_members_who_are_here_are_counted_and_listed(here: InProcessCity) -> None:
    city = here.city
    general = "city_general"
    for subject in ("agent:scribe", "u_7", "@alice:hs", "agent:daarwizz"):
        city.online_members.joined(general, SubjectId(subject))  # type: ignore[arg-type]
    await here.call("POST", HEARTBEAT, {}, token=SERVICE_TOKEN)
    await city.presence.set_remote(
        [RemotePresence(SubjectId("@alice:hs"), PresenceState(Status.AWAY, "кава"), "matrix")]
    )

    room = await here.get("/city/rooms/general")

    assert room["members_online"] == 2
    assert [
        (each["kind"], each["id"], each["matrix_user_id"], each["presence"]) for each in room["online_members"]
    ] == [
        ("matrix", "@alice:hs", UserId("@alice:hs"), "away"),
        ("agent", "scribe", "@agent_scribe:city.localhost", "online"),
    ]


# --- rooms --------------------------------------------------------------------------------------------


async def test_rooms_are_sorted_and_paged_as_asked(city: InProcessCity) -> None:
    for body in ("1", "2"):
        await post(city, body, room="builders")
    await asyncio.sleep(0.01)
    await post(city, "3", room="welcome")
    await city.call("POST", "/city/rooms", {"name": "агора"}, token=OKSANA)

    async def slugs(query: str) -> list[str]:
        return [room["slug"] for room in await city.get(f"/city/rooms?{query}")]

    assert await slugs("sort=popular") == ["builders", "welcome", "ahora", "general"]
    assert await slugs("") == await slugs("sort=popular")
    assert (await slugs("sort=recent"))[0:2] in (["ahora", "welcome"], ["welcome", "ahora"])
    assert await slugs("sort=name") == ["builders", "general", "welcome", "ahora"]
    assert await slugs("sort=name&limit=2") == ["builders", "general"]
    assert await slugs("sort=name&limit=2&offset=3") == ["ahora"]
    assert await slugs("sort=name&offset=99") == []


async def test_a_citizen_opens_a_room(city: InProcessCity) -> None:
    new = {"name": "Наука", "description": "Наукова спільнота"}
    answer = await city.call("POST", "/city/rooms", new, token=OKSANA)
    assert answer.status == 201
    assert shape_of(answer.content) == GENERAL | new | {
        "id": "city_nauka",
        "slug": "nauka",
        "matrix_room_alias": "#city_nauka:city.localhost",
        "is_default": False,
    }
    assert problem(await city.call("POST", "/city/rooms", new, token=OKSANA)) == (409, "slug_taken")


async def test_room_name_with_turning_characters_is_one_line(city: InProcessCity) -> None:
    answer = await city.call("POST", "/city/rooms", {"name": "На\u202eу\nка\u2066", "slug": "nauka"}, token=OKSANA)
    assert answer.content["name"] == "Нау ка"
    admin = citizen_token("u_3", role="admin")
    answer = await city.call("PATCH", "/city/rooms/nauka", {"name": "\u202eНаука\u061c"}, token=admin)
    assert answer.content["name"] == "Наука"
    for name in ("\u202e", "\n"):
        refused = await city.call("PATCH", "/city/rooms/nauka", {"name": name}, token=admin)
        assert problem(refused) == (422, "name_needed")


async def test_of_many_who_open_the_same_room_at_once_one_does(city: InProcessCity) -> None:
    calls = [city.call("POST", "/city/rooms", {"name": "Наука"}, token=OKSANA) for _ in range(8)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7


def nested(depth: int) -> Any:
    content: Any = []
    for _ in range(depth - 1):
        content = [content]
    return content


NO_ROOMS: list[tuple[Any, tuple[int, str]]] = [
    ({}, (422, "invalid")),
    ({"name": ""}, (422, "invalid")),
    ({"name": "   "}, (422, "name_needed")),
    ({"name": "x" * 256}, (422, "invalid")),
    ({"name": "x", "description": "x" * 2001}, (422, "invalid")),
    ({"name": 5}, (422, "invalid")),
    ({"name": "!!!"}, (422, "slug_needed")),
    ({"name": "x", "slug": ""}, (422, "slug_wrong")),
    ({"name": "x", "slug": "Ж"}, (422, "slug_wrong")),
    ({"name": "x", "slug": "-x"}, (422, "slug_wrong")),
    ({"name": "x", "slug": "a b"}, (422, "slug_wrong")),
    ({"name": "x", "slug": "x\n"}, (422, "slug_wrong")),
    ({"name": "x", "slug": "x" * 65}, (422, "invalid")),
    ({"name": "x", "slug": "general"}, (409, "slug_taken")),
    ({"name": "x", "slug": "city_general"}, (409, "slug_taken")),
    ({"name": "General"}, (409, "slug_taken")),
    ({"name": "a\0b"}, (422, "not_text")),
    ({"name": "x", "description": "a\0b"}, (422, "not_text")),
    ({"name": nested(63)}, (422, "invalid")),
    ({"name": nested(64)}, (422, "too_deep")),
]


async def test_a_room_that_cannot_be_is_refused(here: InProcessCity) -> None:
    for content, refusal in NO_ROOMS:
        assert problem(await here.call("POST", "/city/rooms", content, token=OKSANA)) == refusal, str(content)[:100]
    assert len(await here.get("/city/rooms")) == 3


async def test_what_lies_too_deep_is_refused_before_anybody_walks_it(here: InProcessCity) -> None:
    json = {"Content-Type": "application/json"}
    for depth, refusal in ((1000, (422, "too_deep")), (100_000, (400, "not_json"))):
        body = b'{"name": "x", "beside": ' + b"[" * depth + b"]" * depth + b"}"
        answer = await here.call("POST", "/city/rooms", body=body, headers=json, token=OKSANA)
        assert problem(answer) == refusal
        answer = await internal(here, "POST", "/online", body=body, headers=json)
        assert answer.status == refusal[0]


async def test_a_rooms_name_never_means_another_room(city: InProcessCity) -> None:
    first = await city.call("POST", "/city/rooms", {"name": "x", "slug": "city_new"}, token=OKSANA)
    assert first.status == 201
    second = await city.call("POST", "/city/rooms", {"name": "x", "slug": "new"}, token=OKSANA)
    assert problem(second) == (409, "slug_taken"), "its id would be city_new"


async def test_an_archived_room_can_be_read_and_not_written_to(city: InProcessCity) -> None:
    await post(city, "before")
    await city.city.rooms.change("general", RoomUpdate(archived=True))

    assert problem(await city.call("POST", MESSAGES, {"body": "after"}, token=OKSANA)) == (409, "room_archived")
    assert [message["body"] for message in await city.get(MESSAGES)] == ["before"]
    assert (await city.get("/city/rooms/general"))["archived"] is True
    assert "general" not in [room["slug"] for room in await city.get("/city/rooms")]


# --- messages -----------------------------------------------------------------------------------------


async def test_history_is_paged_by_what_came_before(city: InProcessCity) -> None:
    for number in range(1, 56):
        await post(city, str(number))

    async def seqs(query: str) -> list[int]:
        return [message["seq"] for message in await city.get(f"{MESSAGES}?{query}")]

    assert await seqs("") == list(range(6, 56))
    assert await seqs("limit=3") == [53, 54, 55]
    assert await seqs("limit=3&before=53") == [50, 51, 52]
    assert await seqs("limit=200&before=4") == [1, 2, 3]
    assert await seqs("before=1") == []
    assert await seqs("before=-5") == []
    assert len((await city.get("/city/rooms/general"))["messages"]) == 50


async def test_the_same_client_id_again_is_the_first_message(city: InProcessCity) -> None:
    first = await city.call("POST", MESSAGES, {"body": "once", "client_id": "c"}, token=OKSANA)
    again = await city.call("POST", MESSAGES, {"body": "twice", "client_id": "c"}, token=OKSANA)
    assert (first.status, again.status) == (201, 200)
    assert again.content == first.content

    other = citizen_token("u_9")
    elsewhere = [
        await post(city, "by somebody else", token=other, client_id="c"),
        await post(city, "in another room", room="welcome", client_id="c"),
        await post(city, "by an agent", token=await city.agent_token("scribe"), client_id="c"),
    ]
    assert len({message["id"] for message in [first.content, *elsewhere]}) == 4


async def test_the_same_client_id_many_times_at_once_is_one_message(city: InProcessCity) -> None:
    content = {"body": "once", "client_id": "c"}
    answers = await asyncio.gather(*(city.call("POST", MESSAGES, content, token=OKSANA) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    assert len({answer.content["id"] for answer in answers}) == 1
    await post(city, "next")
    assert [message["seq"] for message in await city.get(MESSAGES)] == [1, 2]


async def test_many_who_write_at_once_stand_one_after_the_other(city: InProcessCity) -> None:
    await asyncio.gather(*(post(city, str(number)) for number in range(25)))
    messages = await city.get(MESSAGES)
    assert [message["seq"] for message in messages] == list(range(1, 26))
    assert {message["body"] for message in messages} == {str(number) for number in range(25)}


async def test_a_reply_names_a_message_of_the_same_room(city: InProcessCity) -> None:
    question = await post(city, "?")
    assert (await post(city, "!", reply_to=question["id"]))["reply_to"] == question["id"]
    elsewhere = {"body": "!", "reply_to": question["id"]}
    answer = await city.call("POST", "/city/rooms/welcome/messages", elsewhere, token=OKSANA)
    assert problem(answer) == (404, "no_such_message")


NO_MESSAGES: list[tuple[Any, tuple[int, str]]] = [
    ({}, (422, "message_empty")),
    ({"body": ""}, (422, "message_empty")),
    ({"body": " \n\t"}, (422, "message_empty")),
    ({"body": None}, (422, "invalid")),
    ({"body": ["hi"]}, (422, "invalid")),
    ({"body": "a\0b"}, (422, "not_text")),
    ({"body": "x" * 48_001}, (413, "message_too_long")),
    ({"body": "Ю" * 24_001}, (413, "message_too_long")),
    ({"body": "\n" * 24_000 + "x"}, (413, "message_too_long")),
    ({"body": "hi", "client_id": ""}, (422, "invalid")),
    ({"body": "hi", "client_id": "x" * 256}, (422, "invalid")),
    ({"body": "hi", "client_id": "a\0b"}, (422, "not_text")),
    ({"body": "hi", "reply_to": "unknown"}, (404, "no_such_message")),
    ({"body": "hi", "reply_to": "a\0b"}, (422, "not_text")),
    ({"body": "hi", "reply_to": "x" * 65}, (422, "invalid")),
    ([], (422, "invalid")),
    ("hi", (422, "invalid")),
    (None, (422, "message_empty")),
]


async def test_a_message_that_cannot_be_is_refused(city: InProcessCity) -> None:
    for content, refusal in NO_MESSAGES:
        answer = await city.call("POST", MESSAGES, content, token=OKSANA)
        assert problem(answer) == refusal, str(content)[:100]
    assert await city.get(MESSAGES) == []


async def test_the_longest_message_that_is_taken_is_kept_whole(city: InProcessCity) -> None:
    body = "Ю" * 23_999
    await post(city, body)
    assert (await city.get(MESSAGES))[0]["body"] == body


# --- requests that are none ---------------------------------------------------------------------------


NOT_THERE = [
    ("GET", "/city/rooms/nowhere", (404, "no_such_room")),
    ("GET", "/city/rooms/nowhere/messages", (404, "no_such_room")),
    ("POST", "/city/rooms/nowhere/messages", (404, "no_such_room")),
    ("GET", "/api/v1/agents/nobody", (404, "no_such_agent")),
    ("GET", "/api/v1/agents/nobody/presence", (404, "no_such_agent")),
    ("GET", "/nothing", (404, "no_such_route")),
    ("GET", "/internal/matrix/presence/@a:b", (404, "no_such_route")),
    ("PUT", "/_matrix/app/v1/transactions/1", (404, "no_such_route")),
    ("GET", "/healthz", (404, "no_such_route")),
    ("DELETE", "/city/rooms", (405, "method_not_allowed")),
    ("GET", HEARTBEAT, (405, "method_not_allowed")),
    ("GET", "/city/rooms?limit=0", (422, "invalid")),
    ("GET", "/city/rooms?limit=501", (422, "invalid")),
    ("GET", "/city/rooms?limit=many", (422, "invalid")),
    ("GET", "/city/rooms?offset=-1", (422, "invalid")),
    ("GET", "/city/rooms?sort=random", (422, "invalid")),
    ("GET", f"{MESSAGES}?before=now", (422, "invalid")),
    ("GET", f"{MESSAGES}?before=99999999999999999999", (422, "invalid")),
    ("GET", f"{MESSAGES}?limit=201", (422, "invalid")),
    ("GET", "/api/v1/agents?presence=here", (422, "invalid")),
    ("GET", "/api/v1/agents?q=%00", (422, "not_text")),
]


async def test_what_is_not_there_or_cannot_be_asked_is_said(here: InProcessCity) -> None:
    for method, path, refusal in NOT_THERE:
        content = {"body": "hi"} if method == "POST" else ...
        answer = await here.call(method, path, content, token=OKSANA)
        assert problem(answer) == refusal, (method, path)
        assert ("Allow" in answer.headers) == (answer.status == 405)


async def test_names_that_only_an_attacker_would_send_are_not_found(city: InProcessCity) -> None:
    for name in ("%00", "a%00b", "%ff", "%F0%9F%8E%89", "..%2f..", "x" * 3000, "%ED%A0%80", "'%20OR%201=1", "%25"):
        for path in (f"/city/rooms/{name}", f"/city/rooms/{name}/messages", f"/api/v1/agents/{name}/presence"):
            status, _ = problem(await city.call("GET", path))
            assert status in {404, 422}, path


@pytest.mark.parametrize(
    ("body", "content_type", "refusal"),
    [
        (b"{", "application/json", (400, "not_json")),
        (b"\xff", "application/json", (400, "not_json")),
        (b'{"body": "\\ud800"}', "application/json", (400, "not_json")),
        (b"[" * 5000, "application/json", (400, "not_json")),
        (b'{"body": "hi"}', "text/plain", (415, "not_json")),
        (b"body=hi", "application/x-www-form-urlencoded", (415, "not_json")),
        (b'{"body": "' + b"x" * 1024 * 1024 + b'"}', "application/json", (413, "body_too_large")),
    ],
    ids=["cut off", "no text", "half a character", "nested", "plain text", "a form", "a megabyte"],
)
async def test_a_body_that_is_no_json_is_refused(
    here: InProcessCity, body: bytes, content_type: str, refusal: tuple[int, str]
) -> None:
    answer = await here.call("POST", MESSAGES, body=body, headers={"Content-Type": content_type}, token=OKSANA)
    assert problem(answer) == refusal


async def test_a_body_that_is_not_packed_as_it_says_is_refused(
    here: InProcessCity, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await here.call("POST", MESSAGES, body=b"plain", headers=headers, token=OKSANA)
    assert problem(answer) == (400, "bad_request")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("encoding", "pack", "refusal"),
    [
        ("gzip", gzip.compress, None),
        ("GZIP", gzip.compress, None),
        ("x-gzip", gzip.compress, None),
        ("deflate", zlib.compress, None),
        ("identity", bytes, None),
        ("br", bytes, (400, "bad_request")),
        ("gzip, gzip", gzip.compress, (400, "bad_request")),
        ("gzip", lambda body: gzip.compress(body)[:-4], (400, "bad_request")),
        ("gzip", lambda body: gzip.compress(body) + b"more", (400, "bad_request")),
        ("gzip", lambda _body: bomb(), (413, "body_too_large")),
    ],
)
async def test_packed_body_is_unpacked_up_to_the_size_of_a_body(
    here: InProcessCity, encoding: str, pack: Callable[[bytes], bytes], refusal: tuple[int, str] | None
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    body = pack(b'{"body": "packed"}')
    answer = await here.call("POST", MESSAGES, body=body, headers=headers, token=OKSANA)
    if refusal is None:
        assert (answer.status, answer.content["body"]) == (201, "packed")
    else:
        assert problem(answer) == refusal


@pytest.mark.parametrize(("method", "path"), [("POST", "/no-such-route"), ("POST", MESSAGES), ("GET", "/city/rooms")])
async def test_packed_body_that_is_not_read_costs_nothing(here: InProcessCity, method: str, path: str) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: city\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb())}\r\n\r\n"
    next_request = b"GET /city/feed HTTP/1.1\r\nHost: city\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection(HOST, here.city.settings.api.port)
    before_s = time.process_time()
    writer.write((head.encode() + bomb()) * 10 + next_request)
    async with asyncio.timeout(20):
        answers = await reader.read()
    assert answers.count(b"HTTP/1.1 ") == 11
    assert time.process_time() - before_s < 0.8
    writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(
    here: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "_BODY_S", 0.2)
    head = f"POST {MESSAGES} HTTP/1.1\r\nHost: city\r\nAuthorization: Bearer {OKSANA}\r\n"
    answer = await said(here, f"{head}Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{".encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer


async def test_what_is_no_http_is_counted_and_never_logged(
    here: InProcessCity, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "a secret token"
    for request in (
        f"GET /ws?token={secret} HTTP/9\r\n\r\n",
        f"GET / HTTP/1.1\r\n{secret}\1: x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ):
        assert b" 400 " in await said(here, request.encode())
    assert caplog.text == ""

    now_s = 0.0
    counted = BadRequestFilter(lambda: now_s)
    failure = logging.makeLogRecord({"exc_info": (None, BadHttpMessage(secret), None)})
    with capture_logs() as logs:
        assert [counted.filter(failure) for _ in range(3)] == [False] * 3
        now_s = 60.0
        assert not counted.filter(failure)
        assert counted.filter(logging.makeLogRecord({"exc_info": (None, ValueError(), None)})), "a fault of ours"
    assert logs == [{"event": "bad_requests", "log_level": "info", "count": count} for count in (1, 3)]


async def test_every_field_that_is_wrong_is_named(here: InProcessCity) -> None:
    answer = await here.call("POST", MESSAGES, {"body": 1, "client_id": ""}, token=OKSANA)
    assert problem(answer) == (422, "invalid")
    assert {error["field"] for error in answer.content["errors"]} == {"body", "client_id"}
    assert all(error["message"] for error in answer.content["errors"])


async def test_a_newer_client_may_send_more_than_we_know(here: InProcessCity) -> None:
    assert (await post(here, "hi", mood="good"))["body"] == "hi"
    assert await here.get("/city/rooms?mood=good")


# --- pages of other origins ---------------------------------------------------------------------------


async def test_the_pages_that_are_allowed_may_call_and_no_others(here: InProcessCity) -> None:
    def asked(origin: str) -> dict[str, str]:
        return {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }

    allowed = await here.call("OPTIONS", MESSAGES, headers=asked("https://city.example"))
    assert allowed.status == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://city.example"
    assert "POST" in allowed.headers["Access-Control-Allow-Methods"]
    assert "AUTHORIZATION" in allowed.headers["Access-Control-Allow-Headers"].upper()
    assert "Access-Control-Allow-Credentials" not in allowed.headers

    for origin in ("https://evil.example", "http://city.example", "https://city.example.evil", "null"):
        denied = await here.call("OPTIONS", MESSAGES, headers=asked(origin))
        assert problem(denied) == (403, "preflight_refused")
        assert origin in denied.content["detail"]
        assert "Access-Control-Allow-Origin" not in denied.headers
        read = await here.call("GET", "/city/rooms", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in read.headers
    read = await here.call("GET", "/city/rooms", headers={"Origin": "https://city.example"})
    assert read.headers["Access-Control-Allow-Origin"] == "https://city.example"
    failed = await here.call("GET", "/city/rooms/nowhere", headers={"Origin": "https://city.example"})
    assert failed.headers["Access-Control-Allow-Origin"] == "https://city.example", "errors can be read, too"


# --- /internal ----------------------------------------------------------------------------------------


async def internal(city: InProcessCity, method: str, path: str, content: Any = ..., **more: Any) -> Answer:
    return await city.call(method, f"{INTERNAL}{path}", content, listener="matrix", **more)


async def test_presence_by_matrix_id_is_shown_as_promised(here: InProcessCity) -> None:
    scribe, admin = "@agent_scribe:city.localhost", "@daarion_admin:city.localhost"
    nobody = {"presence": "offline", "last_active_ago_ms": None, "status_msg": None}
    assert (await internal(here, "GET", f"/{admin}")).content == {"user_id": admin} | nobody

    told = await internal(here, "POST", "/online", {"matrix_user_id": scribe, "status_msg": "слухаю"})
    assert told.content == {"ok": True, "matrix_user_id": scribe, "status": "online"}

    shown = (await internal(here, "GET", f"/{scribe}")).content
    assert 0 <= shown.pop("last_active_ago_ms") < 10_000
    assert shown == {"user_id": scribe, "presence": "online", "status_msg": "слухаю"}
    assert (await here.get("/api/v1/agents/scribe/presence"))["presence"] == "online"

    for bulk in (
        await internal(here, "GET", f"/bulk?user_ids={admin},{scribe},{admin}"),
        await internal(here, "POST", "/bulk", {"user_ids": [admin, scribe, admin]}),
    ):
        presences = bulk.content["presences"]
        assert [(each["user_id"], each["presence"]) for each in presences] == [
            (admin, "offline"),
            (scribe, "online"),
            (admin, "offline"),
        ]
        assert presences[0] == {"user_id": admin} | nobody


@pytest.mark.parametrize(
    ("status", "shown"), [("online", "online"), ("away", "away"), ("unavailable", "away"), ("offline", "offline")]
)
async def test_presence_can_be_set_in_the_citys_words_and_in_matrixs(
    here: InProcessCity, status: str, shown: str
) -> None:
    user = "@citizen_u_123:city.localhost"
    await internal(here, "POST", "/online", {"matrix_user_id": user})
    told = await internal(here, "POST", "/online", {"matrix_user_id": user, "status": status})
    assert told.content == {"ok": True, "matrix_user_id": user, "status": status}
    assert (await internal(here, "GET", f"/{user}")).content["presence"] == shown


INVALID = (400, "M_INVALID_PARAM")
NOT_OURS = (403, "M_FORBIDDEN")
BAD = (422, "M_BAD_JSON")


NO_PRESENCE: list[tuple[str, str, Any, tuple[int, str]]] = [
    ("POST", "/online", {"matrix_user_id": "@alice:city.localhost"}, NOT_OURS),
    ("POST", "/online", {"matrix_user_id": "@agent_scribe:elsewhere.org"}, NOT_OURS),
    ("POST", "/online", {"matrix_user_id": "@daarion:city.localhost"}, NOT_OURS),
    ("POST", "/online", {"matrix_user_id": "@city_observer:city.localhost"}, NOT_OURS),
    ("POST", "/online", {"matrix_user_id": "@agent_nobody:city.localhost"}, (404, "M_NOT_FOUND")),
    ("POST", "/online", {"matrix_user_id": "agent_scribe"}, INVALID),
    ("POST", "/online", {"matrix_user_id": ""}, INVALID),
    ("POST", "/online", {}, BAD),
    ("POST", "/online", {"matrix_user_id": 5}, BAD),
    ("POST", "/online", {"matrix_user_id": "@agent_scribe:city.localhost", "status": "busy"}, BAD),
    ("POST", "/online", {"matrix_user_id": "@agent_scribe:city.localhost", "status_msg": "x" * 256}, BAD),
    ("POST", "/bulk", {"user_ids": []}, INVALID),
    ("POST", "/bulk", {"user_ids": ["@a:b"] * 501}, INVALID),
    ("POST", "/bulk", {"user_ids": ["@a:b", "b"]}, INVALID),
    ("POST", "/bulk", {"user_ids": "@a:b"}, BAD),
    ("POST", "/bulk", [], BAD),
    ("GET", "/bulk?user_ids=", ..., INVALID),
    ("GET", "/bulk", ..., BAD),
    ("GET", "/bulk?user_ids=@a:b,b", ..., INVALID),
    ("GET", "/bulk?user_ids=" + ",".join(["@a:b"] * 501), ..., INVALID),
    ("GET", "/alice", ..., INVALID),
    ("GET", "/@alice", ..., INVALID),
    ("GET", "/@alice:%20", ..., INVALID),
    ("GET", "/@a:b/more", ..., (404, "M_UNRECOGNIZED")),
    ("PUT", "/@a:b", ..., (405, "M_UNRECOGNIZED")),
]


async def test_presence_that_cannot_be_asked_for_or_set_is_refused_in_matrixs_words(here: InProcessCity) -> None:
    for method, path, content, refusal in NO_PRESENCE:
        answer = await internal(here, method, path, content)
        assert matrix_problem(answer) == refusal, (method, path[:100], str(content)[:100])


async def test_five_hundred_may_be_asked_for_at_once(here: InProcessCity) -> None:
    ids = [f"@user{number}:city.localhost" for number in range(500)]
    answer = await internal(here, "POST", "/bulk", {"user_ids": ids})
    assert [each["user_id"] for each in answer.content["presences"]] == ids


async def test_a_page_of_somebody_elses_cannot_set_presence(here: InProcessCity) -> None:
    body = b'{"matrix_user_id": "@agent_scribe:city.localhost"}'
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = await internal(here, "POST", "/online", body=body, headers={"Content-Type": content_type})
        assert matrix_problem(answer) == (415, "M_NOT_JSON")
    broken = await internal(here, "POST", "/online", body=b"{", headers={"Content-Type": "application/json"})
    assert matrix_problem(broken) == (400, "M_NOT_JSON")
    assert (await here.get("/api/v1/agents/scribe/presence"))["presence"] == "offline"


async def test_without_a_token_only_who_asks_for_localhost_is_answered(here: InProcessCity) -> None:
    path = "/@agent_daarwizz:city.localhost"
    rebound = await internal(here, "GET", path, headers={"Host": "evil.example:7025"})
    assert matrix_problem(rebound) == (421, "M_FORBIDDEN")
    elsewhere = await internal(here, "GET", path, headers={"Host": "appservice:7025"})
    assert matrix_problem(elsewhere) == (401, "M_MISSING_TOKEN")
    assert (await internal(here, "GET", path, headers={"Host": "localhost:7025"})).status == 200


async def test_with_an_internal_token_only_who_has_it_is_answered(sqlite_url: str) -> None:
    token = "only services know this"
    async with in_process_city(sqlite_url, matrix={"internal_token": token}) as city:
        path = "/@alice:city.localhost"
        assert matrix_problem(await internal(city, "GET", path)) == (401, "M_MISSING_TOKEN")
        for wrong in ("wrong", OKSANA, ADMIN_TOKEN, "a token of theirs", await city.agent_token("scribe")):
            assert matrix_problem(await internal(city, "GET", path, token=wrong)) == (401, "M_UNKNOWN_TOKEN")
        assert (await internal(city, "GET", path, token=token)).status == 200
        assert (await city.call("GET", "/healthz", listener="matrix")).content == {"status": "ok"}


async def test_readiness_says_what_is_missing(here: InProcessCity) -> None:
    answer = await here.call("GET", "/readyz", listener="matrix")
    assert answer.status == 503
    checks = answer.content["checks"]
    assert (answer.content["status"], checks["database"]) == ("not ready", "ok")
    assert checks["homeserver"].startswith("away")


# --- anything at all ----------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    "name", "description", "slug", "body", "reply_to", "client_id", "status", "status_msg", "session_id",
    "matrix_user_id", "user_ids",
)  # fmt: skip
BODIES = (
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING | st.just("@agent_scribe:city.localhost"), max_size=5) | ANYTHING
)
TAKING = [("api", "/city/rooms"), ("api", MESSAGES), ("api", HEARTBEAT)] + [
    ("matrix", f"{INTERNAL}/{what}") for what in ("bulk", "online")
]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(contents=st.lists(BODIES, min_size=4, max_size=4), raw=st.binary(max_size=60), name=st.text(max_size=10))
async def test_nothing_that_can_be_sent_breaks_the_city(
    city: InProcessCity, contents: list[Any], raw: bytes, name: str
) -> None:
    for listener, path in TAKING:
        token = SERVICE_TOKEN if path == HEARTBEAT else OKSANA
        for content in contents:
            answer = await city.call("POST", path, content, token=token, listener=listener)
            assert answer.status < 500, (path, content, answer)
        headers = {"Content-Type": "application/json"}
        answer = await city.call("POST", path, body=raw, headers=headers, token=token, listener=listener)
        assert answer.status < 500, (path, raw, answer)
    quoted = "".join(f"%{byte:02X}" for byte in name.encode("utf-8", "surrogatepass"))
    for path in ("/city/rooms/", "/api/v1/agents/", "/city/rooms?sort=", f"{MESSAGES}?before=", "/api/v1/agents?q="):
        assert (await city.call("GET", path + quoted)).status < 500, path + quoted


async def test_a_citizen_beats_without_a_socket_and_says_goodbye(city: InProcessCity) -> None:
    path, oksana = "/api/v1/presence/heartbeat", citizen_token("u_1", "Оксана")
    first = await city.call("POST", path, {"session_id": "tab-1"}, token=oksana)
    assert (first.status, first.content["user_id"], first.content["status"]) == (200, "u_1", "online")
    second = await city.call("POST", path, {"session_id": "tab-2", "status": "away"}, token=oksana)
    assert second.content["status"] == "online", "the strongest of one's sessions is shown"
    goodbye = await city.call("POST", path, {"session_id": "tab-1", "status": "offline"}, token=oksana)
    assert goodbye.content["status"] == "away"
    (shown,) = (await city.get("/api/v1/presence?ids=u_1"))["presences"]
    assert shown["status"] == "away"
    assert (await city.call("POST", path, {})).status == 401
    assert (await city.call("POST", path, {}, token=SERVICE_TOKEN)).status == 403
    assert (await city.call("POST", path, {"status": "asleep"}, token=oksana)).status == 422


async def test_rows_of_people_whom_nobody_could_be_any_more_are_shown(city: InProcessCity) -> None:
    """Rows of before such names were refused; nothing that is stored may make a page fail."""
    inside = city.city
    too_long, odd = Author(AuthorKind.CITIZEN, "\ufffd" * 60, "?"), Author(AuthorKind.AGENT, "Odd.Slug", "?")
    async with inside.database.transaction() as tx:
        room = await tx.rooms.find("general")
        assert room is not None
        for number, author in enumerate((too_long, odd)):
            event_id = EventId(f"$odd-{number}")
            await inside.messages.receive(tx, room, author, Content("!"), event_id=event_id, created_at_ms=now_ms())
            inside.online_members.joined(room.id, author.subject)
            inside.online_members.connected(author.subject)
        await tx.members.put([Member(room.id, inside.identities.author(odd), None, None)])
    for path in ("/city/rooms", "/city/rooms/general", "/city/rooms/general/messages", "/city/feed", "/city/home"):
        await city.get(path)


async def test_heartbeat_of_a_citizen_sets_keeps_and_removes_the_status_text(here: InProcessCity) -> None:
    said = [{"status_msg": "на Подолі"}, {}, {"status_msg": None}]
    answers = [await here.call("POST", "/api/v1/presence/heartbeat", each, token=OKSANA) for each in said]
    assert [each.content["status_msg"] for each in answers] == ["на Подолі", "на Подолі", None]


async def test_readyz_without_the_lease_does_not_name_another_process(here: InProcessCity) -> None:
    """Whether one leads is not known before the database has said so."""
    processes = []
    for here.city.lease.is_elsewhere in (False, True):
        answer = await here.call("GET", "/readyz", listener="matrix")
        processes.append(answer.content["checks"]["processes"])
    assert processes[0] == "waits for the database, which does not say which process leads"
    assert "another process leads" in processes[1]


async def test_feed_entry_of_a_new_room_names_who_opened_it(here: InProcessCity) -> None:
    assert (await here.call("POST", "/city/rooms", {"name": "Мости"}, token=OKSANA)).status == 201
    (entry,) = [each for each in await here.get("/city/feed") if each["payload"].get("name") == "Мости"]
    assert (entry["kind"], entry["actor"]["id"], entry["actor"]["kind"]) == ("room_created", "u_123", "citizen")
