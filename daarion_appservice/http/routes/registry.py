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
from .. import schemas
from ..auth.principals import Access
from ..routing import Body, Call, NoBody, NoContent, NoQuery, Query, ResponseSpec, ValidationErrors, endpoint
from ..views import agent_view, optional_timestamp, timestamp
from .registry_parts import RegistryParts, checked, counting

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


class RegistryRoutes:
    """Routes of agents and their tokens, for admins, and of the whole registry."""

    def __init__(self, parts: RegistryParts) -> None:
        self._database = parts.database
        self._keeper = parts.keeper
        self._registry = parts.registry
        self._agents = parts.agents
        self._places = parts.places
        self._presence = parts.presence
        self._avatars = parts.avatars
        self._identities = parts.identities
        self._now_ms = parts.now_ms
        self._steady_ms = parts.steady_ms
        self._new_id = parts.new_id

    @endpoint(
        "PUT",
        "/api/v1/agents/{agent_id}",
        who=Access.ADMINS,
        body=PutAgent,
        summary="Create or replace an agent",
        answer=schemas.Agent,
        also={201: "Created"},
    )
    async def put_agent(self, call: Call[PutAgent, NoQuery]) -> ResponseSpec:
        """`agent_id` is the slug. A field that is missing becomes empty. The ghost on Matrix is updated within seconds."""
        slug = checked(_SLUG, call.path["agent_id"], "agent_id")
        described = Description((_agent(slug, call.body),))
        differences = await counting(self._registry, self._keeper.merge(described))
        agent = self._agents.find(slug)  # as stored: names are normalised to one line
        state = self._presence.state(agent_subject(agent.slug))
        avatars = await self._avatars.all()
        view = agent_view(agent, state, self._places, self._identities, self._steady_ms(), avatars)
        view["rooms"] = list(agent.rooms)  # an admin may know of all rooms
        return ResponseSpec(view, 201 if differences["agents"].added else 200)

    @endpoint(
        "DELETE",
        "/api/v1/agents/{agent_id}",
        who=Access.ADMINS,
        status=204,
        summary="Delete an agent",
        answer=NoContent,
        errors=("no_such_agent",),
    )
    async def delete_agent(self, call: Call[NoBody, NoQuery]) -> None:
        """The agent's tokens are revoked, it is offline after `presence.ttl_s`, and its ghost leaves all rooms. Its messages
        remain, with its name. An agent in the configuration is created again at the next start.
        """
        await counting(self._registry, self._keeper.remove_agent(AgentSlug(call.path["agent_id"])))

    @endpoint(
        "POST",
        "/api/v1/agents/{agent_id}/tokens",
        who=Access.ADMINS,
        status=201,
        summary="Create a token of an agent",
        answer=schemas.NewAgentToken,
        errors=("no_such_agent",),
    )
    async def create_token(self, call: Call[NoBody, NoQuery]) -> schemas.NewAgentToken:
        """Earlier tokens stay valid until they are revoked."""
        token, now_ms = new_token(self._new_id()), self._now_ms()
        async with self._database.transaction() as tx:
            agent = _found(await tx.agents.lock(call.path["agent_id"]), call.path["agent_id"])
            await tx.agents.add_token(token.id, agent, token.secret_sha256, now_ms=now_ms)
        await self._registry.load()
        return {**_token_view(TokenOfAgent(token.id, now_ms, None)), "token": token.text}

    @endpoint(
        "GET",
        "/api/v1/agents/{agent_id}/tokens",
        who=Access.ADMINS,
        summary="List the tokens of an agent",
        answer=list[schemas.AgentToken],
        errors=("no_such_agent",),
    )
    async def list_tokens(self, call: Call[NoBody, NoQuery]) -> list[schemas.AgentToken]:
        """Returns valid and revoked tokens without their secrets, oldest first."""
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
        """Other processes of the city refuse the token within two seconds."""
        async with self._database.transaction() as tx:
            agent = _found(await tx.agents.by_slug(call.path["agent_id"]), call.path["agent_id"])
            if not await tx.agents.revoke_tokens(agent, call.path["token_id"], now_ms=self._now_ms()):
                raise NotFound("no_such_token", f"{agent.slug} has no such token, or it was revoked already")
        await self._registry.load()

    @endpoint(
        "POST",
        "/api/v1/registry/import",
        who=Access.ADMINS,
        body=RegistryImport,
        query=ImportQuery,
        summary="Import agents, nodes, microDAOs and districts",
        answer=schemas.ImportResult,
        errors=("place_in_use",),
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
                [{"field": where, "message": what} for where, what in error.mistakes.items()]
            ) from error
        described = description_of(registry)
        differences = await counting(
            self._registry, self._keeper.merge(described, remove_missing=call.query.remove_missing)
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


def _found(agent: Agent | None, name: str) -> Agent:
    if agent is None:
        raise NotFound("no_such_agent", f"there is no agent {name!r}")
    return agent


def _token_view(token: TokenOfAgent) -> schemas.AgentToken:
    return {
        "id": token.id,
        "created_at": timestamp(token.created_at_ms),
        "revoked_at": optional_timestamp(token.revoked_at_ms),
    }


def _counts(difference: Difference) -> schemas.ImportCounts:
    return {
        "added": len(difference.added),
        "changed": len(difference.changed),
        "unchanged": len(difference.unchanged),
        "removed": len(difference.removed),
    }
