"""Third-party lookups: how clients find the city's agents and rooms (application service API, "Third party networks").

    GET /_matrix/app/v1/thirdparty/protocol/daarion          the fields of a search
    GET /_matrix/app/v1/thirdparty/user/daarion?name=…       agents, by ``slug`` or a part of their ``name``
    GET /_matrix/app/v1/thirdparty/user?userid=…             the agent of a ghost
    GET /_matrix/app/v1/thirdparty/location/daarion?room=…   rooms, by their slug
    GET /_matrix/app/v1/thirdparty/location?alias=…          the room of an alias

A client sends the request to its homeserver (``/_matrix/client/v3/thirdparty/…``), which sends it here. A search by an
unknown field finds nothing.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from aiohttp import web

from ...city.agents import AgentDirectory
from ...city.identity import PROTOCOL, Identities
from ...city.types import Agent, AgentSlug, AuthorKind, Room, UserId
from ...storage.database import Database
from .authentication import HomeserverToken, matrix_error

_MAX_RESULTS: Final = 100
_ANY_NAME: Final = "^.{1,255}$"
_SLUG: Final = "^[a-z0-9][a-z0-9_-]{0,63}$"

_DESCRIPTION: Final = {
    "user_fields": ["slug", "name"],
    "location_fields": ["room"],
    "icon": "",
    "field_types": {
        "slug": {"regexp": _SLUG, "placeholder": "daarwizz"},
        "name": {"regexp": _ANY_NAME, "placeholder": "DAARWIZZ"},
        "room": {"regexp": _SLUG, "placeholder": "general"},
    },
    # Clients show each instance as a room directory; the city's rooms are in the homeserver's directory.
    "instances": [],
}

JSON = dict[str, Any]


class ThirdParty:
    """The handlers of third-party lookups."""

    def __init__(self, database: Database, agents: AgentDirectory, identities: Identities, *, hs_token: str) -> None:
        self._check_token = HomeserverToken(hs_token).check
        self._database = database
        self._agents = agents
        self._identities = identities

    def install(self, app: web.Application) -> None:
        prefix = "/_matrix/app/v1/thirdparty"
        routes = [
            web.get(prefix + "/protocol/{protocol}", self._protocol),
            web.get(prefix + "/user/{protocol}", self._users),
            web.get(prefix + "/user", self._user),
            web.get(prefix + "/location/{protocol}", self._locations),
            web.get(prefix + "/location", self._location),
        ]
        app.add_routes(routes)

    async def _protocol(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response(_DESCRIPTION)

    async def _users(self, request: web.Request) -> web.Response:
        self._check(request)
        requested = _requested_fields(request, {"slug", "name"})
        slug, name = requested.get("slug"), requested.get("name", "").casefold()
        matches = (
            agent
            for agent in self._agents.all()
            if slug in {None, agent.slug} and name in agent.display_name.casefold()
        )
        return _response([self._agent(agent) for agent in islice(matches, _MAX_RESULTS)])

    async def _user(self, request: web.Request) -> web.Response:
        self._check(request)
        user = UserId(_parameter(request, "userid"))
        match self._identities.describe(user):
            case AuthorKind.AGENT, slug:
                agent = self._agents.get(AgentSlug(slug))
                return _response([] if agent is None else [self._agent(agent)])
        return _response([])

    async def _locations(self, request: web.Request) -> web.Response:
        self._check(request)
        slug = _requested_fields(request, {"room"}).get("room")
        rooms = [room for room in await self._rooms() if slug in {None, room.slug}]
        return _response([self._room(room) for room in rooms[:_MAX_RESULTS]])

    async def _location(self, request: web.Request) -> web.Response:
        self._check(request)
        slug = self._identities.room_slug(_parameter(request, "alias"))
        return _response([self._room(room) for room in await self._rooms() if room.slug == slug])

    async def _rooms(self) -> list[Room]:
        """Return the rooms with a public join rule that are not archived."""
        async with self._database.read_only() as tx:
            rooms = await tx.rooms.all()
        return [room for room in rooms if not room.archived and room.join_rule == "public"]

    def _check(self, request: web.Request) -> None:
        self._check_token(request)
        if request.match_info.get("protocol", PROTOCOL) != PROTOCOL:
            raise matrix_error(404, "M_NOT_FOUND", f"The city's protocol is {PROTOCOL}")

    def _agent(self, agent: Agent) -> JSON:
        return {
            "userid": self._identities.agent(agent.slug),
            "protocol": PROTOCOL,
            "fields": {"slug": agent.slug, "name": agent.display_name},
        }

    def _room(self, room: Room) -> JSON:
        return {
            "alias": self._identities.room_alias(room.slug),
            "protocol": PROTOCOL,
            "fields": {"room": room.slug, "name": room.name},
        }


def _requested_fields(request: web.Request, fields: set[str]) -> dict[str, str]:
    """Return the fields of a search, without the token, which some homeservers can send as a query parameter."""
    requested = {name: value for name, value in request.query.items() if name != "access_token"}
    if requested.keys() - fields:
        raise _not_found()
    return requested


def _parameter(request: web.Request, name: str) -> str:
    value = request.query.get(name)
    if not value:
        raise matrix_error(400, "M_MISSING_PARAM", f"`{name}` is missing")
    return value


def _response(matches: list[JSON]) -> web.Response:
    if not matches:
        raise _not_found()
    return web.json_response(matches)


def _not_found() -> web.HTTPException:
    return matrix_error(404, "M_NOT_FOUND", "There is nothing like that in the city")
