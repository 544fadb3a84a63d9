"""The routes of agents: list, presence and heartbeats, and heartbeats of citizens."""

from __future__ import annotations

from tests.parts.api import (
    HEARTBEAT,
    OKSANA,
)
from tests.parts.city import citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity


async def test_agent_presence_has_documented_fields(sqlite_city: InProcessCity) -> None:
    before = {
        "agent_id": "scribe",
        "display_name": "Писар",
        "matrix_user_id": "@agent_scribe:city.localhost",
        "presence": "offline",
        "last_active_ago_ms": None,
        "status_msg": None,
    }
    assert await sqlite_city.get("/api/v1/agents/scribe/presence") == before

    token = await sqlite_city.agent_token("scribe")
    beat = await sqlite_city.call("POST", HEARTBEAT, {"status_msg": "слухаю", "session_id": "1"}, token=token)

    after = await sqlite_city.get("/api/v1/agents/scribe/presence")
    assert 0 <= after.pop("last_active_ago_ms") < 10_000
    assert after.items() <= (before | {"presence": "online", "status_msg": "слухаю"}).items()
    assert beat.content.keys() == before.keys() | {"next_heartbeat_ms", "expires_in_ms"}
    assert (beat.content["next_heartbeat_ms"], beat.content["expires_in_ms"]) == (20_000, 40_000)


async def test_agent_heartbeat_keeps_or_clears_status_text(sqlite_city: InProcessCity) -> None:
    token = await sqlite_city.agent_token("scribe")
    results = []
    for content in ({"status_msg": "слухаю"}, ..., {}, {"status": "away"}, {"status_msg": None}, {"status": "offline"}):
        answer = await sqlite_city.call("POST", HEARTBEAT, content, token=token)
        results.append((answer.content["presence"], answer.content["status_msg"], answer.content["next_heartbeat_ms"]))
    assert results == [
        ("online", "слухаю", 20_000),
        ("online", "слухаю", 20_000),
        ("online", "слухаю", 20_000),
        ("away", "слухаю", 20_000),
        ("online", None, 20_000),
        ("offline", None, None),
    ]


async def test_agent_list_is_filtered(sqlite_city: InProcessCity) -> None:
    await sqlite_city.call("POST", HEARTBEAT, {}, token=SERVICE_TOKEN)
    agents = {agent["slug"]: agent for agent in await sqlite_city.get("/api/v1/agents")}
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
        assert [agent["slug"] for agent in await sqlite_city.get(f"/api/v1/agents?{query}")] == slugs, query


async def test_citizen_heartbeat_combines_sessions(city: InProcessCity) -> None:
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


async def test_citizen_heartbeat_keeps_or_clears_status_text(sqlite_city: InProcessCity) -> None:
    results = [{"status_msg": "на Подолі"}, {}, {"status_msg": None}]
    answers = [await sqlite_city.call("POST", "/api/v1/presence/heartbeat", each, token=OKSANA) for each in results]
    assert [each.content["status_msg"] for each in answers] == ["на Подолі", "на Подолі", None]


async def test_presence_of_500_long_ids_is_posted(sqlite_city: InProcessCity) -> None:
    ids = [f"@{'x' * 230}{number}:city.localhost" for number in range(500)]
    answer = await sqlite_city.call("POST", "/api/v1/presence", {"ids": ids})
    assert answer.status == 200
    assert [each["user_id"] for each in answer.content["presences"]] == ids
    for bad in ([], ["u_1"] * 501, ["x" * 256], [""], "u_1", [5]):
        assert (await sqlite_city.call("POST", "/api/v1/presence", {"ids": bad})).status == 422
