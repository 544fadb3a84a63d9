"""The agents of encrypted chats: what they do together for a chat, one of them after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import structlog

from ...city.identity import Identities
from ...city.types import MatrixRoomId, Room, UserId
from ...encryption.megolm_events import MegolmReference
from ...errors import HomeserverRefused
from ...storage.database import Database
from .ghost_devices import GhostDevices
from .key_bundles import KeyBundles
from .key_requests import KeyRequests
from .locks import GhostLocks
from .support import EncryptionSupport
from .to_device import ToDeviceReader

log = structlog.get_logger()

_CONCURRENCY: Final = 4
"""Pulls at the same time: more of them do not shorten the time that Synapse needs."""


class EncryptedChats:
    """Receives keys and requests them as the agents of a chat: what one of them has, all can use."""

    def __init__(
        self,
        database: Database,
        identities: Identities,
        support: EncryptionSupport,
        locks: GhostLocks,
        devices: GhostDevices,
        reader: ToDeviceReader,
        requests: KeyRequests,
        bundles: KeyBundles,
    ) -> None:
        self._database = database
        self._identities = identities
        self._support = support
        self._locks = locks
        self._devices = devices
        self._reader = reader
        self._requests = requests
        self._bundles = bundles
        self._slots = asyncio.Semaphore(_CONCURRENCY)

    @property
    def is_active(self) -> bool:
        """Whether agents can read and write in encrypted chats."""
        return self._support.is_active

    async def ensure_device(self, ghost: UserId) -> None:
        """Give an agent's ghost its device and keys, before it joins a chat.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request failed.
        """
        await self._devices.ensure(ghost)

    async def receive_keys(self, chat: Room) -> None:
        """Receive the keys that were sent before an agent joined a chat, as far as possible."""
        if not self.is_active:
            return
        try:
            await self.pull(chat)
        except HomeserverRefused as error:
            log.info("keys_not_received", agent=chat.agent, error=str(error), help="the events wait for their keys")

    async def pull(self, chat: Room, sessions: Collection[tuple[MatrixRoomId, str]] = ()) -> None:
        """Receive the to-device events of a chat's agents, and import the key bundles that came for it.

        Args:
            sessions: the sessions that are wanted, by room and session id: once they are there, no other agent receives.
                None of them stands for all agents.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request failed.
        """
        refusals: list[HomeserverRefused] = []
        for ghost in await self._ghosts(chat):
            try:
                await self.pull_ghost(ghost)
            except HomeserverRefused as error:
                # Another agent may have the key.
                refusals.append(error)
                continue
            if sessions and await self._has_all(sessions):
                return
        await self._bundles.import_for(chat)
        if refusals:
            raise refusals[0]

    async def _has_all(self, sessions: Collection[tuple[MatrixRoomId, str]]) -> bool:
        async with self._database.read_only() as tx:
            return set(sessions) <= await tx.megolm_sessions.inbound_exists(sessions)

    async def pull_ghost(self, ghost: UserId) -> None:
        """Receive the to-device events of a ghost."""
        # The lock first: those who wait for one busy ghost must not keep the slots from the others.
        async with self._locks.of(ghost), self._slots:
            await self._reader.pull(ghost)

    async def request_key(self, chat: Room, reference: MegolmReference) -> None:
        """Ask for the key of an event as the first agent of a chat.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request failed.
        """
        ghosts = await self._ghosts(chat)
        if ghosts:
            await self._requests.request(ghosts[0], reference)

    async def _ghosts(self, chat: Room) -> list[UserId]:
        async with self._database.read_only() as tx:
            agents = await tx.direct_chats.agents(chat.id)
        slugs = dict.fromkeys([*([chat.agent] if chat.agent in agents else []), *agents])
        return [self._identities.agent(slug) for slug in slugs]
