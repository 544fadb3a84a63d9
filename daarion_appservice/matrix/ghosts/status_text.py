"""The status text of ghosts as a field of their profile (MSC4133, spec 1.16), for clients that show no ``m.presence``.

Only where the homeserver says that it can, and only on a change: what stands there is remembered with the ghost.
"""

from __future__ import annotations

from typing import Final

import structlog

from ...city.identity import Identities
from ...city.types import UserId
from ...errors import HomeserverRateLimited, HomeserverRefused, HomeserverUnavailable
from ..client.homeserver import Homeserver
from ..client.profile_fields import ProfileField
from .ghosts import Ghosts

FIELD: Final = "org.matrix.msc4426.status"

log = structlog.get_logger()


class StatusTextWriter:
    def __init__(self, homeserver: Homeserver, ghosts: Ghosts, identities: Identities) -> None:
        self._ghosts = ghosts
        self._field = ProfileField(homeserver, identities, FIELD)
        self._refused: dict[UserId, str | None] = {}
        """What the homeserver would not take, so that it is not asked again for the same."""

    def ask_again(self) -> None:
        """The homeserver may be another version now."""
        self._field.ask_again()
        self._refused.clear()

    def is_right(self, user: UserId, text: str | None) -> bool:
        """Whether there is nothing to do for ``user`` to show ``text``."""
        return (
            self._field.is_refused
            or self._ghosts.status_text(user) == text
            or (user in self._refused and self._refused[user] == text)
        )

    async def show(self, user: UserId, text: str | None) -> None:
        """Write ``text`` into the profile, or remove it for None.

        Raises:
            HomeserverUnavailable, HomeserverRateLimited: the request was not answered.
            SQLAlchemyError, OSError: the database is unavailable.
        """
        if not await self._field.is_taken() or self.is_right(user, text):
            return
        try:
            await self._field.set(user, None if text is None else {"text": text})
        except (HomeserverUnavailable, HomeserverRateLimited):
            raise
        except HomeserverRefused as error:
            self._refused[user] = text
            log.warning("status_text_refused", user=user, error=str(error), help="it is shown with presence only")
        else:
            self._refused.pop(user, None)
            await self._ghosts.shows_text(user, text)
