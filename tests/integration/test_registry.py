"""Tests of the routes of nodes, microDAOs, districts and imports."""

from __future__ import annotations

import asyncio

from pydantic import TypeAdapter

from daarion_appservice.city.events import RegistryChanged
from daarion_appservice.city.presence import Heartbeat
from daarion_appservice.city.types import AgentSlug, agent_subject
from daarion_appservice.http import schemas
from tests.parts.city import citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity
from tests.parts.registry import IMPORT, REGISTRY, lay_over, manage, slugs

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
