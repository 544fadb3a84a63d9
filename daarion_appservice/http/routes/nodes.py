"""The routes ``/api/v1/nodes``, ``/microdaos`` and ``/districts``: the places of the registry and their agents."""

from __future__ import annotations

from typing import Final

from pydantic import Field, TypeAdapter

from ...city.places import GUARDIAN, ORCHESTRATOR, STEWARD, Place, PlaceKind
from ...city.presence import Status
from ...city.registry import Description
from ...city.types import agent_subject
from ...config.values import PlaceId
from .. import schemas_registry
from ..auth.principals import Access
from ..routing import Body, Call, NoBody, NoContent, NoQuery, ResponseSpec, endpoint
from ..views import JSON, agent_presence, agent_view
from .registry_parts import RegistryParts, checked, counting

_PLACE_ID: Final[TypeAdapter[str]] = TypeAdapter(PlaceId)


class PutDistrict(Body):
    name: str = Field("", max_length=255, description="Its name; left out: its id.", examples=["Поділ"])


class PutPlace(PutDistrict):
    description: str = Field("", max_length=2000, description="What it is.", examples=["Перший вузол міста"])
    district: str = Field("", max_length=255, description="The district that it lies in.", examples=["podil"])


class PlaceRoutes:
    """Routes of nodes, microDAOs and districts."""

    def __init__(self, parts: RegistryParts) -> None:
        self._keeper = parts.keeper
        self._registry = parts.registry
        self._places = parts.places
        self._presence = parts.presence
        self._pictures = parts.pictures
        self._identities = parts.identities
        self._now_ms = parts.steady_ms

    @endpoint(
        "GET",
        "/api/v1/nodes",
        who=Access.READERS,
        summary="The city's nodes",
        answer=list[schemas_registry.Node],
    )
    async def list_nodes(self, _call: Call[NoBody, NoQuery]) -> list[JSON]:
        """In the order of their ids. A node is there as soon as somebody describes it, or an agent lives on it."""
        return [self._node(node) for node in self._places.all(PlaceKind.NODE)]

    @endpoint(
        "GET",
        "/api/v1/nodes/{node_id}",
        who=Access.READERS,
        summary="A node and its agents",
        answer=schemas_registry.NodeDetails,
        errors=("no_such_node",),
    )
    async def show_node(self, call: Call[NoBody, NoQuery]) -> JSON:
        """Of several agents with the same role, the first by slug is shown as its holder."""
        node = self._places.find(PlaceKind.NODE, call.path["node_id"])
        return self._node(node) | await self._residents(node)

    @endpoint(
        "GET",
        "/api/v1/microdaos",
        who=Access.READERS,
        summary="The city's microDAOs",
        answer=list[schemas_registry.MicroDao],
    )
    async def list_microdaos(self, _call: Call[NoBody, NoQuery]) -> list[JSON]:
        """In the order of their slugs."""
        return [self._microdao(microdao) for microdao in self._places.all(PlaceKind.MICRODAO)]

    @endpoint(
        "GET",
        "/api/v1/microdaos/{microdao}",
        who=Access.READERS,
        summary="A microDAO and its agents",
        answer=schemas_registry.MicroDaoDetails,
        errors=("no_such_microdao",),
    )
    async def show_microdao(self, call: Call[NoBody, NoQuery]) -> JSON:
        microdao = self._places.find(PlaceKind.MICRODAO, call.path["microdao"])
        return self._microdao(microdao) | await self._residents(microdao)

    @endpoint(
        "GET",
        "/api/v1/districts",
        who=Access.READERS,
        summary="The city's districts",
        answer=list[schemas_registry.District],
    )
    async def list_districts(self, _call: Call[NoBody, NoQuery]) -> list[JSON]:
        """In the order of their ids."""
        return [self._district(district) for district in self._places.all(PlaceKind.DISTRICT)]

    @endpoint(
        "PUT",
        "/api/v1/nodes/{node_id}",
        who=Access.ADMINS,
        body=PutPlace,
        summary="Describe a node",
        answer=schemas_registry.Node,
        also={201: "It is new."},
    )
    async def put_node(self, call: Call[PutPlace, NoQuery]) -> ResponseSpec:
        """As a whole: what is left out becomes empty."""
        node = _place(PlaceKind.NODE, call.path["node_id"], call.body.name, call.body.description, call.body.district)
        node, status = await self._put(node)
        return ResponseSpec(self._node(node), status)

    @endpoint(
        "PUT",
        "/api/v1/microdaos/{microdao}",
        who=Access.ADMINS,
        body=PutPlace,
        summary="Describe a microDAO",
        answer=schemas_registry.MicroDao,
        also={201: "It is new."},
    )
    async def put_microdao(self, call: Call[PutPlace, NoQuery]) -> ResponseSpec:
        """As a whole: what is left out becomes empty."""
        body = call.body
        microdao = _place(PlaceKind.MICRODAO, call.path["microdao"], body.name, body.description, body.district)
        microdao, status = await self._put(microdao)
        return ResponseSpec(self._microdao(microdao), status)

    @endpoint(
        "PUT",
        "/api/v1/districts/{district_id}",
        who=Access.ADMINS,
        body=PutDistrict,
        summary="Name a district",
        answer=schemas_registry.District,
        also={201: "It is new."},
    )
    async def put_district(self, call: Call[PutDistrict, NoQuery]) -> ResponseSpec:
        district = _place(PlaceKind.DISTRICT, call.path["district_id"], call.body.name)
        district, status = await self._put(district)
        return ResponseSpec(self._district(district), status)

    @endpoint(
        "DELETE",
        "/api/v1/nodes/{node_id}",
        who=Access.ADMINS,
        status=204,
        summary="Remove a node",
        answer=NoContent,
        errors=("no_such_node", "place_in_use"),
    )
    async def delete_node(self, call: Call[NoBody, NoQuery]) -> None:
        await self._remove(PlaceKind.NODE, call.path["node_id"])

    @endpoint(
        "DELETE",
        "/api/v1/microdaos/{microdao}",
        who=Access.ADMINS,
        status=204,
        summary="Remove a microDAO",
        answer=NoContent,
        errors=("no_such_microdao", "place_in_use"),
    )
    async def delete_microdao(self, call: Call[NoBody, NoQuery]) -> None:
        await self._remove(PlaceKind.MICRODAO, call.path["microdao"])

    @endpoint(
        "DELETE",
        "/api/v1/districts/{district_id}",
        who=Access.ADMINS,
        status=204,
        summary="Remove a district",
        answer=NoContent,
        errors=("no_such_district", "place_in_use"),
    )
    async def delete_district(self, call: Call[NoBody, NoQuery]) -> None:
        await self._remove(PlaceKind.DISTRICT, call.path["district_id"])

    async def _put(self, place: Place) -> tuple[Place, int]:
        """Store a place and return it as stored, with the HTTP status of the response."""
        described = Description(places={place.kind: (place,)})
        differences = await counting(self._registry, self._keeper.merge(described))
        status = 201 if any(part.added for part in differences.values()) else 200
        return self._places.find(place.kind, place.id), status

    async def _remove(self, kind: PlaceKind, place_id: str) -> None:
        await counting(self._registry, self._keeper.remove_place(kind, place_id))

    def _node(self, node: Place) -> JSON:
        return {
            "id": node.id,
            **self._place(node),
            "guardian": self._holder(node, GUARDIAN),
            "steward": self._holder(node, STEWARD),
        }

    def _microdao(self, microdao: Place) -> JSON:
        return {"slug": microdao.id, **self._place(microdao), "orchestrator": self._holder(microdao, ORCHESTRATOR)}

    def _district(self, district: Place) -> JSON:
        return {
            "id": district.id,
            "name": district.name,
            **self._counts(district),
            "nodes": [node.id for node in self._places.within(PlaceKind.NODE, district.id)],
            "microdaos": [microdao.id for microdao in self._places.within(PlaceKind.MICRODAO, district.id)],
        }

    def _place(self, place: Place) -> JSON:
        return {
            "name": place.name,
            "description": place.description,
            "district": place.district or None,
            **self._counts(place),
        }

    def _counts(self, place: Place) -> JSON:
        agents = self._places.agents_of(place)
        online = [
            agent for agent in agents if self._presence.state(agent_subject(agent.slug)).status is not Status.OFFLINE
        ]
        return {"agents_total": len(agents), "agents_online": len(online)}

    def _holder(self, place: Place, role: str) -> JSON | None:
        agent = self._places.holder(place, role)
        if agent is None:
            return None
        return agent_presence(agent, self._presence.state(agent_subject(agent.slug)), self._identities, self._now_ms())

    async def _residents(self, place: Place) -> JSON:
        now_ms = self._now_ms()
        pictures = await self._pictures.all()
        return {
            "agents": [
                agent_view(
                    agent,
                    self._presence.state(agent_subject(agent.slug)),
                    self._places,
                    self._identities,
                    now_ms,
                    pictures,
                )
                for agent in self._places.agents_of(place)
            ]
        }


def _place(kind: PlaceKind, place_id: str, name: str, description: str = "", district: str = "") -> Place:
    checked(_PLACE_ID, place_id, "id")
    return Place(kind, place_id, name or place_id, description, district)
