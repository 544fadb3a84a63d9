"""The pictures of the agents' ghosts, as the city gives them out: those from files, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..city.types import UserId
from ..storage.database import Database
from .media_urls import media_path

_PICTURE_BYTES: Final = 400
"""What one entry is reckoned to take up."""


class AgentAvatars:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[UserId, str | None]:
        """Return the path of each ghost's picture by its user id; ghosts without a picture are left out."""
        return await self._database.remembered.get("pictures", self._read, lambda found: _PICTURE_BYTES * len(found))

    async def _read(self) -> dict[UserId, str | None]:
        async with self._database.reading() as tx:
            return {user: media_path(mxc) for user, mxc in (await tx.ghosts.pictures()).items()}
