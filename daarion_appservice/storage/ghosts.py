"""The last known state of each ghost on the homeserver, so that a restart sends no state that is set already."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select, true

from ..city.types import UserId
from .media import note_avatars
from .parameter_lists import parts
from .repository import Repository
from .row_mapper import RowMapper
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

    @property
    def own_avatar(self) -> str | None:
        """The avatar, unless the service drew it: the city's pages draw that one themselves."""
        return None if (self.avatar_source or "").startswith(DRAWN) else self.avatar_mxc


_ghost: Final = RowMapper(Ghost)


DRAWN: Final = "drawn:"
"""The beginning of ``avatar_source`` of an avatar that the service drew."""


class GhostRepository(Repository):
    """The table ``ghosts``."""

    async def all(self) -> list[Ghost]:
        return [_ghost(row) for row in await self._connection.execute(select(ghosts))]

    async def get(self, user: UserId) -> Ghost | None:
        row = (await self._connection.execute(select(ghosts).where(ghosts.c.user_id == user))).first()
        return _ghost(row) if row else None

    async def own_avatars(self, users: Collection[UserId] | None = None) -> dict[UserId, str]:
        """Return the ``mxc://`` URI of each ghost's avatar, without those that the service drew.

        Args:
            users: The ghosts; None for all.
        """
        if users is not None:
            return {user: avatar for part in parts(users) for user, avatar in (await self._own_avatars(part)).items()}
        return await self._own_avatars(None)

    async def _own_avatars(self, users: list[UserId] | None) -> dict[UserId, str]:
        # Without a source the comparison would be NULL, and its negation, too.
        is_drawn = func.coalesce(ghosts.c.avatar_source, "").startswith(DRAWN, autoescape=True)
        rows = await self._connection.execute(
            select(ghosts.c.user_id, ghosts.c.avatar_mxc).where(
                ghosts.c.avatar_mxc.is_not(None), ~is_drawn, true() if users is None else ghosts.c.user_id.in_(users)
            )
        )
        return {UserId(user): mxc for user, mxc in rows}

    async def put(self, ghost: Ghost) -> None:
        values = _ghost.values(ghost)
        statement = insert(self._connection, ghosts).values(values)
        await self._connection.execute(statement.on_conflict_do_update(index_elements=[ghosts.c.user_id], set_=values))
        await note_avatars(self._connection, [ghost.avatar_mxc])

    async def delete(self, user: UserId) -> None:
        await self._connection.execute(delete(ghosts).where(ghosts.c.user_id == user))
