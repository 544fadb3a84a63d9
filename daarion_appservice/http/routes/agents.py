"""The routes ``/api/v1/agents``: agents with their presence, and their heartbeats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from ...city.agents import AgentDirectory, AgentFilter
from ...city.places import PlaceDirectory
from ...city.ports import PresenceStore
from ...city.presence import KEEP, Heartbeat, PresenceState, Status
from ...city.types import Agent, agent_subject
from ...errors import CityError, Forbidden, InvalidInput
from .. import schemas
from ..agent_views import AgentViews
from ..auth.principals import Access, AgentPrincipal
from ..id_lists import MAX_CHARS
from ..routing import Body, Call, NoBody, NoQuery, Query, endpoint

_MAX_IDS: Final = 500


class AgentListQuery(Query):
    ids: str = Field(
        "",
        max_length=MAX_CHARS,
        description="Only these agents: up to 500 ids or slugs, separated by commas.",
        examples=["daarwizz,litopys"],
    )
    node_id: str = Field("", max_length=255, description="Only agents of this node.", examples=["node-kyiv-1"])
    microdao: str = Field("", max_length=255, description="Only agents of this microDAO.", examples=["daarion"])
    role: str = Field(
        "",
        max_length=255,
        description="Only agents with this role, on a node or in a microDAO.",
        examples=["orchestrator"],
    )
    kind: str = Field("", max_length=255, description="Only agents of this kind.", examples=["assistant"])
    district: str = Field("", max_length=255, description="Only agents of this district.", examples=["podil"])
    q: str = Field(
        "", max_length=255, description="Only agents whose slug, name or title contains this text.", examples=["wizz"]
    )
    presence: Literal["", "online", "away", "offline"] = Field(
        "", description="Only agents with this status.", examples=["online"]
    )
    limit: int | None = Field(
        None, ge=1, le=1000, description="The maximum number of agents; default: all.", examples=[100]
    )
    offset: int = Field(0, ge=0, le=1 << 31, description="The number of agents to skip.", examples=[0])


class AgentHeartbeat(Body):
    """A heartbeat of an agent."""

    status: Status = Field(
        Status.ONLINE, description="The status of this session; `offline` ends it.", examples=["online"]
    )
    status_msg: str | None = Field(
        None,
        max_length=255,
        description="The agent's status message, common to its sessions; `null` removes it, and without the field it does not "
        "change.",
        examples=["пишу літопис Подолу"],
    )
    session_id: str = Field(
        "", max_length=128, description="The session: one for each replica of the agent.", examples=["replica-1"]
    )


class BatchedHeartbeat(AgentHeartbeat):
    """A heartbeat in a batch."""

    agent_id: str = Field(max_length=255, description="The agent's id or slug.", examples=["litopys"])


class HeartbeatBatch(Body):
    """Heartbeats of several agents."""

    heartbeats: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=1000,
        description="Heartbeats with the fields of a single heartbeat and an `agent_id`. An invalid heartbeat does not affect "
        "the others.",
        examples=[[{"agent_id": "daarwizz"}, {"agent_id": "litopys", "status": "away"}]],
    )


@dataclass(frozen=True, slots=True)
class _ValidHeartbeat:
    agent: Agent
    body: AgentHeartbeat


@dataclass(frozen=True, slots=True)
class AgentRoutes:
    agents: AgentDirectory
    places: PlaceDirectory
    presence: PresenceStore
    views: AgentViews
    _: KW_ONLY
    heartbeat_ms: int
    ttl_ms: int

    @endpoint(
        "GET",
        "/api/v1/agents",
        access=Access.READERS,
        query=AgentListQuery,
        summary="List agents",
        response=list[schemas.Agent],
    )
    async def list_agents(self, call: Call[NoBody, AgentListQuery]) -> list[schemas.Agent]:
        """Returns agents with their presence, ordered by slug. Filters are combined with AND."""
        query = call.query
        wanted = AgentFilter(query.node_id, query.microdao, query.role, query.q, query.kind)
        found = (agent for agent in self._named(query.ids) if self._is_wanted(agent, wanted, query))
        end = None if query.limit is None else query.offset + query.limit
        return await self.views.many(islice(found, query.offset, end))

    @endpoint(
        "GET",
        "/api/v1/agents/{agent_id}",
        access=Access.READERS,
        summary="Get an agent",
        response=schemas.Agent,
        errors=("no_such_agent",),
    )
    async def get_agent(self, call: Call[NoBody, NoQuery]) -> schemas.Agent:
        return await self.views.one(self.agents.find(call.path["agent_id"]))

    @endpoint(
        "GET",
        "/api/v1/agents/{agent_id}/presence",
        access=Access.READERS,
        summary="Get an agent's presence",
        response=schemas.AgentPresence,
        errors=("no_such_agent",),
    )
    async def get_agent_presence(self, call: Call[NoBody, NoQuery]) -> schemas.AgentPresence:
        return self.views.presence_of(self.agents.find(call.path["agent_id"]))

    @endpoint(
        "POST",
        "/api/v1/agents/{agent_id}/heartbeat",
        access=Access.HEARTBEAT_SENDERS,
        body=AgentHeartbeat,
        summary="Send a heartbeat of an agent",
        response=schemas.HeartbeatResult,
        errors=("no_such_agent", "not_this_agent"),
    )
    async def send_agent_heartbeat(self, call: Call[AgentHeartbeat, NoQuery]) -> schemas.HeartbeatResult:
        """A session ends `presence.ttl_s` after its last heartbeat. Each replica of an agent sends its own `session_id`; the
        agent's presence is the strongest status of its live sessions, so a replica that ends does not take the others offline.
        """
        agent = self.agents.find(call.path["agent_id"])
        if isinstance(call.principal, AgentPrincipal) and call.principal.slug != agent.slug:
            raise Forbidden("not_this_agent", f"the token is of {call.principal.slug}, not of {agent.slug}")
        (state,) = await self.presence.record_heartbeat([_heartbeat(agent, call.body)])
        return self._result(agent, call.body, state)

    @endpoint(
        "POST",
        "/api/v1/agents/heartbeats",
        access=Access.SERVICES,
        body=HeartbeatBatch,
        summary="Send heartbeats of several agents",
        response=schemas.HeartbeatResults,
    )
    async def send_agent_heartbeats(self, call: Call[HeartbeatBatch, NoQuery]) -> schemas.HeartbeatResults:
        """Returns a result or an error for each heartbeat, in the order of the request; the status is 200 in any case."""
        items = [self._validate(item) for item in call.body.heartbeats]
        valid = [item for item in items if isinstance(item, _ValidHeartbeat)]
        states = iter(await self.presence.record_heartbeat([_heartbeat(item.agent, item.body) for item in valid]))
        return {
            "results": [
                self._result(item.agent, item.body, next(states)) if isinstance(item, _ValidHeartbeat) else item
                for item in items
            ]
        }

    def _validate(self, item: dict[str, Any]) -> _ValidHeartbeat | schemas.HeartbeatError:
        try:
            heartbeat = BatchedHeartbeat.model_validate(item)
            return _ValidHeartbeat(self.agents.find(heartbeat.agent_id), heartbeat)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            return {"agent_id": item.get("agent_id"), "code": "invalid", "detail": detail}
        except CityError as error:
            return {"agent_id": item.get("agent_id"), "code": error.code, "detail": error.detail}

    def _result(self, agent: Agent, body: AgentHeartbeat, state: PresenceState) -> schemas.HeartbeatResult:
        is_alive = body.status is not Status.OFFLINE
        return {
            **self.views.presence_of(agent, state),
            "next_heartbeat_ms": self.heartbeat_ms if is_alive else None,
            "expires_in_ms": self.ttl_ms if is_alive else 0,
        }

    def _named(self, ids: str) -> Iterable[Agent]:
        """Return all agents, or those with one of the comma-separated ids, in the order of their slugs."""
        if not ids:
            return self.agents.all()
        wanted = set(ids.split(","))
        if len(wanted) > _MAX_IDS:
            raise InvalidInput("invalid", f"ids: must be up to {_MAX_IDS} ids", status=422)
        return (agent for agent in self.agents.all() if agent.slug in wanted or agent.id in wanted)

    def _is_wanted(self, agent: Agent, wanted: AgentFilter, query: AgentListQuery) -> bool:
        return (
            wanted.matches(agent)
            and query.district in {"", self.places.district_of(agent)}
            and query.presence in {"", self.presence.state(agent_subject(agent.slug)).status}
        )


def _heartbeat(agent: Agent, body: AgentHeartbeat) -> Heartbeat:
    return Heartbeat(
        agent_subject(agent.slug),
        body.status,
        body.status_msg if "status_msg" in body.model_fields_set else KEEP,
        body.session_id,
    )
