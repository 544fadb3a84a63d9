"""Declines verification requests in chats at once: an agent cannot compare emoji, and a client would wait for ten minutes."""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import Any, Final

import structlog

from ...city.event_fields import ENCRYPTED
from ...city.events import VerificationRequested
from ...city.identity import Identities
from ...encryption.errors import EncryptionError
from ...errors import DatabaseError, DatabaseUnavailable, HomeserverRefused, HomeserverUnavailable
from ...realtime.worker import Worker
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..encryption import verification
from ..encryption.room_encryptor import ClearEvent, RoomEncryptor, is_to_be_encrypted
from ..ghosts.ghosts import Ghosts

_MAX_WAITING: Final = 100
_MAX_WAITING_OF_CHAT: Final = 3

log = structlog.get_logger()


class VerificationDeclines:
    """Sends ``m.key.verification.cancel`` as the agent that was asked; a restart forgets what was not sent."""

    def __init__(
        self,
        database: Database,
        homeserver: Homeserver,
        monitor: HomeserverMonitor,
        ghosts: Ghosts,
        identities: Identities,
        encryptor: RoomEncryptor,
    ) -> None:
        self._database = database
        self._homeserver = homeserver
        self._ghosts = ghosts
        self._identities = identities
        self._encryptor = encryptor
        self._waiting: deque[VerificationRequested] = deque(maxlen=_MAX_WAITING)
        self._worker = Worker("verification_declines", idle_s=None, monitor=monitor)

    def add(self, request: VerificationRequested) -> None:
        """Decline a request soon, unless requests of the same chat wait already."""
        if sum(each.chat == request.chat for each in self._waiting) >= _MAX_WAITING_OF_CHAT:
            return
        self._waiting.append(request)
        self._worker.wake()

    async def run(self) -> None:
        """Decline requests until cancelled. Can be called again."""
        await self._worker.run(self._decline_all)

    async def _decline_all(self) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            try:
                await self._decline(request)
            except (HomeserverUnavailable, DatabaseUnavailable):
                self._waiting.appendleft(request)
                raise
            except (HomeserverRefused, DatabaseError, EncryptionError) as error:
                log.info("verification_not_declined", agent=request.agent, error=str(error))

    async def _decline(self, request: VerificationRequested) -> None:
        async with self._database.read_only() as tx:
            chat = await tx.rooms.get(request.chat)
        if chat is None or chat.archived or chat.matrix_room_id is None:
            return
        ghost = self._identities.agent(request.agent)
        # Of a hash: in old room versions the sender's homeserver chooses an event id of up to 255 characters.
        event_type, txn_id = verification.CANCEL, f"verification{sha256(request.event.encode()).hexdigest()}"
        content: dict[str, Any] = verification.REFUSAL | {
            "m.relates_to": {"rel_type": "m.reference", "event_id": request.event}
        }
        if is_to_be_encrypted(chat, event_type):
            if not self._encryptor.is_active:
                return
            content = await self._encryptor.encrypt(ClearEvent(ghost, chat, event_type, content, txn_id))
            event_type = ENCRYPTED
        await self._homeserver.send(
            chat.matrix_room_id,
            event_type,
            txn_id,
            content,
            as_user=ghost,
            with_device=self._ghosts.has_device(ghost),
        )
        async with self._database.transaction() as tx:
            await tx.encrypted_entries.delete(txn_id)
