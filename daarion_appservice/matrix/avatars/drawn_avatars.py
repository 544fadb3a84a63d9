"""Uploads the avatars that the service draws, each once, and finds those that the homeserver has lost.

    what to show ─► key ─► in ``drawn_avatars``? ─yes─► mxc
                              └─no─► draw (thread) ─► upload as the bot ─► store ─► mxc

The table is shared by all processes and stays over restarts. A homeserver can lose a file: its admin deletes it, a backup of
the database is older or newer than that of the media, or the homeserver was set up again. ``find_lost`` requests each
avatar from time to time, and one that is not there any more is uploaded again when it is needed next.

No failure of the media repository stops the set-up of a ghost or room, which then has no avatar until a later pass.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import structlog
from mautrix.api import Method

from ...city.avatars import DrawnAvatar, avatar_key
from ...city.media import split_mxc
from ...city.types import UserId
from ...errors import HomeserverRefused, HomeserverUnavailable
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.refusals import is_transient, is_unregistered
from ..client.transport import CLIENT_V1
from .drawing import MIMETYPE, draw

_UPLOADS_AT_ONCE: Final = 2
"""Synapse makes thumbnails of each upload, so a thousand at once would delay messages."""
_CHECK_EVERY_S: Final = 6 * 3600.0
_CHECKS_AT_ONCE: Final = 50
"""Maximum number of requests in one call of ``find_lost``."""

log = structlog.get_logger()


@dataclass(slots=True)
class DrawnAvatars:
    """The uploaded avatars, with those of the table in memory."""

    homeserver: Homeserver
    database: Database
    bot: UserId
    uploaded: dict[str, str] = field(default_factory=dict)
    """The ``mxc://`` URI of each avatar by its key."""
    checked_at_s: dict[str, float] = field(default_factory=dict)
    """When the homeserver was last seen to have each ``mxc://`` URI (event loop's time)."""
    locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_UPLOADS_AT_ONCE))
    is_refused: bool = False
    """Whether the homeserver refuses uploads; they are tried again after the next ``load``."""
    is_incomplete: bool = False
    """Whether an avatar is missing for a temporary reason, or was lost."""

    async def load(self) -> None:
        """Load the table: another process may have uploaded avatars, or found that some are lost."""
        self.is_refused = False
        async with self.database.read_only() as tx:
            self.uploaded = await tx.drawn_avatars.current()

    async def address(self, avatar: DrawnAvatar, *, current: str | None = None) -> str | None:
        """Return the ``mxc://`` URI of an avatar, which is drawn and uploaded if necessary.

        Args:
            avatar: what it shows.
            current: the URI that is shown now. For any other one, the homeserver is asked first whether it has the file.

        Returns:
            The URI, or None if there is none for now; ``is_incomplete`` is then set if a later call may succeed.
        """
        key = avatar_key(avatar)
        mxc = self.uploaded.get(key)
        if mxc is not None and mxc == current:
            return mxc
        try:
            async with self.locks[key]:
                if key not in self.uploaded and (mxc := await self._uploaded_by_others(key)):
                    self.uploaded[key] = mxc
                return await self._checked(key) or await self._upload(key, avatar)
        except (HomeserverUnavailable, HomeserverRefused) as error:
            log.debug("avatar_delayed", error=str(error))
            self.is_incomplete = True
            return None

    async def is_drawn(self, mxc: str) -> bool:
        """Return whether the service drew the avatar with this URI."""
        async with self.database.read_only() as tx:
            return bool(await tx.drawn_avatars.among([mxc]))

    async def find_lost(self, files: Collection[str] = ()) -> set[str]:
        """Request some of the avatars from the homeserver, the longest unchecked first; stop at the first failure.

        Args:
            files: ``mxc://`` URIs of avatars that the service uploaded from files, which are checked as well.

        Returns:
            Those of ``files`` that the homeserver does not have any more. Lost drawn avatars are noted.
        """
        earliest_s = asyncio.get_running_loop().time() - _CHECK_EVERY_S
        keys = {mxc: key for key, mxc in self.uploaded.items()}
        checks = ((self.checked_at_s.get(mxc, earliest_s), mxc) for mxc in {*keys, *files})
        due = sorted(check for check in checks if check[0] <= earliest_s)
        lost: set[str] = set()
        try:
            for _, mxc in due[:_CHECKS_AT_ONCE]:  # One after the other, so that people's requests are not delayed.
                if await self._is_there(mxc):
                    continue
                if key := keys.get(mxc):
                    await self._note_loss(key, mxc)
                else:
                    lost.add(mxc)
        except (HomeserverUnavailable, HomeserverRefused) as error:
            # Only the media repository may be unavailable: it can be a process of its own.
            log.debug("avatars_unchecked", error=str(error))
        return lost

    async def _checked(self, key: str) -> str | None:
        """Return the URI of an uploaded avatar, if the homeserver was seen to have it since the start."""
        mxc = self.uploaded.get(key)
        if mxc is None or mxc in self.checked_at_s or await self._is_there(mxc):
            return mxc
        await self._note_loss(key, mxc)
        return None

    async def _note_loss(self, key: str, mxc: str) -> None:
        self.uploaded.pop(key, None)
        self.is_incomplete = True
        async with self.database.transaction() as tx:
            await tx.drawn_avatars.mark_lost(mxc)

    async def _uploaded_by_others(self, key: str) -> str | None:
        async with self.database.read_only() as tx:
            return await tx.drawn_avatars.find(key)

    async def _is_there(self, mxc: str) -> bool:
        """Request a file; note the time of the check if the homeserver has it, and log its loss otherwise."""
        parts = split_mxc(mxc)
        if parts is None:
            return False
        server, media_id = parts
        path = CLIENT_V1.media.download[server][media_id]
        try:
            async with self.homeserver.streaming(Method.GET, path, query={"allow_redirect": "false"}):
                pass
        except HomeserverRefused as error:
            if is_transient(error):
                raise
            # Any other refusal says nothing about the file: an old homeserver without this path, for example.
            if error.errcode == "M_NOT_FOUND":
                self.checked_at_s.pop(mxc, None)
                log.warning("avatar_lost", mxc=mxc, help="the homeserver has lost this file: it is uploaded again")
                return False
        self.checked_at_s[mxc] = asyncio.get_running_loop().time()
        return True

    async def _upload(self, key: str, avatar: DrawnAvatar) -> str | None:
        if self.is_refused:
            return None
        async with self.uploads:
            png = await asyncio.to_thread(draw, avatar)
            try:
                mxc = await self._upload_as_bot(png)
            except HomeserverRefused as error:
                if is_transient(error):
                    raise
                self.is_refused = True
                log.warning(
                    "avatars_refused",
                    error=str(error),
                    help="the homeserver takes no avatars: clients show letters instead",
                )
                return None
        async with self.database.transaction() as tx:
            mxc = await tx.drawn_avatars.add(key, mxc)
        self.uploaded[key] = mxc
        self.checked_at_s[mxc] = asyncio.get_running_loop().time()
        return mxc

    async def _upload_as_bot(self, png: bytes) -> str:
        try:
            return await self.homeserver.upload(self.bot, png, MIMETYPE, filename="avatar.png")
        except HomeserverRefused as error:
            if not is_unregistered(error):
                raise
            await self.homeserver.register(self.bot)  # The homeserver was set up again, or this is the first request.
            return await self.homeserver.upload(self.bot, png, MIMETYPE, filename="avatar.png")
