"""Imports the key bundles with which an inviter shares the history of a room (MSC4268)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from ...city.ports import NowMs
from ...city.types import Room, UserId
from ...encryption.attachments import EncryptedFile, decrypt_attachment
from ...encryption.errors import EncryptionError
from ...encryption.inbound_sessions import merge
from ...encryption.key_bundles import BundleReference, import_bundle
from ...errors import HomeserverRefused, HomeserverUnavailable
from ...storage.database import Database
from .device_lists import DeviceLists
from .encrypted_files import Download
from .encrypted_rooms import EncryptedRooms
from .support import EncryptionSupport

_MAX_BYTES: Final = 8 * 1024 * 1024
"""The size of a bundle: about 20,000 sessions, of which the engine reads the first 2,000."""
_MAX_WAITING: Final = 100
_DOWNLOAD_TIMEOUT_S: Final = 20.0

log = structlog.get_logger()


class KeyBundles:
    """Imports bundles of inviters. A bundle that comes before its invitation waits in memory, so a restart loses it."""

    def __init__(
        self,
        database: Database,
        support: EncryptionSupport,
        device_lists: DeviceLists,
        rooms: EncryptedRooms,
        download: Download,
        now_ms: NowMs,
        *,
        on_new_sessions: Callable[[], None],
    ) -> None:
        self._database = database
        self._support = support
        self._device_lists = device_lists
        self._rooms = rooms
        self._download = download
        self._now_ms = now_ms
        self._on_new_sessions = on_new_sessions
        self._waiting: deque[tuple[UserId, BundleReference]] = deque(maxlen=_MAX_WAITING)

    def add(self, ghost: UserId, bundle: BundleReference) -> None:
        """Keep a bundle until `import_for` is called for its chat."""
        self._waiting.append((ghost, bundle))

    async def import_for(self, chat: Room) -> None:
        """Import the bundles that the inviter of a chat has shared; a bundle that cannot be read is dropped."""
        mine = [each for each in self._waiting if each[1].room == chat.matrix_room_id]
        for ghost, bundle in mine:
            self._waiting.remove((ghost, bundle))
            # The inviter vouches for the owners of the sessions, so it must be the one whom the agent followed.
            if bundle.sender != chat.name:
                log.info("key_bundle_refused", room=bundle.room, sender=bundle.sender, error="not from the inviter")
                continue
            try:
                await self._import(chat, ghost, bundle)
            except (EncryptionError, HomeserverUnavailable, HomeserverRefused, TimeoutError) as error:
                log.warning("key_bundle_not_read", room=bundle.room, sender=bundle.sender, error=str(error))

    async def _import(self, chat: Room, ghost: UserId, bundle: BundleReference) -> None:
        file = EncryptedFile.parse(bundle.file)
        async with asyncio.timeout(_DOWNLOAD_TIMEOUT_S):
            ciphertext = await self._download(file.url, _MAX_BYTES)
        if ciphertext is None:
            log.warning("key_bundle_not_read", room=bundle.room, sender=bundle.sender, error="it is too large")
            return
        encoded = await asyncio.to_thread(decrypt_attachment, ciphertext, file)
        readers = await self._rooms.readers(chat, as_ghost=ghost)
        owners = await self._device_lists.owners(readers.users, as_ghost=ghost)
        imported = import_bundle(encoded, room=bundle.room, owners=owners, ghost=ghost, key=self._support.key)
        async with self._database.transaction() as tx:
            for row in imported.sessions:
                known = await tx.megolm_sessions.find_inbound(row.room, row.session_id, row.curve25519)
                kept = merge(known, row, self._support.key)
                if kept is not None:
                    await tx.megolm_sessions.save_inbound([kept])
            await tx.undecrypted.wake_room(bundle.room, self._now_ms())
        self._on_new_sessions()
        log.info("key_bundle_imported", room=bundle.room, sessions=len(imported.sessions), refused=imported.refused)
