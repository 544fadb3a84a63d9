"""The routes ``/api/v1/nodes``, ``/microdaos`` and ``/districts``: the places of the registry and their agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field, TypeAdapter

from ...city.places import GUARDIAN, ORCHESTRATOR, STEWARD, Place, PlaceDirectory, PlaceKind
from ...city.ports import PresenceStore
from ...city.presence import Status
from ...city.registry import Description
from ...city.types import agent_subject
from ...config.values import PlaceId
from .. import schemas
from ..agent_views import AgentViews
from ..auth.principals import Access
from ..registry_writer import RegistryWriter
from ..routing import Body, Call, NoBody, NoContent, NoQuery, ResponseSpec, endpoint
from ..validation import validate_parameter

_PLACE_ID: Final[TypeAdapter[str]] = TypeAdapter(PlaceId)


class PutDistrict(Body):
    """The definition of a district."""

    name: str = Field("", max_length=255, description="The name; default: the id.", examples=["Поділ"])


class PutPlace(PutDistrict):
    """The definition of a node or microDAO; a field that is missing becomes empty."""

    description: str = Field("", max_length=2000, description="The description.", examples=["Перший вузол міста"])
    district: str = Field("", max_length=255, description="The district id.", examples=["podil"])


@dataclass(frozen=True, slots=True)
class PlaceRoutes:
    """Routes of nodes, microDAOs and districts."""

    registry: RegistryWriter
    places: PlaceDirectory
    presence: PresenceStore
    views: AgentViews

    @endpoint(
        "GET",
        "/api/v1/nodes",
        access=Access.READERS,
        summary="List nodes",
        response=list[schemas.Node],
    )
    async def list_nodes(self, _call: Call[NoBody, NoQuery]) -> list[schemas.Node]:
        """Returns all nodes, ordered by id: those that are defined, and those that an agent names as its node."""
        return [self._node(node) for node in self.places.all(PlaceKind.NODE)]

    @endpoint(
        "GET",
        "/api/v1/nodes/{node_id}",
        access=Access.READERS,
        summary="Get a node with its agents",
        response=schemas.NodeDetails,
        errors=("no_such_node",),
    )
    async def get_node(self, call: Call[NoBody, NoQuery]) -> schemas.NodeDetails:
        node = self.places.find(PlaceKind.NODE, call.path["node_id"])
        return {**self._node(node), "agents": await self._agents_of(node)}

    @endpoint(
        "GET",
        "/api/v1/microdaos",
        access=Access.READERS,
        summary="List microDAOs",
        response=list[schemas.MicroDao],
    )
    async def list_microdaos(self, _call: Call[NoBody, NoQuery]) -> list[schemas.MicroDao]:
        """Returns all microDAOs, ordered by slug: those that are defined, and those that an agent names as its microDAO."""
        return [self._microdao(microdao) for microdao in self.places.all(PlaceKind.MICRODAO)]

    @endpoint(
        "GET",
        "/api/v1/microdaos/{microdao}",
        access=Access.READERS,
        summary="Get a microDAO with its agents",
        response=schemas.MicroDaoDetails,
        errors=("no_such_microdao",),
    )
    async def get_microdao(self, call: Call[NoBody, NoQuery]) -> schemas.MicroDaoDetails:
        microdao = self.places.find(PlaceKind.MICRODAO, call.path["microdao"])
        return {**self._microdao(microdao), "agents": await self._agents_of(microdao)}

    @endpoint(
        "GET",
        "/api/v1/districts",
        access=Access.READERS,
        summary="List districts",
        response=list[schemas.District],
    )
    async def list_districts(self, _call: Call[NoBody, NoQuery]) -> list[schemas.District]:
        """Returns all districts, ordered by id."""
        return [self._district(district) for district in self.places.all(PlaceKind.DISTRICT)]

    @endpoint(
        "PUT",
        "/api/v1/nodes/{node_id}",
        access=Access.ADMINS,
        body=PutPlace,
        summary="Create or replace a node",
        response=schemas.Node,
        other_statuses={201: "Created"},
    )
    async def put_node(self, call: Call[PutPlace, NoQuery]) -> ResponseSpec:
        """A field that is missing becomes empty."""
        node = _place(PlaceKind.NODE, call.path["node_id"], call.body.name, call.body.description, call.body.district)
        node, status = await self._put(node)
        return ResponseSpec(self._node(node), status)

    @endpoint(
        "PUT",
        "/api/v1/microdaos/{microdao}",
        access=Access.ADMINS,
        body=PutPlace,
        summary="Create or replace a microDAO",
        response=schemas.MicroDao,
        other_statuses={201: "Created"},
    )
    async def put_microdao(self, call: Call[PutPlace, NoQuery]) -> ResponseSpec:
        """A field that is missing becomes empty."""
        body = call.body
        microdao = _place(PlaceKind.MICRODAO, call.path["microdao"], body.name, body.description, body.district)
        microdao, status = await self._put(microdao)
        return ResponseSpec(self._microdao(microdao), status)

    @endpoint(
        "PUT",
        "/api/v1/districts/{district_id}",
        access=Access.ADMINS,
        body=PutDistrict,
        summary="Create or replace a district",
        response=schemas.District,
        other_statuses={201: "Created"},
    )
    async def put_district(self, call: Call[PutDistrict, NoQuery]) -> ResponseSpec:
        district = _place(PlaceKind.DISTRICT, call.path["district_id"], call.body.name)
        district, status = await self._put(district)
        return ResponseSpec(self._district(district), status)

    @endpoint(
        "DELETE",
        "/api/v1/nodes/{node_id}",
        access=Access.ADMINS,
        status=204,
        summary="Delete a node",
        response=NoContent,
        errors=("no_such_node", "entry_in_use"),
    )
    async def delete_node(self, call: Call[NoBody, NoQuery]) -> None:
        """A node that an agent names as its node cannot be deleted."""
        await self.registry.remove_place(PlaceKind.NODE, call.path["node_id"])

    @endpoint(
        "DELETE",
        "/api/v1/microdaos/{microdao}",
        access=Access.ADMINS,
        status=204,
        summary="Delete a microDAO",
        response=NoContent,
        errors=("no_such_microdao", "entry_in_use"),
    )
    async def delete_microdao(self, call: Call[NoBody, NoQuery]) -> None:
        """A microDAO that an agent names as its microDAO cannot be deleted."""
        await self.registry.remove_place(PlaceKind.MICRODAO, call.path["microdao"])

    @endpoint(
        "DELETE",
        "/api/v1/districts/{district_id}",
        access=Access.ADMINS,
        status=204,
        summary="Delete a district",
        response=NoContent,
        errors=("no_such_district", "entry_in_use"),
    )
    async def delete_district(self, call: Call[NoBody, NoQuery]) -> None:
        """A district with agents, nodes or microDAOs cannot be deleted."""
        await self.registry.remove_place(PlaceKind.DISTRICT, call.path["district_id"])

    async def _put(self, place: Place) -> tuple[Place, int]:
        """Store a place and return it as stored, with the HTTP status of the response."""
        differences = await self.registry.merge(Description(places={place.kind: (place,)}))
        status = 201 if any(part.added for part in differences.values()) else 200
        return self.places.find(place.kind, place.id), status

    def _node(self, node: Place) -> schemas.Node:
        return {
            "id": node.id,
            **self._place(node),
            "guardian": self._holder(node, GUARDIAN),
            "steward": self._holder(node, STEWARD),
        }

    def _microdao(self, microdao: Place) -> schemas.MicroDao:
        return {"slug": microdao.id, **self._place(microdao), "orchestrator": self._holder(microdao, ORCHESTRATOR)}

    def _district(self, district: Place) -> schemas.District:
        return {
            "id": district.id,
            "name": district.name,
            **self._counts(district),
            "nodes": [node.id for node in self.places.within(PlaceKind.NODE, district.id)],
            "microdaos": [microdao.id for microdao in self.places.within(PlaceKind.MICRODAO, district.id)],
        }

    def _place(self, place: Place) -> schemas.Place:
        return {
            "name": place.name,
            "description": place.description,
            "district": place.district or None,
            **self._counts(place),
        }

    def _counts(self, place: Place) -> schemas.PlaceCounts:
        agents = self.places.agents_of(place)
        online = [
            agent for agent in agents if self.presence.state(agent_subject(agent.slug)).status is not Status.OFFLINE
        ]
        return {"agents_total": len(agents), "agents_online": len(online)}

    def _holder(self, place: Place, role: str) -> schemas.AgentPresence | None:
        agent = self.places.holder(place, role)
        return self.views.presence_of(agent) if agent else None

    async def _agents_of(self, place: Place) -> list[schemas.Agent]:
        return await self.views.many(self.places.agents_of(place))


def _place(kind: PlaceKind, place_id: str, name: str, description: str = "", district: str = "") -> Place:
    validate_parameter(_PLACE_ID, place_id, "id")
    return Place(kind, place_id, name or place_id, description, district)
