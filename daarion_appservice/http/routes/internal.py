"""The routes ``/internal/matrix/presence``: presence by Matrix user id, for trusted services."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from ...city.agents import AgentDirectory
from ...city.identity import Identities, ServiceUser, parse_user_id
from ...city.ports import NowMs, PresenceStore
from ...city.presence import KEEP, Heartbeat, PresenceState, Status
from ...city.types import AgentSlug, AuthorKind, SubjectId, UserId
from ...errors import Forbidden, InvalidInput, NotFound
from ...matrix.presence.user_presence import UserPresenceQuery
from .. import schemas
from ..auth.principals import Access
from ..id_lists import split_ids
from ..presence_views import user_presence
from ..routing import Body, Call, NoBody, NoQuery, Query, endpoint

_MAX_USERS: Final = 500
_CONCURRENT_REQUESTS: Final = 16
"""The number of concurrent homeserver requests of one bulk request."""

_STATUS: Final = {
    "online": Status.ONLINE,
    "away": Status.AWAY,
    "unavailable": Status.AWAY,
    "offline": Status.OFFLINE,
}


class BulkQuery(Query):
    user_ids: str = Field(
        description="1 to 500 Matrix user ids, separated by commas.",
        examples=["@oksana:daarion.space,@agent_varta:daarion.space"],
    )


class BulkBody(Body):
    """The Matrix users of a bulk query."""

    user_ids: list[str] = Field(
        description="1 to 500 Matrix user ids.", examples=[["@oksana:daarion.space", "@agent_varta:daarion.space"]]
    )


class GhostHeartbeat(Body):
    """A heartbeat of the agent or citizen that a ghost represents."""

    matrix_user_id: str = Field(
        description="The Matrix user id of a ghost of this city.", examples=["@citizen_u_123:daarion.space"]
    )
    status: Literal["online", "away", "unavailable", "offline"] = Field(
        "online", description="The status; `unavailable` is the same as `away`.", examples=["online"]
    )
    status_msg: str | None = Field(
        None,
        max_length=255,
        description="The status message; `null` removes it, and without the field it does not change.",
        examples=["читаю"],
    )


@dataclass(frozen=True, slots=True)
class InternalPresenceRoutes:
    agents: AgentDirectory
    presence: PresenceStore
    user_presence_query: UserPresenceQuery
    identities: Identities
    now_ms: NowMs

    @endpoint(
        "GET",
        "/internal/matrix/presence/bulk",
        access=Access.SERVICES,
        query=BulkQuery,
        summary="Get the presence of several Matrix users",
        response=schemas.MatrixPresences,
    )
    async def get_matrix_presences(self, call: Call[NoBody, BulkQuery]) -> schemas.MatrixPresences:
        """Returns one entry for each id, in the order of the request. At most 16 requests to the homeserver are concurrent."""
        return await self._bulk(split_ids(call.query.user_ids))

    @endpoint(
        "POST",
        "/internal/matrix/presence/bulk",
        access=Access.SERVICES,
        body=BulkBody,
        summary="Get the presence of several Matrix users, by a body",
        response=schemas.MatrixPresences,
    )
    async def query_matrix_presences(self, call: Call[BulkBody, NoQuery]) -> schemas.MatrixPresences:
        """The same as `GET`, for lists that are too long for a URL."""
        return await self._bulk(call.body.user_ids)

    @endpoint(
        "POST",
        "/internal/matrix/presence/online",
        access=Access.SERVICES,
        body=GhostHeartbeat,
        summary="Send a heartbeat of a ghost",
        response=schemas.GhostHeartbeatResult,
    )
    async def send_ghost_heartbeat(self, call: Call[GhostHeartbeat, NoQuery]) -> schemas.GhostHeartbeatResult:
        """A heartbeat of the agent or citizen that the ghost represents; the session ends `presence.ttl_s` later.

        403 `M_FORBIDDEN` for a Matrix user who is not a ghost of this city, 404 `M_NOT_FOUND` for an unknown agent.
        """
        body = call.body
        user = parse_user_id(body.matrix_user_id)
        subject = self._ghost_subject(user)
        status_msg = body.status_msg if "status_msg" in body.model_fields_set else KEEP
        await self.presence.record_heartbeat([Heartbeat(subject, _STATUS[body.status], status_msg, session="internal")])
        return {"ok": True, "matrix_user_id": user, "status": body.status}

    @endpoint(
        "GET",
        "/internal/matrix/presence/{user_id}",
        access=Access.SERVICES,
        summary="Get the presence of a Matrix user",
        response=schemas.MatrixPresence,
    )
    async def get_matrix_presence(self, call: Call[NoBody, NoQuery]) -> schemas.MatrixPresence:
        """The presence of ghosts, and of Matrix users in the city's rooms, comes from the city; that of other users from the
        homeserver. An unknown user, and a user whose presence the bot may not see, is `offline`; so is every Matrix user while
        the homeserver is unavailable.

        `last_active_ago_ms` of a user who is active may be up to a minute too high, because Synapse does not report each
        activity.
        """
        user = parse_user_id(call.path["user_id"])
        return user_presence(user, await self._state(user), self.now_ms())

    async def _bulk(self, user_ids: list[str]) -> schemas.MatrixPresences:
        if not user_ids or len(user_ids) > _MAX_USERS:
            raise InvalidInput("M_INVALID_PARAM", f"`user_ids` must hold 1 to {_MAX_USERS} Matrix user ids")
        users = [parse_user_id(user) for user in user_ids]
        semaphore = asyncio.Semaphore(_CONCURRENT_REQUESTS)

        async def state_of(user: UserId) -> tuple[UserId, PresenceState]:
            async with semaphore:
                return user, await self._state(user)

        states = dict(await asyncio.gather(*(state_of(user) for user in dict.fromkeys(users))))
        now_ms = self.now_ms()
        return {"presences": [user_presence(user, states[user], now_ms) for user in users]}

    async def _state(self, user: UserId) -> PresenceState:
        """Return the presence of a ghost from the city, and of any other Matrix user from the homeserver."""
        subject = self.identities.subject(user)
        if subject is not None and self.identities.is_ours(user):
            return self.presence.state(subject)
        return await self.user_presence_query.state(user)

    def _ghost_subject(self, user: UserId) -> SubjectId:
        """Return the subject that a ghost represents. Raises InvalidInput, Forbidden or NotFound."""
        described = self.identities.describe(user)
        if described is ServiceUser.INVALID_NAME:
            raise InvalidInput("M_INVALID_PARAM", f"{user} is not a valid ghost of the city")
        if isinstance(described, ServiceUser) or described[0] is AuthorKind.MATRIX:
            raise Forbidden(
                "M_FORBIDDEN",
                f"{user} is not a ghost of the city: only the presence of @agent_… and @citizen_… on "
                f"{self.identities.domain} can be set here",
            )
        kind, name = described
        if kind is AuthorKind.AGENT and self.agents.get(AgentSlug(name)) is None:
            raise NotFound("M_NOT_FOUND", f"the city has no agent {name!r}")
        subject = self.identities.subject(user)
        assert subject is not None
        return subject
