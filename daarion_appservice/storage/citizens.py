"""Display names of citizens from their tokens, also of citizens who were never in a room."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from ..city.types import CitizenId
from .repository import Repository
from .tables import citizens
from .upsert import insert


class CitizenRepository(Repository):
    """The table ``citizens``."""

    async def put(self, citizen: CitizenId, display_name: str, *, now_ms: int) -> None:
        """Store a name, in place of an earlier one. ``now_ms`` is in milliseconds since 1970."""
        statement = insert(self._connection, citizens).values(
            id=citizen, display_name=display_name, updated_at_ms=now_ms
        )
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[citizens.c.id],
                set_={"display_name": display_name, "updated_at_ms": now_ms},
                where=citizens.c.display_name != display_name,
            )
        )

    async def names(self, ids: Collection[CitizenId]) -> dict[CitizenId, str]:
        """Return the known names of the citizens in ``ids``."""
        found = await self._connection.execute(
            select(citizens.c.id, citizens.c.display_name).where(citizens.c.id.in_(ids))
        )
        return {CitizenId(row.id): row.display_name for row in found}
