"""Sends to-device events as ghosts: encrypted by Olm sessions of this run, and stored before they are sent.

A session that an earlier run of the service used encrypts nothing: after the database was restored from an older copy,
it would use a key of the ratchet twice, and the other device could decrypt nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import structlog

from ...city.event_fields import ENCRYPTED
from ...city.ports import NewId, NowMs
from ...city.types import UserId
from ...encryption.accounts import device_keys
from ...encryption.olm_sessions import (
    DUMMY,
    ClaimedSessions,
    claim_request,
    encrypt_to_device,
    is_recovery_due,
    newest_session,
    start_sessions,
)
from ...encryption.rows import AccountRow, DeviceRow, OlmSessionRow
from ...errors import HomeserverRefused
from ...storage.database import Database, Transaction
from ..client.homeserver import Homeserver
from ..client.refusals import is_transient
from .metrics import EncryptionMetrics
from .support import EncryptionSupport

log = structlog.get_logger()


class OlmSender:
    """Starts Olm sessions and sends the to-device outbox. The caller holds the lock of the ghost."""

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        support: EncryptionSupport,
        metrics: EncryptionMetrics,
        now_ms: NowMs,
        new_id: NewId,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._support = support
        self._metrics = metrics
        self._now_ms = now_ms
        self._new_id = new_id
        self.started_at_ms = now_ms()
        """The start of this run, in milliseconds since 1970."""

    def begin_run(self) -> None:
        """Use no session of an earlier run, of this process or another one, for encryption."""
        self.started_at_ms = self._now_ms()

    async def sessions_with(
        self, tx: Transaction, ghost: UserId, devices: Collection[DeviceRow]
    ) -> dict[str, OlmSessionRow]:
        """Return the session of this run for each device that has one, by the device's identity key."""
        found = await tx.olm_sessions.with_devices(ghost, [device.curve25519 for device in devices])
        usable = {
            curve25519: newest_session(row for row in rows if row.used_at_ms >= self.started_at_ms)
            for curve25519, rows in found.items()
        }
        return {curve25519: row for curve25519, row in usable.items() if row is not None}

    async def claim(self, account: AccountRow, devices: Sequence[DeviceRow]) -> ClaimedSessions:
        """Start sessions with devices by their one-time keys; nothing is stored.

        Raises:
            HomeserverUnavailable, HomeserverRefused: the claim failed.
        """
        if not devices:
            return ClaimedSessions((), ())
        response = await self._homeserver.claim_keys(claim_request(devices), as_user=account.ghost)
        # In a thread: 500 people with three devices each take half a second.
        return await asyncio.to_thread(
            start_sessions, response, devices, account=account, key=self._support.key, now_ms=self._now_ms()
        )

    async def put_encrypted(
        self,
        tx: Transaction,
        account: AccountRow,
        device: DeviceRow,
        session: OlmSessionRow,
        *,
        event_type: str,
        content: dict[str, Any],
    ) -> None:
        """Encrypt an event for one device and store it in the to-device outbox, with the session."""
        key = self._support.key
        encrypted = encrypt_to_device(
            session,
            device,
            event_type=event_type,
            content=content,
            account=account,
            own_device_keys=device_keys(account, key),
            key=key,
        )
        await tx.olm_sessions.save([encrypted.session])
        await self.put(tx, account.ghost, ENCRYPTED, {device.user: {device.device_id: encrypted.content}})

    async def put(self, tx: Transaction, ghost: UserId, event_type: str, messages: dict[str, dict[str, Any]]) -> None:
        """Store to-device events in the outbox of a ghost; without messages nothing."""
        if messages:
            await tx.to_device_outbox.add(ghost, event_type, self._new_id(), messages, now_ms=self._now_ms())

    async def flush(self, account: AccountRow) -> None:
        """Send what waits in the to-device outbox of a ghost, in order.

        Raises:
            HomeserverUnavailable: the homeserver did not respond; the rest stays.
            HomeserverRefused: the homeserver refused for a reason that may pass.
        """
        async with self._database.read_only() as tx:
            rows = await tx.to_device_outbox.waiting(account.ghost)
        for row in rows:
            try:
                await self._homeserver.send_to_device(
                    row.event_type, row.txn_id, row.messages, as_user=account.ghost, device=account.device_id
                )
                self._metrics.count_to_device(row.event_type)
            except HomeserverRefused as error:
                if is_transient(error):
                    raise
                log.error("to_device_refused", ghost=account.ghost, type=row.event_type, error=str(error))
            async with self._database.transaction() as tx:
                await tx.to_device_outbox.delete(row.id)

    async def recover(self, account: AccountRow, device: DeviceRow) -> None:
        """Start a new Olm session with a device whose messages cannot be decrypted, and store an ``m.dummy`` for it.

        A device gets at most one an hour; `flush` sends it.

        Raises:
            HomeserverUnavailable, HomeserverRefused: the claim failed.
        """
        async with self._database.read_only() as tx:
            last_ms = await tx.olm_sessions.last_recovery(account.ghost, device.curve25519)
        if not is_recovery_due(last_ms, now_ms=self._now_ms()):
            return
        claimed = await self.claim(account, [device])
        async with self._database.transaction() as tx:
            await tx.olm_sessions.set_recovery(account.ghost, device.curve25519, self._now_ms())
            for session in claimed.sessions:
                await self.put_encrypted(tx, account, device, session, event_type=DUMMY, content={})
        log.info("olm_session_recovered", ghost=account.ghost, user=device.user, device=device.device_id)
