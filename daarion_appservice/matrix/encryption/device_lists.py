"""The devices of people in encrypted rooms: queried when a list is missing or marked as changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import structlog

from ...city.types import UserId
from ...encryption.devices import verify_devices
from ...encryption.errors import EncryptionError
from ...encryption.rows import DeviceRow
from ...storage.database import Database, Transaction
from ..client.homeserver import Homeserver

log = structlog.get_logger()


class DeviceLists:
    """Queries, verifies and stores device lists."""

    def __init__(self, homeserver: Homeserver, database: Database) -> None:
        self._homeserver = homeserver
        self._database = database

    async def mark_changed(self, tx: Transaction, users: Iterable[UserId]) -> None:
        """Mark known device lists as changed, inside the transaction that stores where the news came from."""
        await tx.encryption_devices.mark_stale(set(users))

    async def of(self, users: Collection[UserId], *, as_ghost: UserId) -> list[DeviceRow]:
        """Return the verified devices of users; of a user whose homeserver does not answer, those that are stored.

        Raises:
            HomeserverUnavailable, HomeserverRefused: the query failed.
        """
        await self._refresh(users, as_ghost)
        async with self._database.read_only() as tx:
            known = await tx.encryption_devices.of_users(users)
        return [device for devices in known.values() for device in devices.values()]

    async def owners(self, users: Collection[UserId], *, as_ghost: UserId) -> dict[str, UserId]:
        """Return the owner of each identity key among users, after a query for lists that changed.

        Raises:
            HomeserverUnavailable, HomeserverRefused: the query failed.
        """
        await self._refresh(users, as_ghost)
        async with self._database.read_only() as tx:
            return await tx.encryption_devices.owners(users)

    async def _refresh(self, users: Collection[UserId], as_ghost: UserId) -> None:
        async with self._database.read_only() as tx:
            stale = await tx.encryption_devices.stale(users)
        if not stale:
            return
        async with self._database.transaction() as tx:
            # Tracked from now on: a list that changes while the homeserver answers is queried again.
            await tx.encryption_devices.add_stale(stale)
            changes = await tx.encryption_devices.changes(stale)
        response = await self._homeserver.query_keys(stale, as_user=as_ghost)
        failures = response.get("failures")
        failed_servers = failures.keys() if isinstance(failures, dict) else ()
        answered = sorted(user for user in stale if user.partition(":")[2] not in failed_servers)
        async with self._database.transaction() as tx:
            known = await tx.encryption_devices.of_users(answered)
            for user in answered:
                await self._replace(tx, user, response, known[user], changes[user])

    async def _replace(
        self, tx: Transaction, user: UserId, response: dict[str, object], known: dict[str, DeviceRow], changes: int
    ) -> None:
        try:
            found = verify_devices(response, user=user, known=known)
        except EncryptionError as error:
            log.warning("device_list_invalid", user=user, error=str(error))
            return
        for device, refusal in found.refused.items():
            log.info("device_refused", user=user, device=device, error=str(refusal))
        await tx.encryption_devices.replace(user, found.devices, changes=changes)
