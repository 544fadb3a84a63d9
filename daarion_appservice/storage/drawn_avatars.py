"""The avatars that the service drew and uploaded: which ``mxc://`` URI shows what."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, update

from .parameter_lists import parts
from .repository import Repository
from .tables import drawn_avatars
from .upsert import insert


class DrawnAvatarRepository(Repository):
    """The table ``drawn_avatars``."""

    async def current(self) -> dict[str, str]:
        """Return the ``mxc://`` URI of each avatar by its key, without the lost ones."""
        rows = await self._connection.execute(
            select(drawn_avatars.c.key, drawn_avatars.c.mxc).where(~drawn_avatars.c.is_lost)
        )
        return {row.key: row.mxc for row in rows}

    async def add(self, key: str, mxc: str) -> str:
        """Store an upload, and return the current ``mxc://`` URI: another process may have uploaded the same before."""
        statement = insert(self._connection, drawn_avatars).values(key=key, mxc=mxc)
        await self._connection.execute(statement.on_conflict_do_nothing())
        return await self.find(key) or mxc

    async def find(self, key: str) -> str | None:
        """Return the current ``mxc://`` URI of an avatar, or None."""
        found = await self._connection.execute(
            select(drawn_avatars.c.mxc).where(drawn_avatars.c.key == key, ~drawn_avatars.c.is_lost)
        )
        return found.scalar_one_or_none()

    async def with_key(self, key: str) -> set[str]:
        """Return all ``mxc://`` URIs of an avatar, the lost ones included."""
        found = await self._connection.execute(select(drawn_avatars.c.mxc).where(drawn_avatars.c.key == key))
        return set(found.scalars())

    async def mark_lost(self, mxc: str) -> None:
        """Note that the homeserver does not have the file any more."""
        await self._connection.execute(update(drawn_avatars).where(drawn_avatars.c.mxc == mxc).values(is_lost=True))

    async def among(self, addresses: Collection[str]) -> set[str]:
        """Return those of the ``mxc://`` URIs that the service drew, the lost ones included."""
        drawn: set[str] = set()
        for part in parts(addresses):
            found = await self._connection.execute(select(drawn_avatars.c.mxc).where(drawn_avatars.c.mxc.in_(part)))
            drawn.update(found.scalars())
        return drawn
