"""Display names of online citizens: presence events carry ids only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

import structlog

from ..city.ports import NowMs
from ..city.types import CitizenId
from ..errors import DatabaseError
from ..storage.database import Database

_REMEMBERED: Final = 100_000
"""Number of names that this process knows to be stored: a heartbeat every 20 s must not write to the database."""

log = structlog.get_logger()


class CitizenNames:
    """Stores and reads the display names of citizens."""

    def __init__(self, database: Database, now_ms: NowMs) -> None:
        self._database = database
        self._now_ms = now_ms
        self._stored: OrderedDict[CitizenId, str] = OrderedDict()

    async def record(self, citizen: CitizenId, display_name: str) -> None:
        """Store the name in a citizen's token, if it differs from the stored one.

        If the database is away, the next heartbeat stores the name.
        """
        if display_name == citizen or self._stored.get(citizen) == display_name:
            return
        try:
            async with self._database.transaction() as tx:
                await tx.citizens.put(citizen, display_name, now_ms=self._now_ms())
        except DatabaseError as error:
            log.debug("name_not_stored", error=str(error))
            return
        self._stored[citizen] = display_name
        self._stored.move_to_end(citizen)
        if len(self._stored) > _REMEMBERED:
            self._stored.popitem(last=False)

    async def of(self, ids: Collection[CitizenId]) -> dict[CitizenId, str]:
        """Return the known names of the citizens in ``ids``."""
        async with self._database.read_only() as tx:
            return await tx.citizens.names(ids)
