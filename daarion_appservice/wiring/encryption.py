"""The parts of end-to-end encryption, as the second layer of the composition root connects them."""

from __future__ import annotations

from collections.abc import Callable

from ..city.events import KeysChanged
from ..city.identity import Identities
from ..city.ports import Publish
from ..city.types import AuthorKind, UserId
from ..clock import new_id, now_ms
from ..config.service_sections import EncryptionSettings
from ..encryption.primitives import PickleKey
from ..matrix.client.homeserver import Homeserver
from ..matrix.client.monitor import HomeserverMonitor
from ..matrix.encryption.chats import EncryptedChats
from ..matrix.encryption.device_lists import DeviceLists
from ..matrix.encryption.encrypted_files import Download, EncryptedFiles
from ..matrix.encryption.encrypted_rooms import EncryptedRooms
from ..matrix.encryption.ghost_devices import GhostDevices
from ..matrix.encryption.key_answers import KeyAnswers
from ..matrix.encryption.key_bundles import KeyBundles
from ..matrix.encryption.key_requests import KeyRequests
from ..matrix.encryption.locks import GhostLocks
from ..matrix.encryption.metrics import EncryptionMetrics
from ..matrix.encryption.olm_sender import OlmSender
from ..matrix.encryption.room_decryptor import RoomDecryptor
from ..matrix.encryption.room_encryptor import RoomEncryptor
from ..matrix.encryption.service import EncryptionService
from ..matrix.encryption.support import EncryptionSupport
from ..matrix.encryption.to_device import ToDeviceReader
from ..storage.database import Database

_BINARY = "application/octet-stream"


class EncryptionParts:
    """Every part of encryption, connected but not running.

    Args:
        settings: the section ``encryption``.
        download: downloads a file.
        known_ghosts: returns all registered ghosts.
    """

    def __init__(
        self,
        settings: EncryptionSettings,
        homeserver: Homeserver,
        database: Database,
        identities: Identities,
        monitor: HomeserverMonitor,
        metrics: EncryptionMetrics,
        publish: Publish,
        *,
        download: Download,
        known_ghosts: Callable[[], list[UserId]],
    ) -> None:
        self._identities = identities
        self._known_ghosts = known_ghosts
        octets = settings.octets() if settings.is_on else None
        self.support = EncryptionSupport(PickleKey(octets) if octets is not None else None)
        locks = GhostLocks()
        self.devices = GhostDevices(homeserver, database, self.support, locks, metrics)
        device_lists = DeviceLists(homeserver, database, now_ms)
        rooms = EncryptedRooms(homeserver, identities.is_ours)
        sender = OlmSender(homeserver, database, self.support, metrics, now_ms, new_id)

        def on_new_sessions() -> None:
            publish(KeysChanged())

        bundles = KeyBundles(
            database, self.support, device_lists, rooms, download, now_ms, on_new_sessions=on_new_sessions
        )
        reader = ToDeviceReader(
            homeserver,
            database,
            self.support,
            self.devices,
            device_lists,
            sender,
            KeyAnswers(self.support, sender, metrics, now_ms),
            metrics,
            now_ms,
            on_new_sessions=on_new_sessions,
            on_bundle=bundles.add,
        )
        requests = KeyRequests(database, locks, sender, metrics, now_ms, new_id)
        self.chats = EncryptedChats(database, identities, self.support, locks, self.devices, reader, requests, bundles)
        self.decryptor = RoomDecryptor(
            database, self.support, device_lists, rooms, metrics, now_ms, self.chats.pull, identities.is_ours
        )

        async def upload(ghost: UserId, data: bytes) -> str:
            return await homeserver.upload(ghost, data, _BINARY)

        self.encryptor = RoomEncryptor(
            database,
            self.support,
            locks,
            reader,
            device_lists,
            rooms,
            sender,
            EncryptedFiles(download, upload),
            metrics,
            now_ms,
            only_signed_devices=settings.only_signed_devices,
        )
        self.service = EncryptionService(
            database,
            monitor,
            self.support,
            self.devices,
            rooms,
            sender,
            self.chats,
            now_ms,
            self._agent_ghosts,
        )

    async def on_registered(self, user: UserId) -> None:
        """Give an agent's ghost its keys when it is registered: before anybody sees it."""
        if self._is_agent(user):
            await self.devices.renew_registered(user)

    def _agent_ghosts(self) -> list[UserId]:
        return [user for user in self._known_ghosts() if self._is_agent(user)]

    def _is_agent(self, user: UserId) -> bool:
        match self._identities.describe(user):
            case (AuthorKind.AGENT, _):
                return True
        return False
