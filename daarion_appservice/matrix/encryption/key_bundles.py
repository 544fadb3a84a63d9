"""Imports the key bundles with which an inviter shares the history of a room (MSC4268)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from ...city.ports import NowMs
from ...city.types import MatrixRoomId, Room, UserId
from ...encryption.attachments import EncryptedFile, decrypt_attachment
from ...encryption.errors import EncryptionError
from ...encryption.inbound_sessions import merge
from ...encryption.key_bundles import BundleReference, import_bundle
from ...encryption.rows import InboundSessionRow
from ...errors import HomeserverRefused, HomeserverUnavailable
from ...storage.database import Database
from .device_lists import DeviceLists
from .encrypted_files import Download
from .room_readers import RoomReadersCache
from .support import EncryptionSupport

_MAX_BYTES: Final = 8 * 1024 * 1024
"""The size of a bundle: about 20,000 sessions, of which the engine reads the first 2,000."""
_MAX_WAITING: Final = 100
_MAX_WAITING_OF_SENDER: Final = 5
"""Rooms of one user whose bundle waits, so that a user who sends many displaces no other's."""
_DOWNLOAD_TIMEOUT_S: Final = 20.0

log = structlog.get_logger()


class _Waiting(NamedTuple):
    ghost: UserId
    bundle: BundleReference


class KeyBundles:
    """Imports bundles of inviters. A bundle that comes before its invitation waits in memory, so a restart loses it."""

    def __init__(
        self,
        database: Database,
        support: EncryptionSupport,
        device_lists: DeviceLists,
        rooms: RoomReadersCache,
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
        self._waiting: dict[tuple[UserId, MatrixRoomId], _Waiting] = {}
        """The newest bundle of each sender and room, the oldest first."""

    def add(self, ghost: UserId, bundle: BundleReference) -> None:
        """Keep a bundle until `import_for` is called for its chat, in place of an earlier one for the same room."""
        key = bundle.sender, bundle.room
        self._waiting.pop(key, None)
        of_sender = [each for each in self._waiting if each[0] == bundle.sender]
        if len(of_sender) >= _MAX_WAITING_OF_SENDER:
            del self._waiting[of_sender[0]]
        elif len(self._waiting) >= _MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[key] = _Waiting(ghost, bundle)

    async def import_for(self, chat: Room) -> None:
        """Import the bundles that the inviter of a chat has shared; a bundle that cannot be read is dropped."""
        # All at once: another task may import for the same chat meanwhile.
        mine = [self._waiting.pop(key) for key in list(self._waiting) if key[1] == chat.matrix_room_id]
        for ghost, bundle in mine:
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
        changed: dict[tuple[str, str], InboundSessionRow] = {}
        imported = import_bundle(encoded, room=bundle.room, owners=owners, ghost=ghost, key=self._support.key)
        async with self._database.transaction() as tx:
            known = await tx.megolm_sessions.inbound_of(bundle.room, {row.session_id for row in imported.sessions})
            for row in imported.sessions:
                name = row.session_id, row.curve25519
                if (kept := merge(known.get(name), row, self._support.key)) is not None:
                    known[name] = kept
                    changed[name] = kept
            await tx.megolm_sessions.save_inbound(changed.values())
            await tx.undecrypted.wake_room(bundle.room, self._now_ms())
        self._on_new_sessions()
        log.info("key_bundle_imported", room=bundle.room, sessions=len(imported.sessions), refused=imported.refused)
