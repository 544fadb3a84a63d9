"""An agent's role as the field ``space.daarion.role`` of its ghost's profile (MSC4133, spec 1.16).

    {"kind": "assistant", "title": "…", "node": "node-1", "node_role": "guardian", "microdao": "daarion",
     "microdao_role": "scribe", "color": "#3b82f6"}

Keys without a value are omitted. The field is written only if the homeserver declares support for profile fields, and
only on a change: the current value is stored in the table ``ghosts``.
"""

from __future__ import annotations

from typing import Final

import orjson
import structlog

from ...city.identity import Identities
from ...city.places import microdao_role, node_role
from ...city.types import Agent, UserId
from ...errors import HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ..client.homeserver import Homeserver
from ..client.profile_fields import ProfileField
from .ghosts import Ghosts, is_unregistered

FIELD: Final = "space.daarion.role"

log = structlog.get_logger()


class RoleFieldWriter:
    """Writes the role field of agents' profiles."""

    def __init__(self, homeserver: Homeserver, ghosts: Ghosts, identities: Identities) -> None:
        self._ghosts = ghosts
        self._identities = identities
        self._field = ProfileField(homeserver, identities, FIELD)
        self._is_refusal_told = False

    def ask_again(self) -> None:
        """Query the homeserver's capabilities again before the next write, because it may have another version now."""
        self._field.ask_again()

    async def show(self, agent: Agent) -> None:
        """Write the role of an agent into its profile.

        Raises:
            HomeserverUnavailable, HomeserverRateLimited: the request failed and may be repeated.
            HomeserverRefused: the ghost is not registered.
        """
        await self._show(self._identities.agent(agent.slug), role_text(agent))

    async def clear(self, user: UserId) -> None:
        """Remove the role field from a ghost's profile. Raises as ``show``."""
        await self._show(user, None)

    async def _show(self, user: UserId, text: str | None) -> None:
        if self._ghosts.role_field(user) == text or not await self._field.is_taken():
            return
        try:
            await self._field.set(user, None if text is None else orjson.loads(text))
        except (HomeserverUnavailable, HomeserverRateLimited):
            raise
        except HomeserverRefused as error:
            if is_unregistered(error):
                raise
            self._tell_refusal(user, error)
        else:
            await self._ghosts.shows_role(user, text)

    def _tell_refusal(self, user: UserId, error: HomeserverRefused) -> None:
        if not self._is_refusal_told:
            self._is_refusal_told = True
            log.warning("role_field_refused", user=user, error=str(error), help="clients do without it")


def role_text(agent: Agent) -> str | None:
    """Return the role field as JSON, deterministically, or None if it would be empty."""
    said = {
        "kind": agent.kind,
        "title": agent.title,
        "node": agent.node_id,
        "node_role": node_role(agent),
        "microdao": agent.microdao,
        "microdao_role": microdao_role(agent),
        "color": agent.color,
    }
    known = {name: value for name, value in said.items() if value}
    return orjson.dumps(known).decode() if known else None
