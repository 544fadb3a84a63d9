"""Answers the homeserver's queries for unknown user ids and aliases (application service API, "Querying")."""

from __future__ import annotations

import structlog

from ...city.agents import AgentDirectory
from ...city.identity import Identities
from ...city.types import AgentSlug, AuthorKind, UserId
from ...errors import HomeserverError
from ..ghosts.ghosts import Ghosts
from .rooms import MatrixRooms

log = structlog.get_logger()


class CityQueries:
    """Answers queries from the city's registry and rooms, and creates the ghost or the Matrix room that exists."""

    def __init__(self, agents: AgentDirectory, ghosts: Ghosts, rooms: MatrixRooms, identities: Identities) -> None:
        self._agents = agents
        self._ghosts = ghosts
        self._rooms = rooms
        self._identities = identities

    async def user_exists(self, user_id: str) -> bool:
        """Return whether ``user_id`` is an agent's ghost, which is then registered, or a registered citizen's ghost."""
        user = UserId(user_id)
        match self._identities.describe(user):
            case AuthorKind.AGENT, slug:
                agent = self._agents.get(AgentSlug(slug))
                if agent is None:
                    return False
                try:
                    await self._ghosts.ensure(user, self._ghosts.profiles.agent(agent))
                except HomeserverError as error:
                    log.warning(
                        "ghost_setup_failed",
                        agent=slug,
                        error=str(error),
                        help="a query of the homeserver asked for it",
                    )
                    return False
                return True
            case AuthorKind.CITIZEN, _:
                return self._ghosts.is_known(user)
        return False

    async def alias_exists(self, alias: str) -> bool:
        """Return whether ``alias`` is that of a city room, whose Matrix room is then created."""
        try:
            return await self._rooms.alias_exists(alias)
        except HomeserverError as error:
            log.warning(
                "room_reconcile_failed", alias=alias, error=str(error), help="a query of the homeserver asked for it"
            )
            return False
