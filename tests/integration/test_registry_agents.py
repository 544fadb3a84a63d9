"""Tests of the routes of agents and their tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import TypeAdapter

from daarion_appservice.http import schemas
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity
from tests.parts.registry import REGISTRY, lay_over, manage, slugs

# --- reading ------------------------------------------------------------------------------------------


async def test_agent_list_is_filtered_and_paged(sqlite_city: InProcessCity) -> None:
    await lay_over(sqlite_city, REGISTRY)
    assert await slugs(sqlite_city) == ["daarwizz", "hospodar", "scribe", "varta"]
    for query, found in {
        "?role=guardian": ["scribe", "varta"],
        "?role=scribe": ["varta"],
        "?kind=steward": ["hospodar"],
        "?district=podil": ["hospodar", "scribe", "varta"],
        "?district=podil&role=guardian&node_id=node-1": ["scribe", "varta"],
        "?presence=online": [],
        "?limit=2": ["daarwizz", "hospodar"],
        "?limit=2&offset=1": ["hospodar", "scribe"],
        "?limit=2&offset=3": ["varta"],
        "?offset=9": [],
        "?presence=offline&limit=1&offset=2": ["scribe"],
    }.items():
        assert await slugs(sqlite_city, query) == found, query
    for query in ("?limit=0", "?limit=1001", "?offset=-1", "?limit=many", "?offset=99999999999999999999"):
        assert (await sqlite_city.call("GET", f"/api/v1/agents{query}")).status == 422, query


# --- agents -------------------------------------------------------------------------------------------


async def test_put_agent_replaces_all_fields(city: InProcessCity) -> None:
    agent = {
        "display_name": "Новий",
        "title": "T",
        "kind": "infra",
        "color": "#ABCDEF",
        "rooms": ["builders"],
        "extra": 1,
    }
    answer = await manage(city, "PUT", "/api/v1/agents/new", agent)
    assert answer.status == 201, answer
    assert answer.content == await city.get("/api/v1/agents/new")
    assert (answer.content["kind"], answer.content["color"], answer.content["rooms"]) == (
        "infra",
        "#ABCDEF",
        ["builders"],
    )

    again = await manage(city, "PUT", "/api/v1/agents/new", {"display_name": "Новіший"})
    assert again.status == 200
    assert (again.content["display_name"], again.content["title"], again.content["rooms"]) == (
        "Новіший",
        None,
        ["general"],
    )

    assert (await manage(city, "DELETE", "/api/v1/agents/new")).status == 204
    for method, path in (("GET", ""), ("GET", "/presence"), ("DELETE", "")):
        gone = await manage(city, method, f"/api/v1/agents/new{path}")
        assert (gone.status, gone.content["code"]) == (404, "no_such_agent")


@pytest.mark.parametrize(
    ("path", "agent", "field"),
    [
        ("%D0%9D", {"display_name": "x"}, "agent_id"),
        ("UPPER", {"display_name": "x"}, "agent_id"),
        ("x" * 65, {"display_name": "x"}, "agent_id"),
        ("a%2Fb", {"display_name": "x"}, "agent_id"),
        ("new", {}, "display_name"),
        ("new", {"display_name": ""}, "display_name"),
        ("new", {"display_name": "x", "color": "red"}, "color"),
        ("new", {"display_name": "x", "color": "#12345\n"}, "color"),
        ("new", {"display_name": "x", "avatar": "/etc/passwd"}, "avatar"),
        ("new", {"display_name": "x", "avatar": "https://city.example/a.png"}, "avatar"),
        ("new", {"display_name": "x", "rooms": ["Не та"]}, "rooms.0"),
        ("new", {"display_name": "x", "rooms": "general"}, "rooms"),
        ("new", {"display_name": "x", "node_id": "n" * 256}, "node_id"),
    ],
)
async def test_invalid_agent_is_refused(sqlite_city: InProcessCity, path: str, agent: Any, field: str) -> None:
    before = await sqlite_city.get("/api/v1/agents")
    answer = await manage(sqlite_city, "PUT", f"/api/v1/agents/{path}", agent)
    assert (answer.status, answer.content["code"]) == (422, "invalid"), answer
    assert [error["field"] for error in answer.content["errors"]] == [field]
    assert await sqlite_city.get("/api/v1/agents") == before


async def test_token_is_valid_until_revoked(city: InProcessCity) -> None:
    tokens, beat = "/api/v1/agents/scribe/tokens", "/api/v1/agents/scribe/heartbeat"
    made = (await manage(city, "POST", tokens)).content
    TypeAdapter(schemas.NewAgentToken).validate_python(made)
    assert (await city.call("POST", beat, {}, token=made["token"])).status == 200

    [listed] = (await manage(city, "GET", tokens)).content
    assert listed == {"id": made["id"], "created_at": made["created_at"], "revoked_at": None}

    assert (await manage(city, "DELETE", f"{tokens}/{made['id']}")).status == 204
    assert (await city.call("POST", beat, {}, token=made["token"])).status == 401
    [revoked] = (await manage(city, "GET", tokens)).content
    TypeAdapter(schemas.AgentToken).validate_python(revoked)
    assert revoked["revoked_at"] is not None
    for path, code in (
        (f"{tokens}/{made['id']}", "no_such_token"),
        (f"{tokens}/nothing", "no_such_token"),
        (f"/api/v1/agents/daarwizz/tokens/{made['id']}", "no_such_token"),
        (f"/api/v1/agents/nobody/tokens/{made['id']}", "no_such_agent"),
    ):
        answer = await manage(city, "DELETE", path)
        assert (answer.status, answer.content["code"]) == (404, code)


async def test_deleted_agent_keeps_messages_without_access(city: InProcessCity) -> None:
    token = (await manage(city, "POST", "/api/v1/agents/scribe/tokens")).content["token"]
    await city.call("POST", "/city/rooms/general/messages", {"body": "Пишу"}, token=token)
    before = await city.get("/city/rooms/general/messages")

    assert (await manage(city, "DELETE", "/api/v1/agents/scribe")).status == 204

    assert await city.get("/city/rooms/general/messages") == before
    assert before[0]["author"]["display_name"] == "Писар"
    for path, content in (
        ("/city/rooms/general/messages", {"body": "Привид"}),
        ("/api/v1/agents/scribe/heartbeat", {}),
    ):
        assert (await city.call("POST", path, content, token=token)).status == 401
    item = {"heartbeats": [{"agent_id": "scribe"}]}
    answer = await city.call("POST", "/api/v1/agents/heartbeats", item, token=SERVICE_TOKEN)
    assert answer.content["results"][0]["code"] == "no_such_agent"

    await manage(city, "PUT", "/api/v1/agents/scribe", {"display_name": "Писар"})
    assert (await manage(city, "GET", "/api/v1/agents/scribe/tokens")).content == [], "it begins anew"


# --- all at once --------------------------------------------------------------------------------------


async def test_patch_changes_given_fields_of_agent(city: InProcessCity) -> None:
    await lay_over(city, REGISTRY)
    before = await city.get("/api/v1/agents/varta", token=ADMIN_TOKEN)
    patched = await manage(city, "PATCH", "/api/v1/agents/varta", {"title": "Вартова", "avatar": "", "rooms": None})
    assert patched.status == 200
    assert patched.content["title"] == "Вартова"
    changed = {"title", "avatar"}
    after = await city.get("/api/v1/agents/varta", token=ADMIN_TOKEN)
    assert {key for key in before if before[key] != after[key]} <= changed
    rooms = await manage(city, "PATCH", "/api/v1/agents/varta", {"rooms": ["builders"], "node_role": ""})
    assert (rooms.content["rooms"], rooms.content["title"]) == (["builders"], "Вартова")


async def test_patch_of_agent_refuses_others_and_bad_fields(city: InProcessCity) -> None:
    await lay_over(city, REGISTRY)
    path = "/api/v1/agents/varta"
    before = await city.get(path)
    bad: list[Any] = [
        {"display_name": ""},
        {"color": "red"},
        {"avatar": "file.png"},
        {"rooms": ["Не та"]},
        {"title": 5},
        [],
    ]
    for content in bad:
        assert (await manage(city, "PATCH", path, content)).status in {400, 422}, content
    for token, status in ((None, 401), (citizen_token("u_1"), 403), (SERVICE_TOKEN, 403)):
        assert (await city.call("PATCH", path, {"title": "x"}, token=token)).status == status
    assert (await manage(city, "PATCH", "/api/v1/agents/nobody", {"title": "x"})).status == 404
    assert await city.get(path) == before


async def test_concurrent_patches_of_agent_are_both_kept(city: InProcessCity) -> None:
    await lay_over(city, REGISTRY)
    changes = [{"title": "Вартова"}, {"kind": "guard"}, {"color": "#123456"}, {"display_name": "Вартова міста"}]
    results = await asyncio.gather(*(manage(city, "PATCH", "/api/v1/agents/varta", each) for each in changes))
    assert {each.status for each in results} == {200}
    agent = await city.get("/api/v1/agents/varta")
    for change in changes:
        assert change.items() <= agent.items()
