"""Requests of ghosts for the keys of sessions, to the device that sent an undecryptable event."""

from __future__ import annotations

from ...city.ports import NewId, NowMs
from ...city.types import UserId
from ...encryption.key_requests import KEY_REQUEST, new_request, request_content, retry_request
from ...encryption.megolm_events import MegolmReference
from ...encryption.rows import KeyRequestRow
from ...storage.database import Database, Transaction
from .locks import GhostLocks
from .metrics import EncryptionMetrics, KeyRequest
from .olm_sender import OlmSender


class KeyRequests:
    """Sends each request at most four times."""

    def __init__(
        self,
        database: Database,
        locks: GhostLocks,
        sender: OlmSender,
        metrics: EncryptionMetrics,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._database = database
        self._locks = locks
        self._sender = sender
        self._metrics = metrics
        self._now_ms = now_ms
        self._new_id = new_id

    async def request(self, ghost: UserId, reference: MegolmReference) -> None:
        """Ask for the key of an event, or ask again if the last request was long enough ago.

        Raises:
            HomeserverUnavailable, HomeserverRefused: the request was stored and is sent later.
        """
        async with self._locks.of(ghost):
            async with self._database.transaction() as tx:
                stored = await tx.encryption_accounts.get(ghost)
                if stored is None or not stored.is_uploaded:
                    return
                account = stored.account
                row = await self._next(tx, ghost, reference)
                if row is None:
                    return
                await tx.key_requests.save(row)
                content = request_content(row, account=account, curve25519=reference.curve25519)
                await self._sender.put(tx, ghost, KEY_REQUEST, {row.user: {row.device_id: content}})
            self._metrics.count_key_request(KeyRequest.SENT)
            await self._sender.flush(account)

    async def _next(self, tx: Transaction, ghost: UserId, reference: MegolmReference) -> KeyRequestRow | None:
        requests = await tx.key_requests.open(ghost)
        wanted = (reference.room, reference.session_id, reference.sender)
        asked = next((row for row in requests if (row.room, row.session_id, row.user) == wanted), None)
        if asked is not None:
            return retry_request(asked, request_id=self._new_id(), now_ms=self._now_ms())
        return new_request(
            reference, ghost=ghost, request_id=self._new_id(), open_requests=requests, now_ms=self._now_ms()
        )
