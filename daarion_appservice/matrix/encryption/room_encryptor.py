"""Encrypts events of ghosts: all devices get the key of the session first, and the ciphertext is stored before it is sent.

    pull ─► members, devices ─► claimed keys ─► one transaction: ratchets, shares, to-device outbox, ciphertext
                                                  └─► to-device requests ─► the event

A crash at any point sends what was stored: the same to-device requests, then the same ciphertext.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from ...city.event_fields import ENCRYPTED
from ...city.ports import NowMs
from ...city.types import Room, UserId
from ...encryption.accounts import device_keys
from ...encryption.key_sharing import KeyShare, share_session, withhold_session
from ...encryption.outbound_sessions import OutboundPlan, encrypt_event, plan_outbound
from ...encryption.rows import AccountRow, DeviceRow, OlmSessionRow
from ...encryption.withheld import WITHHELD, WithheldCode
from ...errors import HomeserverRefused
from ...json_encoding import encode_json
from ...storage.database import Database
from ...storage.encryption.encrypted_entries import EncryptedEntry
from .content_size import fitting_content
from .device_lists import DeviceLists
from .encrypted_files import EncryptedFiles
from .locks import GhostLocks
from .metrics import EncryptionMetrics
from .olm_sender import OlmSender
from .room_readers import RoomReadersCache
from .support import EncryptionSupport
from .to_device import ToDeviceReader

_CLEAR_TYPES: Final = frozenset({"", "m.reaction"})
"""Types of events that clients send unencrypted in encrypted rooms, so that the homeserver can aggregate them; "": no event."""


@dataclass(frozen=True, slots=True)
class ClearEvent:
    """An event before its encryption."""

    ghost: UserId
    room: Room
    type: str
    content: dict[str, Any]
    txn_id: str
    """The Matrix transaction id, under which the ciphertext is stored."""


class RoomEncryptor:
    """Encrypts one event of a ghost at a time."""

    def __init__(
        self,
        database: Database,
        support: EncryptionSupport,
        locks: GhostLocks,
        reader: ToDeviceReader,
        device_lists: DeviceLists,
        rooms: RoomReadersCache,
        sender: OlmSender,
        files: EncryptedFiles,
        metrics: EncryptionMetrics,
        now_ms: NowMs,
        *,
        only_signed_devices: bool,
    ) -> None:
        self._database = database
        self._support = support
        self._locks = locks
        self._reader = reader
        self._device_lists = device_lists
        self._rooms = rooms
        self._sender = sender
        self._files = files
        self._metrics = metrics
        self._now_ms = now_ms
        self._only_signed_devices = only_signed_devices

    @property
    def is_active(self) -> bool:
        """Whether events can be encrypted."""
        return self._support.is_active

    async def encrypt(self, event: ClearEvent) -> dict[str, Any]:
        """Return the content of the ``m.room.encrypted`` event, after all devices were sent the key.

        A repeated call with the same transaction id returns the same ciphertext, also after a restart.

        Raises:
            HomeserverUnavailable, HomeserverRefused: a request failed, or the homeserver takes no keys.
        """
        # Before the lock: the copy of a large file must not delay the agent's other chats.
        content = None if await self._stored(event) else await self._files.encrypted(event.ghost, event.content)
        async with self._locks.of(event.ghost):
            account = await self._reader.pull(event.ghost)
            if account is None:
                raise HomeserverRefused(400, "M_UNKNOWN", "the homeserver takes no device keys of agents")
            entry = await self._stored(event)
            if entry is None:
                # `pull` may have made a new device of the ghost, which deletes its stored ciphertexts.
                content = content or await self._files.encrypted(event.ghost, event.content)
                entry = await self._encrypt(account, event, content)
            await self._sender.flush(account)
        encrypted: dict[str, Any] = orjson.loads(entry.content)
        return encrypted

    async def _stored(self, event: ClearEvent) -> EncryptedEntry | None:
        async with self._database.read_only() as tx:
            return await tx.encrypted_entries.get(event.txn_id)

    async def _encrypt(self, account: AccountRow, event: ClearEvent, clear: dict[str, Any]) -> EncryptedEntry:
        key = self._support.key
        content = fitting_content(clear)
        plan = await self._plan(account, event.room)
        olm, claimed, without = await self._olm_sessions(account, plan)
        share = self._share(account, plan, olm)
        encrypted = encrypt_event(plan.session, account=account, event_type=event.type, content=content, key=key)
        room, session_id = plan.session.room, plan.session.session_id
        entry = EncryptedEntry(event.txn_id, event.ghost, room, session_id, encode_json(encrypted.content))
        async with self._database.transaction() as tx:
            await tx.olm_sessions.save([*claimed, *share.sessions])
            await self._sender.put(tx, event.ghost, ENCRYPTED, share.messages)
            await tx.megolm_sessions.save_shared(share.shared)
            for devices, code in ((without, WithheldCode.NO_OLM), (plan.unverified, WithheldCode.UNVERIFIED)):
                withheld = withhold_session(plan.session, devices, code, account=account)
                await self._sender.put(tx, event.ghost, WITHHELD, withheld.messages)
                await tx.megolm_sessions.save_shared(withheld.shared)
            if plan.inbound is not None:
                await tx.megolm_sessions.save_inbound([plan.inbound])
            await tx.megolm_sessions.save_outbound(encrypted.session)
            await tx.encrypted_entries.add(entry)
        if plan.rotation is not None:
            self._metrics.count_session(plan.rotation)
        self._metrics.count_encrypted()
        return entry

    async def _plan(self, account: AccountRow, room: Room) -> OutboundPlan:
        assert room.matrix_room_id is not None
        readers = await self._rooms.readers(room, as_ghost=account.ghost)
        devices = await self._device_lists.of(readers.users, as_ghost=account.ghost)
        async with self._database.read_only() as tx:
            session = await tx.megolm_sessions.outbound(account.ghost, room.matrix_room_id)
            shared = await tx.megolm_sessions.shared(session.session_id) if session is not None else []
        return plan_outbound(
            session,
            account=account,
            room=room.matrix_room_id,
            policy=readers.policy,
            devices=devices,
            shared=shared,
            started_at_ms=self._sender.started_at_ms,
            now_ms=self._now_ms(),
            key=self._support.key,
            only_cross_signed=self._only_signed_devices,
        )

    async def _olm_sessions(
        self, account: AccountRow, plan: OutboundPlan
    ) -> tuple[dict[str, OlmSessionRow], tuple[OlmSessionRow, ...], list[DeviceRow]]:
        """Return the session for each recipient, those of them that are new, and the devices that get ``m.no_olm``."""
        async with self._database.read_only() as tx:
            sessions = await self._sender.sessions_with(tx, account.ghost, plan.recipients)
            shared = await tx.megolm_sessions.shared(plan.session.session_id)
        refused = {row.curve25519 for row in shared if row.withheld == WithheldCode.NO_OLM}
        missing = [device for device in plan.recipients if device.curve25519 not in sessions.keys() | refused]
        claimed = await self._sender.claim(account, missing)
        sessions |= {row.curve25519: row for row in claimed.sessions}
        return sessions, claimed.sessions, list(claimed.without)

    def _share(self, account: AccountRow, plan: OutboundPlan, olm: dict[str, OlmSessionRow]) -> KeyShare:
        key = self._support.key
        return share_session(
            plan.session,
            recipients=plan.recipients,
            olm_sessions=olm,
            account=account,
            own_device_keys=device_keys(account, key),
            key=key,
        )


def is_to_be_encrypted(room: Room, event_type: str) -> bool:
    """Return whether an event of this type must not be sent in clear: the room is a direct chat that is or was encrypted."""
    return room.encrypted and room.agent is not None and event_type not in _CLEAR_TYPES
