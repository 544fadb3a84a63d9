"""Display names and status texts of online citizens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

import structlog

from ..city.events import ProfileChanged
from ..city.identity import Identities
from ..city.ports import NowMs, Publish
from ..city.presence import KeepCurrent
from ..city.types import CitizenId, citizen_subject
from ..errors import DatabaseError
from ..storage.database import Database

_REMEMBERED: Final = 100_000
"""Number of names that this process knows to be stored: a heartbeat every 20 s must not write to the database."""

log = structlog.get_logger()


class CitizenNames:
    """Stores and reads the display names of citizens."""

    def __init__(self, database: Database, identities: Identities, publish: Publish, now_ms: NowMs) -> None:
        self._database = database
        self._identities = identities
        self._publish = publish
        self._now_ms = now_ms
        self._stored: OrderedDict[CitizenId, tuple[str, int]] = OrderedDict()
        """The names, and how often the citizen was erased before: an erasure deletes the name."""

    async def record(self, citizen: CitizenId, display_name: str) -> None:
        """Store the name in a citizen's token, if it differs from the stored one.

        If the database is unavailable, the next heartbeat stores the name.
        """
        stored = display_name, self._identities.erased.generation(citizen)
        if display_name == citizen or self._stored.get(citizen) == stored:
            return
        try:
            async with self._database.transaction() as tx:
                is_new = await tx.citizens.put(citizen, display_name, now_ms=self._now_ms())
        except DatabaseError as error:
            log.debug("name_not_stored", error=str(error))
            return
        if is_new:
            self._publish(ProfileChanged(citizen_subject(citizen), display_name))
        self._stored[citizen] = stored
        self._stored.move_to_end(citizen)
        if len(self._stored) > _REMEMBERED:
            self._stored.popitem(last=False)

    def status_text(self, citizen: CitizenId, sent: str | KeepCurrent | None) -> str | KeepCurrent | None:
        """Return the status text of a heartbeat: the one that was sent, else that of the own profile, where it has one."""
        own = self._identities.accounts.own_profile(citizen).status_text
        return own if isinstance(sent, KeepCurrent) and own is not None else sent

    async def of(self, ids: Collection[CitizenId]) -> dict[CitizenId, str]:
        """Return the known names of the citizens in ``ids``."""
        async with self._database.read_only() as tx:
            return await tx.citizens.names(ids)
