"""The avatars of the agents' ghosts as paths of the city's media routes, including avatars uploaded from files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..city.types import UserId
from ..storage.database import Database
from .media_urls import media_path

_PICTURE_BYTES: Final = 400
"""The estimated size of one entry in the cache."""


class AgentAvatars:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[UserId, str | None]:
        """Return the path of each ghost's avatar by its user id; ghosts without an avatar are omitted."""
        return await self._database.remembered.get("pictures", self._read, lambda found: _PICTURE_BYTES * len(found))

    async def _read(self) -> dict[UserId, str | None]:
        async with self._database.reading() as tx:
            return {user: media_path(mxc) for user, mxc in (await tx.ghosts.pictures()).items()}
