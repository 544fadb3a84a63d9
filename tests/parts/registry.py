"""Requests of an administrator to the routes of the registry."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from daarion_appservice.http import schemas
from tests.parts.city import ADMIN_TOKEN
from tests.parts.in_process_city import HttpResponse, InProcessCity

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
