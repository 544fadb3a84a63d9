"""The avatars of the agents' ghosts as paths of the city's media routes, including avatars uploaded from files.

An agent without one has the avatar that the pages draw; the service draws the same for Matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..city.types import UserId
from ..storage.database import Database
from .media_urls import media_path

_ENTRY_BYTES: Final = 400
"""The estimated size of one entry in the cache."""


@dataclass(frozen=True, slots=True)
class AgentAvatars:
    database: Database

    async def all(self) -> Mapping[UserId, str | None]:
        """Return the path of each ghost's avatar by its user id; ghosts without an avatar are omitted."""
        return await self.database.read_cache.get("pictures", self._read, lambda avatars: _ENTRY_BYTES * len(avatars))

    async def _read(self) -> dict[UserId, str | None]:
        async with self.database.read_only() as tx:
            return {user: media_path(mxc) for user, mxc in (await tx.ghosts.own_avatars()).items()}
