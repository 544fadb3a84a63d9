"""The last known state of each ghost on the homeserver, so that a restart sends no state that is set already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import UserId
from .media import note_avatars
from .tables import ghosts
from .upsert import insert


@dataclass(frozen=True, slots=True)
class Ghost:
    """A registered ghost with its profile on the homeserver."""

    user_id: UserId
    display_name: str | None = None
    avatar_source: str | None = None
    avatar_mxc: str | None = None
    has_device: bool = False
    status_text: str | None = None
    """Status text in the profile."""
    role_field: str | None = None
    """The profile's ``space.daarion.role`` field, as JSON."""


class GhostRepository:
    """The table ``ghosts``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Ghost]:
        return [_ghost(row) for row in await self._connection.execute(select(ghosts))]

    async def get(self, user: UserId) -> Ghost | None:
        row = (await self._connection.execute(select(ghosts).where(ghosts.c.user_id == user))).first()
        return _ghost(row) if row else None

    async def pictures(self) -> dict[UserId, str]:
        """Return the ``mxc://`` URI of each ghost's avatar."""
        rows = await self._connection.execute(
            select(ghosts.c.user_id, ghosts.c.avatar_mxc).where(ghosts.c.avatar_mxc.is_not(None))
        )
        return {UserId(user): mxc for user, mxc in rows}

    async def put(self, ghost: Ghost) -> None:
        values = {
            "display_name": ghost.display_name,
            "avatar_source": ghost.avatar_source,
            "avatar_mxc": ghost.avatar_mxc,
            "has_device": ghost.has_device,
            "status_text": ghost.status_text,
            "role_field": ghost.role_field,
        }
        statement = insert(self._connection, ghosts).values(user_id=ghost.user_id, **values)
        await self._connection.execute(statement.on_conflict_do_update(index_elements=[ghosts.c.user_id], set_=values))
        await note_avatars(self._connection, [ghost.avatar_mxc])

    async def forget(self, user: UserId) -> None:
        await self._connection.execute(delete(ghosts).where(ghosts.c.user_id == user))


def _ghost(row: Row[Any]) -> Ghost:
    return Ghost(
        UserId(row.user_id),
        row.display_name,
        row.avatar_source,
        row.avatar_mxc,
        row.has_device,
        row.status_text,
        row.role_field,
    )
