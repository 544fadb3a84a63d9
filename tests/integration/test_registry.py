"""Tests of the routes of nodes, microDAOs, districts, agents, tokens and imports."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import TypeAdapter

from daarion_appservice.city.events import RegistryChanged
from daarion_appservice.city.presence import Heartbeat
from daarion_appservice.city.types import AgentSlug, agent_subject
from daarion_appservice.http import schemas
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN, HttpResponse, InProcessCity

IMPORT = "/api/v1/registry/import"
REGISTRY: dict[str, list[dict[str, Any]]] = {
    "districts": [{"id": "podil", "name": "Поділ"}],
    "nodes": [{"id": "node-1", "name": "Вузол", "description": "Перший", "district": "podil"}],
    "microdaos": [{"slug": "daarion", "name": "DAARION"}],
    "agents": [
        {"slug": "hospodar", "display_name": "Господар", "node_id": "node-1", "role": "steward", "kind": "steward"},
        {
            "slug": "varta",
            "display_name": "Варта",
            "node_id": "node-1",
            "node_role": "guardian",
            "microdao": "daarion",
            "microdao_role": "scribe",
            "color": "#0f766e",
            "avatar": "mxc://city.localhost/varta",
        },
    ],
}


async def manage(city: InProcessCity, method: str, path: str, content: Any = ...) -> HttpResponse:
    return await city.call(method, path, content, token=ADMIN_TOKEN)


async def lay_over(city: InProcessCity, content: Any, query: str = "") -> Any:
    answer = await manage(city, "POST", IMPORT + query, content)
    assert answer.status == 200, answer
    return TypeAdapter(schemas.ImportResult).validate_python(answer.content)


async def slugs(city: InProcessCity, query: str = "") -> list[str]:
    return [agent["slug"] for agent in await city.get(f"/api/v1/agents{query}")]


# --- reading ------------------------------------------------------------------------------------------


async def test_places_list_agents_and_role_holders(city: InProcessCity) -> None:
    await lay_over(city, REGISTRY)
    await city.city.presence.record_heartbeat([Heartbeat(agent_subject(AgentSlug("varta")))])

    [node] = await city.get("/api/v1/nodes")
    TypeAdapter(schemas.Node).validate_python(node, strict=False)
    assert (node["id"], node["name"], node["description"], node["district"]) == ("node-1", "Вузол", "Перший", "podil")
    assert (node["agents_total"], node["agents_online"]) == (3, 1), "scribe of the configuration lives there, too"
    assert (node["guardian"]["agent_id"], node["guardian"]["presence"]) == ("scribe", "offline")
    assert node["steward"]["matrix_user_id"] == "@agent_hospodar:city.localhost"

    details = await city.get("/api/v1/nodes/node-1")
    TypeAdapter(schemas.NodeDetails).validate_python(details)
    assert [(each["slug"], each["presence"]) for each in details["agents"]] == [
        ("hospodar", "offline"),
        ("scribe", "offline"),
        ("varta", "online"),
    ]
    assert node.items() <= details.items()

    microdao = await city.get("/api/v1/microdaos/daarion")
    TypeAdapter(schemas.MicroDaoDetails).validate_python(microdao)
    assert microdao["orchestrator"]["agent_id"] == "daarwizz"
    assert [each["slug"] for each in microdao["agents"]] == ["daarwizz", "varta"]
    assert [each["slug"] for each in await city.get("/api/v1/microdaos")] == ["daarion"]

    [district] = await city.get("/api/v1/districts")
    TypeAdapter(schemas.District).validate_python(district)
    assert (district["nodes"], district["microdaos"], district["agents_total"]) == (["node-1"], [], 3)

    varta = await city.get("/api/v1/agents/varta")
    TypeAdapter(schemas.Agent).validate_python(varta)
    described: dict[str, str | None] = {
        "node_role": "guardian",
        "microdao_role": "scribe",
        "role": "guardian",
        "district": "podil",
    }
    described |= {"kind": None, "color": "#0f766e", "avatar": "mxc://city.localhost/varta"}
    assert described.items() <= varta.items()

    for path in ("nodes/nowhere", "microdaos/nobody"):
        assert (await city.call("GET", f"/api/v1/{path}")).status == 404


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


# --- who may ------------------------------------------------------------------------------------------

CHANGES = [
    ("PUT", "/api/v1/agents/new", {"display_name": "New"}),
    ("DELETE", "/api/v1/agents/scribe", ...),
    ("POST", "/api/v1/agents/scribe/tokens", ...),
    ("GET", "/api/v1/agents/scribe/tokens", ...),
    ("DELETE", "/api/v1/agents/scribe/tokens/x", ...),
    ("POST", "/api/v1/agents/scribe/tokens/rotate", ...),
    ("GET", "/api/v1/deliveries", ...),
    ("POST", "/api/v1/deliveries/retry", {}),
    ("GET", "/api/v1/dead-letters", ...),
    ("POST", "/api/v1/dead-letters/retry", {}),
    ("GET", "/api/v1/encryption", ...),
    ("POST", "/api/v1/agents/scribe/encryption/reset", ...),
    *((method, f"/api/v1/{part}/x", {} if method == "PUT" else ...)
      for part in ("nodes", "microdaos", "districts") for method in ("PUT", "DELETE")),
    ("POST", IMPORT, REGISTRY),
]  # fmt: skip


async def test_changes_are_for_admins_only(sqlite_city: InProcessCity) -> None:
    before = await sqlite_city.get("/api/v1/agents")
    strangers = [None, citizen_token("u_1"), citizen_token("u_2", role="mayor"), SERVICE_TOKEN]
    strangers.append(await sqlite_city.agent_token("scribe"))
    for method, path, content in CHANGES:
        for token in strangers:
            answer = await sqlite_city.call(method, path, content, token=token)
            assert answer.status == (403 if token else 401), (method, path, token)
    assert await sqlite_city.get("/api/v1/agents") == before
    assert await sqlite_city.get("/api/v1/districts") == []
    answer = await sqlite_city.call("PUT", "/api/v1/nodes/x", {}, token=citizen_token("u_3", role="admin"))
    assert answer.status == 201


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


# --- places -------------------------------------------------------------------------------------------


async def test_names_with_bidi_characters_are_normalised(city: InProcessCity) -> None:
    agent = {"display_name": "На\u202eу\nка", "title": "\u2066T"}
    answer = await manage(city, "PUT", "/api/v1/agents/new", agent)
    assert (answer.content["display_name"], answer.content["title"]) == ("Нау ка", "T")
    answer = await manage(city, "PUT", "/api/v1/agents/new", {"display_name": "\u202e"})
    assert answer.content["display_name"] == "new"
    for path in ("nodes", "microdaos", "districts"):
        answer = await manage(city, "PUT", f"/api/v1/{path}/one", {"name": "На\u202eу\nка"})
        assert answer.content["name"] == "Нау ка", path
    again = await manage(
        city, "POST", "/api/v1/registry/import", {"agents": [{"slug": "new", "display_name": "\u202e"}]}
    )
    assert again.content["agents"]["unchanged"] == 1


async def test_place_in_use_cannot_be_deleted(city: InProcessCity) -> None:
    for part, agent in (
        ("districts", {"name": "Поділ"}),
        ("nodes", {"district": "x"}),
        ("microdaos", {"district": "x"}),
    ):
        path = f"/api/v1/{part}/x"
        answer = await manage(city, "PUT", path, agent)
        assert answer.status == 201, answer
        assert (await manage(city, "PUT", path, agent)).status == 200
        assert answer.content["name"] == agent.get("name", "x")
        assert answer.content in await city.get(f"/api/v1/{part}") or part == "districts"

    await manage(city, "PUT", "/api/v1/agents/new", {"display_name": "x", "node_id": "x", "microdao": "x"})
    for part, who in (("districts", "x, x"), ("nodes", "new"), ("microdaos", "new")):
        answer = await manage(city, "DELETE", f"/api/v1/{part}/x")
        assert (answer.status, answer.content["code"]) == (409, "entry_in_use")
        assert f"used by {who}" in answer.content["detail"]

    await manage(city, "DELETE", "/api/v1/agents/new")
    for part in ("nodes", "microdaos", "districts"):
        assert (await manage(city, "DELETE", f"/api/v1/{part}/x")).status == 204
        assert (await manage(city, "DELETE", f"/api/v1/{part}/x")).status == 404
        assert "x" not in [each.get("id", each.get("slug")) for each in await city.get(f"/api/v1/{part}")]


async def test_place_name_may_have_any_characters(sqlite_city: InProcessCity) -> None:
    assert (await manage(sqlite_city, "PUT", "/api/v1/nodes/%D0%92%D1%83%D0%B7%D0%BE%D0%BB%201", {})).status == 201
    assert (await sqlite_city.get("/api/v1/nodes/%D0%92%D1%83%D0%B7%D0%BE%D0%BB%201"))["name"] == "Вузол 1"
    for name in ("a%2Fb", "%20a", "a%0A", "a" * 256):
        answer = await manage(sqlite_city, "PUT", f"/api/v1/nodes/{name}", {})
        assert (answer.status, answer.content["errors"][0]["field"]) == (422, "id"), name


# --- all at once --------------------------------------------------------------------------------------


async def test_import_writes_only_differences(city: InProcessCity) -> None:
    published: list[RegistryChanged] = []
    city.city.bus.subscribe(RegistryChanged, published.append)
    first = await lay_over(city, REGISTRY)
    assert first["agents"] == {"added": 2, "changed": 0, "unchanged": 0, "removed": 0}
    assert first["nodes"] == first["microdaos"] == first["districts"] == {
        "added": 1, "changed": 0, "unchanged": 0, "removed": 0,
    }  # fmt: skip
    assert len(published) == 1, "one change, however much is in it"

    again = await lay_over(city, REGISTRY)
    assert again["agents"] == {"added": 0, "changed": 0, "unchanged": 2, "removed": 0}
    assert len(published) == 1

    [hospodar, varta] = REGISTRY["agents"]
    changed = await lay_over(city, {"agents": [hospodar | {"title": "Дбає"}, varta]}, "?remove_missing=true")
    assert changed["agents"] == {"added": 0, "changed": 1, "unchanged": 1, "removed": 2}
    assert changed["nodes"]["removed"] == 0, "of nodes nothing was said"
    assert await slugs(city) == ["hospodar", "varta"]


async def test_import_of_1000_agents_is_one_change(city: InProcessCity) -> None:
    published: list[RegistryChanged] = []
    city.city.bus.subscribe(RegistryChanged, published.append)
    many = [{"slug": f"a{number:04}", "display_name": f"Агент {number}", "node_id": "n"} for number in range(1000)]
    assert (await lay_over(city, {"agents": many}))["agents"]["added"] == 1000
    assert len(published) == 1
    assert (await city.get("/api/v1/nodes/n"))["agents_total"] == 1000
    assert await slugs(city, "?node_id=n&limit=3&offset=997") == ["a0997", "a0998", "a0999"]
    assert (await lay_over(city, {"agents": []}, "?remove_missing=1"))["agents"]["removed"] == 1002
    assert await slugs(city) == []


async def test_invalid_import_is_atomic_and_lists_errors(sqlite_city: InProcessCity) -> None:
    wrong = REGISTRY | {"agents": [*REGISTRY["agents"], {"slug": "B"}, {"slug": "varta", "display_name": "x"}]}
    answer = await manage(sqlite_city, "POST", IMPORT, wrong)
    assert (answer.status, answer.content["code"]) == (422, "invalid")
    described = [error["field"] for error in answer.content["errors"]]
    assert described == ["agents[2].display_name", "agents[2].slug", "agents[3].slug"]
    for content in (
        {"agents": 5},
        {"nodes": None},
        {"agents": [{"slug": "a", "display_name": "A", "avatar": "a.png"}]},
    ):
        assert (await manage(sqlite_city, "POST", IMPORT, content)).status == 422, content
    assert await slugs(sqlite_city) == ["daarwizz", "scribe"]
    assert await sqlite_city.get("/api/v1/districts") == []


async def test_import_cannot_remove_place_in_use(city: InProcessCity) -> None:
    await lay_over(city, REGISTRY)
    answer = await manage(city, "POST", f"{IMPORT}?remove_missing=true", {"districts": [], "agents": []})
    assert (answer.status, answer.content["code"]) == (409, "entry_in_use")
    assert len(await slugs(city)) == 4
    gone = await lay_over(city, {part: [] for part in REGISTRY}, "?remove_missing=true")
    assert [gone[part]["removed"] for part in REGISTRY] == [1, 1, 1, 4]


async def test_concurrent_changes_keep_registry_consistent(city: InProcessCity) -> None:
    async def change(number: int) -> int:
        slug, agent = f"a{number % 3}", {"display_name": str(number), "node_id": f"n{number % 2}"}
        if number % 4 == 3:
            return (await manage(city, "DELETE", f"/api/v1/agents/{slug}")).status
        return (await manage(city, "PUT", f"/api/v1/agents/{slug}", agent)).status

    statuses = await asyncio.gather(*(change(number) for number in range(24)))
    assert set(statuses) <= {200, 201, 204, 404}
    async with city.city.database.read_only() as tx:
        stored = [agent.slug for agent in await tx.agents.all()]
        removed = {each.slug for each in await tx.removed_agents.all()}
    assert sorted(stored) == await slugs(city)
    assert not removed & set(stored), "nobody is there and gone"


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
