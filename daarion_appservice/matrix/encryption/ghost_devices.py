"""The encryption devices of ghosts: keys, cross-signing, and a new device where the old one is lost.

    no account ─► keys stored ─► device, keys and signatures uploaded ─► marked as uploaded
    account lost (other keys on the homeserver, or a reset) ─► a new device id, the same cross-signing keys

A crash at any point continues at the next `ensure`: what is stored is uploaded again, which the homeserver accepts.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import structlog

from ...city.types import UserId
from ...encryption.accounts import create_account, device_keys, mark_published, top_up
from ...encryption.cross_signing import device_signature_upload, has_device, has_identity, signing_keys_upload
from ...encryption.errors import InvalidPickle
from ...encryption.rows import AccountRow
from ...errors import HomeserverRefused
from ...storage.database import Database
from ..client.homeserver import Homeserver
from ..client.refusals import is_key_clash, is_unregistered
from ..client.user_requests import ENCRYPTION_DEVICE_PREFIX
from .locks import GhostLocks
from .metrics import DeviceSetUp, EncryptionMetrics
from .support import EncryptionSupport

_QUERY_USERS: Final = 50
"""The ghosts of one ``POST /keys/query``."""

log = structlog.get_logger()


class GhostDevices:
    """Sets up, checks, replaces and deletes the encryption devices of agents' ghosts."""

    def __init__(
        self,
        homeserver: Homeserver,
        database: Database,
        support: EncryptionSupport,
        locks: GhostLocks,
        metrics: EncryptionMetrics,
    ) -> None:
        self._homeserver = homeserver
        self._database = database
        self._support = support
        self._locks = locks
        self._metrics = metrics
        self._ready: set[UserId] = set()
        """The ghosts whose keys are on the homeserver, as far as this run knows."""
        self._lost: set[UserId] = set()
        """The ghosts whose device this run found lost, for the metric and the log."""

    def forget_all(self) -> None:
        """Forget which ghosts are ready; another leader may have replaced their devices."""
        self._ready.clear()

    async def ensure(self, ghost: UserId) -> None:
        """Give a registered ghost its device and keys, before other users can see it; send no request if it has them.

        Raises:
            HomeserverUnavailable: the homeserver did not respond.
            HomeserverRefused: the homeserver refused for a reason that may pass, or does not know the ghost.
        """
        if not self._support.is_active or ghost in self._ready:
            return
        async with self._locks.of(ghost):
            await self.ensure_locked(ghost)

    async def ensure_locked(self, ghost: UserId) -> None:
        """`ensure` for a caller that holds the ghost's lock."""
        if not self._support.is_active or ghost in self._ready:
            return
        try:
            await self._set_up(ghost)
        except HomeserverRefused as error:
            if is_unregistered(error) or not self._support.record_refusal(error):
                raise
            return
        self._support.mark_ready()
        self._ready.add(ghost)
        self._lost.discard(ghost)

    async def renew(self, ghost: UserId) -> None:
        """Give a ghost whose reset was requested a new device."""
        async with self._locks.of(ghost):
            await self.renew_locked(ghost)

    async def renew_registered(self, ghost: UserId) -> None:
        """Give a ghost that was registered its device; one with an account was lost by the homeserver, with its old device."""
        async with self._locks.of(ghost):
            await self.replace_lost_locked(ghost)

    async def renew_locked(self, ghost: UserId) -> None:
        """Replace the ghost's device by a new one, for a caller that holds its lock. Without an account, make one."""
        if not self._support.is_active:
            return
        self._ready.discard(ghost)
        async with self._database.transaction() as tx:
            await tx.encryption_accounts.request_reset(ghost)
        await self.ensure_locked(ghost)

    async def replace_lost_locked(self, ghost: UserId) -> None:
        """`renew_locked` for a ghost whose keys on the homeserver are not those of its account."""
        self._lost.add(ghost)
        await self.renew_locked(ghost)

    # --- set-up ---------------------------------------------------------------------------------------

    async def _set_up(self, ghost: UserId) -> None:
        async with self._database.read_only() as tx:
            stored = await tx.encryption_accounts.get(ghost)
        reason = DeviceSetUp.NEW if stored is None else None
        if stored is not None and stored.is_reset_requested:
            reason = DeviceSetUp.LOST if ghost in self._lost else DeviceSetUp.RESET
        if stored is None or reason:
            account = await self._create(ghost, stored.account if stored is not None else None)
        elif stored.is_uploaded:
            return
        else:
            account = stored.account
        account = await self._upload_or_replace(ghost, account)
        await self._delete_other_devices(account)
        async with self._database.transaction() as tx:
            await tx.encryption_accounts.set_uploaded(ghost, is_uploaded=True)
        self._metrics.count_device(reason or DeviceSetUp.NEW)
        log.info("encryption_device_set_up", ghost=ghost, device=account.device_id, reason=str(reason or "continued"))

    async def _upload_or_replace(self, ghost: UserId, account: AccountRow) -> AccountRow:
        """Upload the keys of an account; if the homeserver has others for the device, those of a new one."""
        try:
            await self._upload(account)
        except HomeserverRefused as error:
            if not is_key_clash(error):
                raise
            account = await self._create(ghost, account)
            await self._upload(account)
        return account

    async def _create(self, ghost: UserId, before: AccountRow | None) -> AccountRow:
        device_id = f"{ENCRYPTION_DEVICE_PREFIX}{secrets.token_hex(6).upper()}"
        try:
            account = create_account(ghost, device_id, self._support.key, signing_keys_of=before)
            signing_keys_upload(account, self._support.key)
        except InvalidPickle:
            # The pickle key was replaced: people see a new identity of the agent.
            log.warning(
                "encryption_identity_lost", ghost=ghost, help="encryption.pickle_key is not that of the database"
            )
            account = create_account(ghost, device_id, self._support.key)
        async with self._database.transaction() as tx:
            await tx.olm_sessions.delete_all(ghost)
            await tx.megolm_sessions.delete_outbound(ghost)
            await tx.to_device_outbox.delete_all(ghost)
            # Their keys were in the to-device requests that are deleted above. The events are encrypted again, and sent with the
            # same transaction id, so none is doubled.
            await tx.encrypted_entries.delete_all(ghost)
            await tx.encryption_accounts.delete(ghost)
            await tx.encryption_accounts.save(account)
        return account

    async def _upload(self, account: AccountRow) -> None:
        ghost, device, key = account.ghost, account.device_id, self._support.key
        await self._homeserver.make_device(ghost, device)
        known = await self._homeserver.query_keys([ghost], as_user=ghost)
        upload = top_up(account, key, counts={}, unused_fallback_types=[])
        async with self._database.transaction() as tx:
            await tx.encryption_accounts.save(upload.account)
        await self._homeserver.upload_keys(ghost, device, {"device_keys": device_keys(account, key), **upload.body})
        async with self._database.transaction() as tx:
            await tx.encryption_accounts.save(mark_published(upload.account, key))
        if not has_identity(known, account, key):
            # Synapse answers 500 to the same keys with other signatures, so they are uploaded only once.
            await self._homeserver.upload_signing_keys(ghost, device, signing_keys_upload(account, key))
        await self._homeserver.upload_signatures(ghost, device, device_signature_upload(account, key))

    async def _delete_other_devices(self, account: AccountRow) -> None:
        """Delete the earlier encryption devices of a ghost, to which people would encrypt in vain."""
        for device in await self._homeserver.devices(account.ghost):
            if device.startswith(ENCRYPTION_DEVICE_PREFIX) and device != account.device_id:
                await self._homeserver.delete_device(account.ghost, device)

    # --- checks ---------------------------------------------------------------------------------------

    async def find_lost(self) -> list[UserId]:
        """Return the ghosts whose stored account is not that of their device on the homeserver, and mark them for a reset.

        A database that was restored from an older copy, a homeserver that was, and another pickle key are found so.
        """
        async with self._database.read_only() as tx:
            ghosts = await tx.encryption_accounts.ghosts(is_uploaded=True)
        lost: list[UserId] = []
        for start in range(0, len(ghosts), _QUERY_USERS):
            lost += await self._lost_of(ghosts[start : start + _QUERY_USERS])
        if lost:
            async with self._database.transaction() as tx:
                for ghost in lost:
                    await tx.encryption_accounts.request_reset(ghost)
            self._ready.difference_update(lost)
            self._lost.update(lost)
            log.warning("encryption_devices_lost", count=len(lost), help="these agents get new devices")
        return lost

    async def _lost_of(self, ghosts: Sequence[UserId]) -> list[UserId]:
        async with self._database.read_only() as tx:
            stored = [await tx.encryption_accounts.get(ghost) for ghost in ghosts]
        response = await self._query(ghosts)
        if response is None:
            return []
        accounts = [each.account for each in stored if each is not None]
        return [account.ghost for account in accounts if not self._is_whole(response, account)]

    async def _query(self, ghosts: Sequence[UserId]) -> dict[str, Any] | None:
        """Query the keys of ghosts as one of them; None if the homeserver knows none: they are registered again."""
        for ghost in ghosts:
            try:
                return await self._homeserver.query_keys(ghosts, as_user=ghost)
            except HomeserverRefused as error:
                if not is_unregistered(error):
                    raise
        return None

    def _is_whole(self, response: dict[str, Any], account: AccountRow) -> bool:
        try:
            return has_device(response, account) is True and has_identity(response, account, self._support.key)
        except InvalidPickle:
            return False

    # --- the end --------------------------------------------------------------------------------------

    async def stored_ghosts(self) -> list[UserId]:
        """Return the ghosts whose devices are on the homeserver."""
        async with self._database.read_only() as tx:
            return await tx.encryption_accounts.ghosts(is_uploaded=True)

    async def delete(self, ghost: UserId) -> None:
        """Delete the encryption devices of a ghost, so that nobody encrypts for it; the cross-signing keys stay.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request failed.
        """
        async with self._locks.of(ghost):
            await self._delete(ghost)

    async def _delete(self, ghost: UserId) -> None:
        async with self._database.read_only() as tx:
            stored = await tx.encryption_accounts.get(ghost)
        if stored is None or not stored.is_uploaded:
            return
        try:
            await self._delete_other_devices(replace(stored.account, device_id=""))
        except HomeserverRefused as error:
            if not is_unregistered(error):
                raise
        async with self._database.transaction() as tx:
            await tx.encryption_accounts.request_reset(ghost)
            await tx.encryption_accounts.set_uploaded(ghost, is_uploaded=False)
        self._ready.discard(ghost)
        log.info("encryption_device_deleted", ghost=ghost)
