"""The routes ``/api/v1/agents``: agents with their presence, and their heartbeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from ...city.agents import AgentDirectory, AgentFilter
from ...city.identity import Identities
from ...city.places import PlaceDirectory
from ...city.ports import NowMs, PresenceStore
from ...city.presence import KEEP, Heartbeat, PresenceState, Status
from ...city.types import Agent, UserId, agent_subject
from ...errors import CityError, Forbidden, InvalidInput
from .. import schemas
from ..agent_avatars import AgentAvatars
from ..auth.principals import Access, AgentPrincipal
from ..id_lists import MAX_CHARS
from ..routing import Body, Call, NoBody, NoQuery, Query, endpoint
from ..views import JSON, agent_presence, agent_view

_MAX_IDS: Final = 500


class AgentList(Query):
    ids: str = Field(
        "",
        max_length=MAX_CHARS,
        description="These alone: up to 500 ids or slugs, separated by commas.",
        examples=["daarwizz,litopys"],
    )
    node_id: str = Field("", max_length=255, description="Those on this node.", examples=["node-kyiv-1"])
    microdao: str = Field("", max_length=255, description="Those of this microDAO.", examples=["daarion"])
    role: str = Field("", max_length=255, description="Those with this role, wherever.", examples=["orchestrator"])
    kind: str = Field("", max_length=255, description="Those of this sort.", examples=["assistant"])
    district: str = Field("", max_length=255, description="Those who live in this district.", examples=["podil"])
    q: str = Field("", max_length=255, description="Those with this in slug, name or title.", examples=["wizz"])
    presence: Literal["", "online", "away", "offline"] = Field("", description="Those who are so.", examples=["online"])
    limit: int | None = Field(None, ge=1, le=1000, description="How many at most; left out: all.", examples=[100])
    offset: int = Field(0, ge=0, le=1 << 31, description="How many to leave out, from the first.", examples=[0])


class HeartbeatBody(Body):
    status: Status = Field(Status.ONLINE, description="Whether this session is here.", examples=["online"])
    status_msg: str | None = Field(
        None,
        max_length=255,
        description="The agent's status text; left out: it stays as it is, `null`: none.",
        examples=["пишу літопис Подолу"],
    )
    session_id: str = Field(
        "", max_length=128, description="Which of the agent's replicas this is.", examples=["replica-1"]
    )


class AgentHeartbeat(HeartbeatBody):
    agent_id: str = Field(max_length=255, description="The agent's id or slug.", examples=["litopys"])


class Heartbeats(Body):
    heartbeats: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=1000,
        description="Heartbeats as a single one has them, each with its `agent_id`. One that is wrong does not keep the "
        "others from counting.",
        examples=[[{"agent_id": "daarwizz"}, {"agent_id": "litopys", "status": "away"}]],
    )


@dataclass(frozen=True, slots=True)
class _Beating:
    agent: Agent
    heartbeat: HeartbeatBody


class AgentRoutes:
    def __init__(
        self,
        agents: AgentDirectory,
        places: PlaceDirectory,
        presence: PresenceStore,
        identities: Identities,
        now_ms: NowMs,
        pictures: AgentAvatars,
        *,
        heartbeat_ms: int,
        ttl_ms: int,
    ) -> None:
        self._agents = agents
        self._places = places
        self._presence = presence
        self._identities = identities
        self._now_ms = now_ms
        self._pictures = pictures
        self._heartbeat_ms = heartbeat_ms
        self._ttl_ms = ttl_ms

    @endpoint(
        "GET",
        "/api/v1/agents",
        who=Access.READERS,
        query=AgentList,
        summary="The city's agents",
        answer=list[schemas.Agent],
    )
    async def list_agents(self, call: Call[NoBody, AgentList]) -> list[JSON]:
        """In the order of their slugs."""
        query = call.query
        wanted = AgentFilter(query.node_id, query.microdao, query.role, query.q, query.kind)
        found = (agent for agent in self._named(query.ids) if self._is_wanted(agent, wanted, query))
        last = None if query.limit is None else query.offset + query.limit
        pictures = await self._pictures.all()
        return [self._view(agent, pictures) for agent in islice(found, query.offset, last)]

    @endpoint(
        "GET",
        "/api/v1/agents/{agent_id}",
        who=Access.READERS,
        summary="One agent",
        answer=schemas.Agent,
        errors=("no_such_agent",),
    )
    async def show_agent(self, call: Call[NoBody, NoQuery]) -> JSON:
        return self._view(self._agents.find(call.path["agent_id"]), await self._pictures.all())

    @endpoint(
        "GET",
        "/api/v1/agents/{agent_id}/presence",
        who=Access.READERS,
        summary="Whether an agent is here",
        answer=schemas.AgentPresence,
        errors=("no_such_agent",),
    )
    async def show_presence(self, call: Call[NoBody, NoQuery]) -> JSON:
        agent = self._agents.find(call.path["agent_id"])
        shown = self._presence.state(agent_subject(agent.slug))
        return agent_presence(agent, shown, self._identities, self._now_ms())

    @endpoint(
        "POST",
        "/api/v1/agents/{agent_id}/heartbeat",
        who=Access.BEATERS,
        body=HeartbeatBody,
        summary="An agent's sign of life",
        answer=schemas.HeartbeatResult,
        errors=("no_such_agent", "not_this_agent"),
    )
    async def beat(self, call: Call[HeartbeatBody, NoQuery]) -> JSON:
        """Replicas of one agent each send a ``session_id`` of their own: the strongest state of those alive is shown."""
        agent = self._agents.find(call.path["agent_id"])
        if isinstance(call.principal, AgentPrincipal) and call.principal.slug != agent.slug:
            raise Forbidden("not_this_agent", f"this token is {call.principal.slug}'s, not {agent.slug}'s")
        (shown,) = await self._presence.record_heartbeat([_beat(agent, call.body)])
        return self._answer(agent, call.body, shown)

    @endpoint(
        "POST",
        "/api/v1/agents/heartbeats",
        who=Access.SERVICES,
        body=Heartbeats,
        summary="Signs of life of many agents",
        answer=schemas.HeartbeatResults,
    )
    async def beat_many(self, call: Call[Heartbeats, NoQuery]) -> JSON:
        """One answer an item, in the order asked: what a single heartbeat answers, or what is wrong with the item."""
        items = [self._read(item) for item in call.body.heartbeats]
        beating = [item for item in items if isinstance(item, _Beating)]
        shown = iter(await self._presence.record_heartbeat([_beat(item.agent, item.heartbeat) for item in beating]))
        return {
            "results": [
                self._answer(item.agent, item.heartbeat, next(shown)) if isinstance(item, _Beating) else item
                for item in items
            ]
        }

    def _read(self, item: dict[str, Any]) -> _Beating | JSON:
        """Return the agent and heartbeat of an item, or the error for the response."""
        try:
            heartbeat = AgentHeartbeat.model_validate(item)
            return _Beating(self._agents.find(heartbeat.agent_id), heartbeat)
        except ValidationError as error:
            mistake = error.errors(include_url=False, include_input=False)[0]
            detail = f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}"
            return {"agent_id": item.get("agent_id"), "code": "invalid", "detail": detail}
        except CityError as error:
            return {"agent_id": item.get("agent_id"), "code": error.code, "detail": error.detail}

    def _answer(self, agent: Agent, beat: HeartbeatBody, shown: PresenceState) -> JSON:
        is_here = beat.status is not Status.OFFLINE
        return agent_presence(agent, shown, self._identities, self._now_ms()) | {
            "next_heartbeat_ms": self._heartbeat_ms if is_here else None,
            "expires_in_ms": self._ttl_ms if is_here else 0,
        }

    def _named(self, ids: str) -> Iterable[Agent]:
        """Return all agents, or those with one of the comma-separated ids, in the order of their slugs."""
        if not ids:
            return self._agents.all()
        wanted = set(ids.split(","))
        if len(wanted) > _MAX_IDS:
            raise InvalidInput("invalid", f"ids: must be up to {_MAX_IDS} ids", status=422)
        return (agent for agent in self._agents.all() if agent.slug in wanted or agent.id in wanted)

    def _view(self, agent: Agent, pictures: Mapping[UserId, str | None]) -> JSON:
        shown = self._presence.state(agent_subject(agent.slug))
        return agent_view(agent, shown, self._places, self._identities, self._now_ms(), pictures)

    def _is_wanted(self, agent: Agent, wanted: AgentFilter, query: AgentList) -> bool:
        return (
            wanted.matches(agent)
            and query.district in {"", self._places.district_of(agent)}
            and query.presence in {"", self._presence.state(agent_subject(agent.slug)).status}
        )


def _beat(agent: Agent, heartbeat: HeartbeatBody) -> Heartbeat:
    return Heartbeat(
        agent_subject(agent.slug),
        heartbeat.status,
        heartbeat.status_msg if "status_msg" in heartbeat.model_fields_set else KEEP,
        heartbeat.session_id,
    )
