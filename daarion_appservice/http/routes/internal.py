"""The routes ``/internal/matrix/presence``: presence by Matrix user id, for trusted services."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from pydantic import Field

from ...city.agents import AgentDirectory
from ...city.identity import Identities, ServiceUser, parse_user_id
from ...city.ports import NowMs, PresenceStore
from ...city.presence import KEEP, Heartbeat, PresenceState, Status
from ...city.types import AgentSlug, AuthorKind, SubjectId, UserId
from ...errors import Forbidden, InvalidInput, NotFound
from ...matrix.presence.user_presence import UserPresenceQuery
from ..auth.principals import Access
from ..id_lists import split_ids
from ..routing import Body, Call, NoBody, NoQuery, Query, endpoint
from ..views import JSON, user_presence

_MAX_USERS: Final = 500
_ASKED_AT_ONCE: Final = 16
"""The number of concurrent homeserver requests of one bulk request."""

_STATUS: Final = {
    "online": Status.ONLINE,
    "away": Status.AWAY,
    "unavailable": Status.AWAY,
    "offline": Status.OFFLINE,
}


class BulkQuery(Query):
    user_ids: str = Field(description="Matrix user ids, separated by commas.")


class BulkBody(Body):
    user_ids: list[str]


class SetPresence(Body):
    matrix_user_id: str
    status: Literal["online", "away", "unavailable", "offline"] = "online"
    status_msg: str | None = Field(None, max_length=255)


class InternalPresenceRoutes:
    def __init__(
        self,
        agents: AgentDirectory,
        presence: PresenceStore,
        people: UserPresenceQuery,
        identities: Identities,
        now_ms: NowMs,
    ) -> None:
        self._agents = agents
        self._presence = presence
        self._people = people
        self._identities = identities
        self._now_ms = now_ms

    @endpoint("GET", "/internal/matrix/presence/bulk", who=Access.SERVICES, query=BulkQuery)
    async def bulk(self, call: Call[NoBody, BulkQuery]) -> JSON:
        return await self._bulk(split_ids(call.query.user_ids))

    @endpoint("POST", "/internal/matrix/presence/bulk", who=Access.SERVICES, body=BulkBody)
    async def bulk_by_body(self, call: Call[BulkBody, NoQuery]) -> JSON:
        return await self._bulk(call.body.user_ids)

    @endpoint("POST", "/internal/matrix/presence/online", who=Access.SERVICES, body=SetPresence)
    async def set_online(self, call: Call[SetPresence, NoQuery]) -> JSON:
        wanted = call.body
        user = parse_user_id(wanted.matrix_user_id)
        subject = self._ours(user)
        status_msg = wanted.status_msg if "status_msg" in wanted.model_fields_set else KEEP
        await self._presence.record_heartbeat(
            [Heartbeat(subject, _STATUS[wanted.status], status_msg, session="internal")]
        )
        return {"ok": True, "matrix_user_id": user, "status": wanted.status}

    @endpoint("GET", "/internal/matrix/presence/{user_id}", who=Access.SERVICES)
    async def show(self, call: Call[NoBody, NoQuery]) -> JSON:
        user = parse_user_id(call.path["user_id"])
        return user_presence(user, await self._shown(user), self._now_ms())

    async def _bulk(self, user_ids: list[str]) -> JSON:
        if not user_ids or len(user_ids) > _MAX_USERS:
            raise InvalidInput("M_INVALID_PARAM", f"`user_ids` must hold 1 to {_MAX_USERS} Matrix user ids")
        users = [parse_user_id(user) for user in user_ids]
        slots = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def shown(user: UserId) -> tuple[UserId, PresenceState]:
            async with slots:
                return user, await self._shown(user)

        known = dict(await asyncio.gather(*(shown(user) for user in dict.fromkeys(users))))
        now_ms = self._now_ms()
        return {"presences": [user_presence(user, known[user], now_ms) for user in users]}

    async def _shown(self, user: UserId) -> PresenceState:
        """Return the presence of a ghost from the city, and of any other Matrix user from the homeserver."""
        subject = self._identities.subject(user)
        if subject is not None and self._identities.is_ours(user):
            return self._presence.state(subject)
        return await self._people.shown(user)

    def _ours(self, user: UserId) -> SubjectId:
        who = self._identities.describe(user)
        if who is ServiceUser.NOBODY:
            raise InvalidInput("M_INVALID_PARAM", f"nobody in the city has the ghost {user}")
        if isinstance(who, ServiceUser) or who[0] is AuthorKind.MATRIX:
            raise Forbidden(
                "M_FORBIDDEN",
                f"{user} is not a ghost of the city: only the presence of @agent_… and @citizen_… on "
                f"{self._identities.domain} can be set here",
            )
        kind, name = who
        if kind is AuthorKind.AGENT and self._agents.get(AgentSlug(name)) is None:
            raise NotFound("M_NOT_FOUND", f"the city has no agent {name!r}")
        subject = self._identities.subject(user)
        assert subject is not None
        return subject
