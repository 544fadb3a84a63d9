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
from ..matrix.encryption.ghost_devices import GhostDevices
from ..matrix.encryption.key_answers import KeyAnswers
from ..matrix.encryption.key_bundles import KeyBundles
from ..matrix.encryption.key_requests import KeyRequests
from ..matrix.encryption.locks import GhostLocks
from ..matrix.encryption.metrics import EncryptionMetrics
from ..matrix.encryption.olm_sender import OlmSender
from ..matrix.encryption.room_decryptor import RoomDecryptor
from ..matrix.encryption.room_encryptor import RoomEncryptor
from ..matrix.encryption.room_readers import RoomReadersCache
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
        self._homeserver = homeserver
        self._database = database
        self._identities = identities
        self._metrics = metrics
        self._publish = publish
        self._download = download
        self._known_ghosts = known_ghosts
        octets = settings.octets() if settings.is_on else None
        self.support = EncryptionSupport(PickleKey(octets) if octets is not None else None)
        self._locks = GhostLocks()
        self.devices = GhostDevices(homeserver, database, self.support, self._locks, metrics)
        self._device_lists = DeviceLists(homeserver, database, now_ms)
        self._rooms = RoomReadersCache(homeserver, identities.is_ours)
        self._sender = OlmSender(homeserver, database, self.support, metrics, now_ms, new_id)
        bundles = KeyBundles(
            database,
            self.support,
            self._device_lists,
            self._rooms,
            download,
            now_ms,
            on_new_sessions=self._publish_new_sessions,
        )
        reader = self._build_reader(bundles)
        requests = KeyRequests(database, self._locks, self._sender, metrics, now_ms, new_id)
        self.chats = EncryptedChats(
            database, identities, self.support, self._locks, self.devices, reader, requests, bundles
        )
        self.decryptor = self._build_decryptor()
        self.encryptor = self._build_encryptor(reader, only_signed_devices=settings.only_signed_devices)
        self.service = self._build_service(monitor)

    def _build_reader(self, bundles: KeyBundles) -> ToDeviceReader:
        return ToDeviceReader(
            self._homeserver,
            self._database,
            self.support,
            self.devices,
            self._device_lists,
            self._sender,
            KeyAnswers(self.support, self._sender, self._metrics, now_ms),
            self._metrics,
            now_ms,
            on_new_sessions=self._publish_new_sessions,
            on_bundle=bundles.add,
        )

    def _build_decryptor(self) -> RoomDecryptor:
        return RoomDecryptor(
            self._database,
            self.support,
            self._device_lists,
            self._rooms,
            self._metrics,
            now_ms,
            self.chats.pull,
            self._identities.is_ours,
        )

    def _build_encryptor(self, reader: ToDeviceReader, *, only_signed_devices: bool) -> RoomEncryptor:
        return RoomEncryptor(
            self._database,
            self.support,
            self._locks,
            reader,
            self._device_lists,
            self._rooms,
            self._sender,
            EncryptedFiles(self._download, self._upload),
            self._metrics,
            now_ms,
            only_signed_devices=only_signed_devices,
        )

    def _build_service(self, monitor: HomeserverMonitor) -> EncryptionService:
        return EncryptionService(
            self._database,
            monitor,
            self.support,
            self.devices,
            self._rooms,
            self._sender,
            self.chats,
            now_ms,
            self._agent_ghosts,
        )

    def _publish_new_sessions(self) -> None:
        self._publish(KeysChanged())

    async def _upload(self, ghost: UserId, data: bytes) -> str:
        return await self._homeserver.upload(ghost, data, _BINARY)

    async def on_registered(self, user: UserId) -> None:
        """Give an agent's ghost its keys when it is registered: before other users can see it."""
        if self._is_agent(user):
            await self.devices.renew_registered(user)

    def _agent_ghosts(self) -> list[UserId]:
        return [user for user in self._known_ghosts() if self._is_agent(user)]

    def _is_agent(self, user: UserId) -> bool:
        match self._identities.describe(user):
            case (AuthorKind.AGENT, _):
                return True
        return False
