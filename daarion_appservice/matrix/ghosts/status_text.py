"""The status text of a ghost as a field of its profile (MSC4133, spec 1.16), for clients that show no ``m.presence``.

The field is written only if the homeserver declares support for profile fields, and only on a change: the current value
is stored in the table ``ghosts``.
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
    """Writes the status text of ghosts' profiles."""

    def __init__(self, homeserver: Homeserver, ghosts: Ghosts, identities: Identities) -> None:
        self._ghosts = ghosts
        self._field = ProfileField(homeserver, identities, FIELD)
        self._refused: dict[UserId, str | None] = {}
        """The status texts that the homeserver refused, so that the same request is not repeated."""

    def ask_again(self) -> None:
        """Query the homeserver's capabilities again before the next write, because it may have another version now."""
        self._field.ask_again()
        self._refused.clear()

    def is_right(self, user: UserId, text: str | None) -> bool:
        """Return whether no request is needed for the profile of ``user`` to show ``text``."""
        return (
            self._field.is_refused
            or self._ghosts.status_text(user) == text
            or (user in self._refused and self._refused[user] == text)
        )

    async def show(self, user: UserId, text: str | None) -> None:
        """Write ``text`` into a ghost's profile; None removes the field.

        Raises:
            HomeserverUnavailable, HomeserverRateLimited: the request failed and may be repeated.
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
