"""The routes ``/api/v1/agents/…`` and ``/api/v1/registry/import``, with which admins edit agents and the registry.

A change takes effect in this process before the response, and in the other processes of the city within two seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field, TypeAdapter

from ...city.agents import AgentDirectory
from ...city.registry import Description, Difference
from ...city.types import Agent, AgentSlug
from ...config.registry_file import RegistryErrors, entry_description_of, read
from ...config.values import Color, Mxc, Slug
from .. import schemas
from ..agent_views import AgentViews
from ..auth.principals import Access
from ..registry_writer import RegistryWriter
from ..routing import Body, Call, NoBody, NoContent, NoQuery, Query, ResponseSpec, endpoint
from ..validation import ValidationErrors, validate_parameter

_SLUG: Final[TypeAdapter[str]] = TypeAdapter(Slug)


class PutAgent(Body):
    """The definition of an agent; a field that is missing becomes empty."""

    display_name: str = Field(min_length=1, max_length=255, description="The display name.", examples=["Літопис"])
    title: str = Field("", max_length=255, description="The title.", examples=["Літописець міста"])
    kind: str = Field("", max_length=255, description="The kind of agent.", examples=["assistant"])
    avatar: Mxc = Field("", description="The `mxc://` URI of the avatar.", examples=["mxc://daarion.space/litopys"])
    color: Color = Field("", description="The color, `#rrggbb`.", examples=["#3b82f6"])
    node_id: str = Field("", max_length=255, description="The node on which the agent runs.", examples=["node-kyiv-1"])
    node_role: str = Field("", max_length=255, description="The role on the node.", examples=["guardian"])
    microdao: str = Field("", max_length=255, description="The slug of the microDAO.", examples=["daarion"])
    microdao_role: str = Field("", max_length=255, description="The role in the microDAO.", examples=["scribe"])
    role: str = Field(
        "",
        max_length=255,
        description="A shorthand for the two roles: `guardian` and `steward` are roles on the node, `orchestrator` is a role in "
        "the microDAO, any other role is both.",
        examples=["scribe"],
    )
    district: str = Field(
        "",
        max_length=255,
        description="The district id; default: that of the node, otherwise that of the microDAO.",
        examples=["podil"],
    )
    rooms: list[Slug] = Field(
        ["general"],
        max_length=1000,
        description="The slugs of the agent's rooms, which it joins.",
        examples=[["general", "podil"]],
    )


class PatchAgent(Body):
    """The changes of an agent; a field that is missing or `null` does not change."""

    display_name: str | None = Field(
        None, min_length=1, max_length=255, description="The new display name.", examples=["Літопис"]
    )
    title: str | None = Field(None, max_length=255, description="The new title.", examples=["Літописець міста"])
    kind: str | None = Field(None, max_length=255, description="The new kind of agent.", examples=["assistant"])
    avatar: Mxc | None = Field(
        None,
        description="The `mxc://` URI of the new avatar; empty for the drawn avatar.",
        examples=["mxc://daarion.space/litopys"],
    )
    color: Color | None = Field(None, description="The new color, `#rrggbb`, or empty.", examples=["#3b82f6"])
    node_id: str | None = Field(None, max_length=255, description="The new node.", examples=["node-kyiv-1"])
    node_role: str | None = Field(None, max_length=255, description="The new role on the node.", examples=["guardian"])
    microdao: str | None = Field(
        None, max_length=255, description="The slug of the new microDAO.", examples=["daarion"]
    )
    microdao_role: str | None = Field(
        None, max_length=255, description="The new role in the microDAO.", examples=["scribe"]
    )
    role: str | None = Field(
        None, max_length=255, description="The new shorthand for the two roles.", examples=["scribe"]
    )
    district: str | None = Field(None, max_length=255, description="The id of the new district.", examples=["podil"])
    rooms: list[Slug] | None = Field(
        None, max_length=1000, description="The slugs of all rooms of the agent.", examples=[["general", "podil"]]
    )


class RegistryImport(Body):
    """Entries of the registry by part; a part that is missing does not change."""

    districts: list[Any] | None = Field(
        None, description="Districts, with `id` and `name`.", examples=[[{"id": "podil", "name": "Поділ"}]]
    )
    nodes: list[Any] | None = Field(
        None,
        description="Nodes, with `id`, `name`, `description` and `district`.",
        examples=[[{"id": "node-kyiv-1", "name": "Київ 1", "district": "podil"}]],
    )
    microdaos: list[Any] | None = Field(
        None,
        description="MicroDAOs, with `slug`, `name`, `description` and `district`.",
        examples=[[{"slug": "daarion", "name": "DAARION"}]],
    )
    agents: list[Any] | None = Field(
        None,
        description="Agents, with `slug` and the fields of `PUT /api/v1/agents/{agent_id}`.",
        examples=[[{"slug": "varta", "display_name": "Варта", "node_id": "node-kyiv-1", "node_role": "guardian"}]],
    )


class ImportQuery(Query):
    remove_missing: bool = Field(
        False, description="Whether to delete entries that are missing in the given parts.", examples=[False]
    )


@dataclass(frozen=True, slots=True)
class RegistryRoutes:
    """Routes that change agents, and the whole registry, for admins."""

    registry: RegistryWriter
    agents: AgentDirectory
    views: AgentViews

    @endpoint(
        "PUT",
        "/api/v1/agents/{agent_id}",
        access=Access.ADMINS,
        body=PutAgent,
        summary="Create or replace an agent",
        response=schemas.Agent,
        other_statuses={201: "Created"},
        errors=("agent_erased",),
    )
    async def put_agent(self, call: Call[PutAgent, NoQuery]) -> ResponseSpec:
        """`agent_id` is the slug. A field that is missing becomes empty. The ghost on Matrix is updated within seconds. An agent
        in the configuration gets the fields of the configuration again at the next start.
        """
        slug = validate_parameter(_SLUG, call.path["agent_id"], "agent_id")
        differences = await self.registry.merge(Description((_agent(slug, call.body),)))
        agent = self.agents.find(slug)  # as stored: names are normalised to one line
        view = await self.views.one(agent)
        view["rooms"] = list(agent.rooms)  # an admin may know of all rooms
        return ResponseSpec(view, 201 if differences["agents"].added else 200)

    @endpoint(
        "PATCH",
        "/api/v1/agents/{agent_id}",
        access=Access.ADMINS,
        body=PatchAgent,
        summary="Change an agent",
        response=schemas.Agent,
        errors=("no_such_agent",),
    )
    async def patch_agent(self, call: Call[PatchAgent, NoQuery]) -> schemas.Agent:
        """Only the given fields change; the slug never does. The ghost on Matrix is updated within seconds. An agent in the
        configuration gets the fields of the configuration again at the next start.
        """
        changes = call.body.model_dump(exclude_none=True)
        if "rooms" in changes:
            changes["rooms"] = tuple(changes["rooms"])
        agent = await self.registry.change_agent(self.agents.find(call.path["agent_id"]).slug, changes)
        view = await self.views.one(agent)
        view["rooms"] = list(agent.rooms)  # an admin may know of all rooms
        return view

    @endpoint(
        "DELETE",
        "/api/v1/agents/{agent_id}",
        access=Access.ADMINS,
        status=204,
        summary="Delete an agent",
        response=NoContent,
        errors=("no_such_agent",),
    )
    async def delete_agent(self, call: Call[NoBody, NoQuery]) -> None:
        """The agent's tokens are revoked, it is offline after `presence.ttl_s`, and its ghost leaves all rooms. Its messages
        remain, with its name. An agent in the configuration is created again at the next start.
        """
        await self.registry.remove_agent(AgentSlug(call.path["agent_id"]))

    @endpoint(
        "POST",
        "/api/v1/registry/import",
        access=Access.ADMINS,
        body=RegistryImport,
        query=ImportQuery,
        summary="Import agents, nodes, microDAOs and districts",
        response=schemas.ImportResult,
        errors=("entry_in_use", "agent_erased"),
    )
    async def import_registry(self, call: Call[RegistryImport, ImportQuery]) -> schemas.ImportResult:
        """The body is the document of `daarion-appservice agent import` as JSON, with avatars as `mxc://` URIs only. Each entry
        replaces the entry with the same id. The import is atomic: with any error nothing changes, and `errors` has the path of
        each invalid field, such as `agents[3].slug`.
        """
        try:
            registry = read(call.body.model_dump(exclude_unset=True), files=False)
        except RegistryErrors as error:
            raise ValidationErrors(
                [{"field": where, "message": what} for where, what in error.errors.items()]
            ) from error
        differences = await self.registry.merge(
            entry_description_of(registry), remove_missing=call.query.remove_missing
        )
        return {
            "agents": _counts(differences["agents"]),
            "nodes": _counts(differences["nodes"]),
            "microdaos": _counts(differences["microdaos"]),
            "districts": _counts(differences["districts"]),
        }


def _agent(slug: str, body: PutAgent) -> Agent:
    fields = body.model_dump() | {"rooms": tuple(body.rooms)}
    return Agent(id=slug, slug=AgentSlug(slug), **fields)


def _counts(difference: Difference) -> schemas.ImportCounts:
    return {
        "added": len(difference.added),
        "changed": len(difference.changed),
        "unchanged": len(difference.unchanged),
        "removed": len(difference.removed),
    }
