"""The devices of people in encrypted rooms: queried when a list is missing or marked as changed."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass
from typing import Final

import structlog

from ...city.ports import NowMs
from ...city.types import UserId
from ...encryption.devices import verify_devices
from ...encryption.errors import EncryptionError
from ...encryption.rows import DeviceRow
from ...storage.database import Database, Transaction
from ..client.homeserver import Homeserver

_FIRST_PAUSE_MS: Final = 30_000
_MAX_PAUSE_MS: Final = 1_800_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Pause:
    """The time in which a server's device lists are not queried."""

    until_ms: int
    length_ms: int


def _server(user: UserId) -> str:
    return user.partition(":")[2]


class DeviceLists:
    """Queries, verifies and stores device lists."""

    def __init__(self, homeserver: Homeserver, database: Database, now_ms: NowMs) -> None:
        self._homeserver = homeserver
        self._database = database
        self._now_ms = now_ms
        self._pauses: dict[str, _Pause] = {}
        """Servers that answered no query, by name."""

    async def mark_changed(self, tx: Transaction, users: Collection[UserId]) -> None:
        """Mark known device lists as changed, inside the transaction that stores where the news came from."""
        for server in {_server(user) for user in users} & self._pauses.keys():
            del self._pauses[server]  # its news show that it is back
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
            stale = await tx.encryption_devices.stale([user for user in users if not self._is_paused(user)])
        if not stale:
            return
        async with self._database.transaction() as tx:
            # Tracked from now on: a list that changes while the homeserver answers is queried again.
            await tx.encryption_devices.add_stale(stale)
            changes = await tx.encryption_devices.changes(stale)
        response = await self._homeserver.query_keys(stale, as_user=as_ghost)
        failures = response.get("failures")
        failed_servers = failures.keys() if isinstance(failures, dict) else set()
        self._note_servers({_server(user) for user in stale}, failed_servers)
        answered = sorted(user for user in stale if _server(user) not in failed_servers)
        async with self._database.transaction() as tx:
            known = await tx.encryption_devices.of_users(answered)
            for user in answered:
                await self._replace(tx, user, response, known[user], changes[user])

    def _is_paused(self, user: UserId) -> bool:
        pause = self._pauses.get(_server(user))
        return pause is not None and self._now_ms() < pause.until_ms

    def _note_servers(self, asked: Set[str], failed: Set[str]) -> None:
        """Pause the queries of servers that did not answer: each of them delays a message by seconds."""
        for server in asked - failed:
            self._pauses.pop(server, None)
        for server in asked & failed:
            before = self._pauses.get(server)
            length_ms = min(before.length_ms * 2, _MAX_PAUSE_MS) if before else _FIRST_PAUSE_MS
            self._pauses[server] = _Pause(self._now_ms() + length_ms, length_ms)

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
