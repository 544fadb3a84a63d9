"""The routes ``/api/v1/agents/…`` and ``/api/v1/registry/import``, with which admins edit agents, their tokens and the registry.

A change takes effect in this process before the response, and in the other processes of the city within two seconds.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field, TypeAdapter

from ...city.registry import Description, Difference
from ...city.tokens import new_token
from ...city.types import Agent, AgentSlug, agent_subject
from ...config.registry_file import RegistryErrors, description_of, read
from ...config.values import Color, Mxc, Slug
from ...errors import NotFound
from ...storage.agents import TokenOfAgent
from .. import schemas, schemas_registry
from ..auth.principals import Access
from ..routing import Body, Call, NoBody, NoContent, NoQuery, Query, ResponseSpec, ValidationErrors, endpoint
from ..views import JSON, agent_view, moment
from .registry_parts import RegistryParts, checked, counting

_SLUG: Final[TypeAdapter[str]] = TypeAdapter(Slug)


class PutAgent(Body):
    display_name: str = Field(min_length=1, max_length=255, description="What people see.", examples=["Літопис"])
    title: str = Field("", max_length=255, description="What it is in the city.", examples=["Літописець міста"])
    kind: str = Field("", max_length=255, description="What sort of agent it is.", examples=["assistant"])
    avatar: Mxc = Field(
        "", description="Its picture, as an `mxc://` address.", examples=["mxc://daarion.space/litopys"]
    )
    color: Color = Field("", description="Its color.", examples=["#3b82f6"])
    node_id: str = Field("", max_length=255, description="The node that it lives on.", examples=["node-kyiv-1"])
    node_role: str = Field("", max_length=255, description="What it is there.", examples=["guardian"])
    microdao: str = Field("", max_length=255, description="The microDAO that it belongs to.", examples=["daarion"])
    microdao_role: str = Field("", max_length=255, description="What it is there.", examples=["scribe"])
    role: str = Field(
        "",
        max_length=255,
        description="One word for both roles: `guardian` and `steward` are roles on a node, `orchestrator` is one in a "
        "microDAO, any other counts in either.",
        examples=["scribe"],
    )
    district: str = Field(
        "",
        max_length=255,
        description="The district that it lives in; left out: its node's, or its microDAO's.",
        examples=["podil"],
    )
    rooms: list[Slug] = Field(
        ["general"],
        max_length=1000,
        description="Slugs of the rooms that it lives in.",
        examples=[["general", "podil"]],
    )


class RegistryBody(Body):
    """Parts that are left out stay as they are."""

    districts: list[Any] | None = Field(
        None, description="Districts: `id`, `name`.", examples=[[{"id": "podil", "name": "Поділ"}]]
    )
    nodes: list[Any] | None = Field(
        None,
        description="Nodes: `id`, `name`, `description`, `district`.",
        examples=[[{"id": "node-kyiv-1", "name": "Київ 1", "district": "podil"}]],
    )
    microdaos: list[Any] | None = Field(
        None,
        description="MicroDAOs: `slug`, `name`, `description`, `district`.",
        examples=[[{"slug": "daarion", "name": "DAARION"}]],
    )
    agents: list[Any] | None = Field(
        None,
        description="Agents: `slug`, and what `PUT /api/v1/agents/{agent_id}` takes.",
        examples=[[{"slug": "varta", "display_name": "Варта", "node_id": "node-kyiv-1", "node_role": "guardian"}]],
    )


class ImportQuery(Query):
    remove_missing: bool = Field(
        False, description="Whether to remove what the given parts do not name.", examples=[False]
    )


class RegistryRoutes:
    """Routes of agents and their tokens, for admins, and of the whole registry."""

    def __init__(self, parts: RegistryParts) -> None:
        self._database = parts.database
        self._keeper = parts.keeper
        self._registry = parts.registry
        self._agents = parts.agents
        self._places = parts.places
        self._presence = parts.presence
        self._pictures = parts.pictures
        self._identities = parts.identities
        self._now_ms = parts.now_ms
        self._steady_ms = parts.steady_ms
        self._new_id = parts.new_id

    @endpoint(
        "PUT",
        "/api/v1/agents/{agent_id}",
        who=Access.ADMINS,
        body=PutAgent,
        summary="Describe an agent",
        answer=schemas.Agent,
        also={201: "It is new."},
    )
    async def put_agent(self, call: Call[PutAgent, NoQuery]) -> ResponseSpec:
        """As a whole: what is left out becomes empty. Its ghost on Matrix follows within seconds."""
        slug = checked(_SLUG, call.path["agent_id"], "agent_id")
        described = Description((_agent(slug, call.body),))
        differences = await counting(self._registry, self._keeper.merge(described))
        agent = self._agents.find(slug)  # as stored: names are normalised to one line
        shown = self._presence.state(agent_subject(agent.slug))
        pictures = await self._pictures.all()
        view = agent_view(agent, shown, self._places, self._identities, self._steady_ms(), pictures)
        view["rooms"] = list(agent.rooms)  # an admin may know of all rooms
        return ResponseSpec(view, 201 if differences["agents"].added else 200)

    @endpoint(
        "DELETE",
        "/api/v1/agents/{agent_id}",
        who=Access.ADMINS,
        status=204,
        summary="Remove an agent",
        answer=NoContent,
        errors=("no_such_agent",),
    )
    async def delete_agent(self, call: Call[NoBody, NoQuery]) -> None:
        """Its tokens count no more, and its ghost leaves all rooms. What it said stays, with its name.

        One that stands in the service's configuration comes back at the next start.
        """
        await counting(self._registry, self._keeper.remove_agent(AgentSlug(call.path["agent_id"])))

    @endpoint(
        "POST",
        "/api/v1/agents/{agent_id}/tokens",
        who=Access.ADMINS,
        status=201,
        summary="Make a token for an agent",
        answer=schemas_registry.NewAgentToken,
        errors=("no_such_agent",),
    )
    async def make_token(self, call: Call[NoBody, NoQuery]) -> JSON:
        """Earlier ones stay valid until they are revoked."""
        made, now_ms = new_token(self._new_id()), self._now_ms()
        async with self._database.transaction() as tx:
            agent = _found(await tx.agents.lock(call.path["agent_id"]), call.path["agent_id"])
            await tx.agents.add_token(made.id, agent, made.secret_sha256, now_ms=now_ms)
        await self._registry.load()
        return _token_view(TokenOfAgent(made.id, now_ms, None)) | {"token": made.text}

    @endpoint(
        "GET",
        "/api/v1/agents/{agent_id}/tokens",
        who=Access.ADMINS,
        summary="An agent's tokens",
        answer=list[schemas_registry.AgentToken],
        errors=("no_such_agent",),
    )
    async def list_tokens(self, call: Call[NoBody, NoQuery]) -> list[JSON]:
        """Oldest first, revoked ones included."""
        async with self._database.reading() as tx:
            agent = _found(await tx.agents.by_slug(call.path["agent_id"]), call.path["agent_id"])
            return [_token_view(token) for token in await tx.agents.tokens_of(agent)]

    @endpoint(
        "DELETE",
        "/api/v1/agents/{agent_id}/tokens/{token_id}",
        who=Access.ADMINS,
        status=204,
        summary="Revoke a token",
        answer=NoContent,
        errors=("no_such_agent", "no_such_token"),
    )
    async def revoke_token(self, call: Call[NoBody, NoQuery]) -> None:
        async with self._database.transaction() as tx:
            agent = _found(await tx.agents.by_slug(call.path["agent_id"]), call.path["agent_id"])
            if not await tx.agents.revoke_tokens(agent, call.path["token_id"], now_ms=self._now_ms()):
                raise NotFound("no_such_token", f"{agent.slug} has no such token, or it was revoked already")
        await self._registry.load()

    @endpoint(
        "POST",
        "/api/v1/registry/import",
        who=Access.ADMINS,
        body=RegistryBody,
        query=ImportQuery,
        summary="Describe agents and places, many at once",
        answer=schemas_registry.Imported,
        errors=("place_in_use",),
    )
    async def import_registry(self, call: Call[RegistryBody, ImportQuery]) -> JSON:
        """The document is the one that `daarion-appservice agent import` takes, as JSON.

        All of it is taken, or nothing: `errors` names every mistake by its place, like `agents[3].slug`. Each entry describes
        its agent or place as a whole; what is so already is left alone.
        """
        try:
            registry = read(call.body.model_dump(exclude_unset=True), files=False)
        except RegistryErrors as error:
            raise ValidationErrors(
                [{"field": where, "message": what} for where, what in error.mistakes.items()]
            ) from error
        described = description_of(registry)
        differences = await counting(
            self._registry, self._keeper.merge(described, remove_missing=call.query.remove_missing)
        )
        return {part: _counts(difference) for part, difference in differences.items()}


def _agent(slug: str, body: PutAgent) -> Agent:
    said = body.model_dump() | {"rooms": tuple(body.rooms)}
    return Agent(id=slug, slug=AgentSlug(slug), **said)


def _found(agent: Agent | None, name: str) -> Agent:
    if agent is None:
        raise NotFound("no_such_agent", f"there is no agent {name!r}")
    return agent


def _token_view(token: TokenOfAgent) -> JSON:
    return {
        "id": token.id,
        "created_at": moment(token.created_at_ms),
        "revoked_at": moment(token.revoked_at_ms),
    }


def _counts(difference: Difference) -> JSON:
    return {
        "added": len(difference.added),
        "changed": len(difference.changed),
        "unchanged": len(difference.unchanged),
        "removed": len(difference.removed),
    }
