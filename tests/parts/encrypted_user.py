"""A Matrix user in matrix-nio with end-to-end encryption: one device, whose keys are in a file."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import nio
from nio.crypto import decrypt_attachment
from nio.store import DefaultStore
from nio.store.database import SqliteDatabase

from daarion_appservice.demo.local_synapse import LocalSynapse
from tests.parts.city import RunningCity
from tests.parts.matrix_user import MatrixUser

ENCRYPTION: Final[dict[str, Any]] = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}
"""The state event with which Element creates an encrypted room."""

_PASSWORD = "secret"
_SYNC_TIMEOUT_MS = 5000
_SEND_ATTEMPTS: Final = 3


class EncryptedArrive(Protocol):
    """The type of the fixture ``arrive_encrypted``."""

    async def __call__(self, where: RunningCity | LocalSynapse, name: str) -> EncryptedUser: ...


class _Store(DefaultStore):  # type: ignore[misc]
    """The file of a device's keys, without fsync: no test cuts the power."""

    def _create_database(self) -> Any:
        return SqliteDatabase(
            self.database_path, pragmas={"foreign_keys": 1, "synchronous": 0, "journal_mode": "memory"}
        )


@dataclass
class EncryptedUser(MatrixUser):
    """A user who encrypts where the room is encrypted.

    ``events`` has the decrypted form of an encrypted event, with ``"encrypted": True``. An event without its key is in
    ``undecrypted`` until the key arrives.
    """

    undecrypted: dict[str, nio.MegolmEvent] = field(default_factory=dict)
    """By event id."""
    to_device: list[dict[str, Any]] = field(default_factory=list)
    """To-device events, decrypted where they were encrypted."""

    @classmethod
    async def register(cls, homeserver: LocalSynapse, name: str, store: Path) -> EncryptedUser:
        """Register an account, and publish the keys of its first device, which are in the directory ``store``."""
        account = await homeserver.register(name, _PASSWORD, display_name=name.capitalize())
        user = cls(_client(homeserver.url, account.user_id, store))
        user.client.restore_login(account.user_id, account.device_id, account.access_token)
        await user._start()
        return user

    @property
    def user_id(self) -> str:
        return str(self.client.user_id)

    @property
    def device_id(self) -> str:
        return str(self.client.device_id)

    async def another_device(self) -> EncryptedUser:
        """Sign in once more; the caller calls ``leave`` of the result."""
        device = EncryptedUser(_client(self.client.homeserver, self.user_id, Path(self.client.store_path)))
        assert isinstance(await device.client.login(_PASSWORD), nio.LoginResponse)
        await device._start()
        return device

    async def restart(self) -> None:
        """Start the client again with what its store has: keys and the sync token."""
        before = self.client
        await self.leave()
        self.client = _client(before.homeserver, before.user_id, Path(before.store_path))
        self.client.restore_login(before.user_id, before.device_id, before.access_token)
        await self._start()

    async def leave(self) -> None:
        await super().leave()
        self.client.store.database.close()

    # --- rooms ----------------------------------------------------------------------------------------

    async def create_encrypted_room(
        self, *invited: str, is_direct: bool = False, rotation_msgs: int | None = None, **more: Any
    ) -> str:
        """Create an encrypted private room as Element does.

        Args:
            invited: user ids.
            is_direct: whether it is a direct chat.
            rotation_msgs: the number of messages after which a session is replaced, if not Matrix's default.
            more: arguments of nio's ``room_create``.
        """
        rotation = {} if rotation_msgs is None else {"rotation_period_msgs": rotation_msgs}
        answer = await self.client.room_create(
            is_direct=is_direct,
            invite=invited,
            preset=nio.RoomPreset.trusted_private_chat,
            initial_state=[ENCRYPTION | {"content": ENCRYPTION["content"] | rotation}],
            **more,
        )
        assert isinstance(answer, nio.RoomCreateResponse), answer
        await self.wait_until_encrypted(answer.room_id, *invited)
        return str(answer.room_id)

    async def open_chat(self, user_id: str) -> str:
        """Open an encrypted direct chat."""
        return await self.create_encrypted_room(user_id, is_direct=True)

    async def wait_until_encrypted(self, room_id: str, *members: str) -> None:
        """Wait until the sync shows a room as encrypted and these members, invited or joined, and their devices are known."""

        def is_synced() -> bool:
            room = self.client.rooms.get(room_id)
            return room is not None and room.encrypted and room.users.keys() >= set(members)

        await self.wait_for(is_synced)
        await self._send_key_requests()

    # --- sending --------------------------------------------------------------------------------------

    async def send(self, room_id: str, event_type: str, content: Mapping[str, Any], *, txn_id: str = "") -> str:
        """Send an event, encrypted where the room is; returns its id. Unverified devices get the key."""
        answer = None
        for _ in range(_SEND_ATTEMPTS):
            await self._send_key_requests()
            # When a sync reports a changed device while nio shares a session, nio drops the session, and fails to find it.
            with suppress(KeyError):
                answer = await self.client.room_send(
                    room_id, event_type, dict(content), tx_id=txn_id or None, ignore_unverified_devices=True
                )
                break
        assert isinstance(answer, nio.RoomSendResponse), answer
        return str(answer.event_id)

    async def send_text(
        self, room_id: str, body: str, msgtype: str = "m.text", more: Mapping[str, Any] = MappingProxyType({})
    ) -> str:
        return await self.send(room_id, "m.room.message", {"msgtype": msgtype, "body": body, **more})

    async def send_reply(self, room_id: str, event_id: str, body: str) -> str:
        return await self.send_text(room_id, body, more={"m.relates_to": {"m.in_reply_to": {"event_id": event_id}}})

    async def send_edit(self, room_id: str, event_id: str, body: str) -> str:
        relation = {"rel_type": "m.replace", "event_id": event_id}
        new = {"msgtype": "m.text", "body": body}
        return await self.send_text(room_id, f"* {body}", more={"m.new_content": new, "m.relates_to": relation})

    async def react(self, room_id: str, event_id: str, key: str) -> str:
        """Send a reaction, which is in clear in encrypted rooms, too."""
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return await self.send(room_id, "m.reaction", {"m.relates_to": relation})

    async def send_file(
        self, room_id: str, content: bytes, name: str, mimetype: str, *, msgtype: str = "m.file", **more: Any
    ) -> str:
        """Upload a file encrypted, and send a message with its keys; ``more`` are further fields of the content."""
        answer, keys = await self.client.upload(
            io.BytesIO(content), content_type=mimetype, filename=name, filesize=len(content), encrypt=True
        )
        assert isinstance(answer, nio.UploadResponse), answer
        file = {**keys, "url": answer.content_uri}
        info = {"mimetype": mimetype, "size": len(content)}
        return await self.send_text(room_id, name, msgtype, more={"file": file, "info": info, **more})

    # --- reading --------------------------------------------------------------------------------------

    async def wait_for_text(self, body: str, *, room_id: str = "", sender: str = "") -> dict[str, Any]:
        """Return the first event with this body, of those that were read and those that come."""
        return await self.wait_for_event(
            lambda event: (
                event["content"].get("body") == body
                and event["room_id"] == (room_id or event["room_id"])
                and event["sender"] == (sender or event["sender"])
            )
        )

    def texts(self, room_id: str, sender: str) -> list[str]:
        """Return the bodies of a sender's messages in the order of their arrival, repeated events included."""
        return [
            event["content"]["body"]
            for event in self.events
            if (event["room_id"], event["sender"], event["type"]) == (room_id, sender, "m.room.message")
        ]

    def unread_of(self, room_id: str) -> list[str]:
        """Return the ids of a room's events whose keys are missing."""
        return [event_id for event_id, event in self.undecrypted.items() if event.room_id == room_id]

    async def read_file(self, event: Mapping[str, Any]) -> bytes:
        """Download and decrypt the file of a message."""
        file = event["content"]["file"]
        answer = await self.client.download(file["url"])
        assert isinstance(answer, nio.DownloadResponse), answer
        content: bytes = decrypt_attachment(answer.body, file["key"]["k"], file["hashes"]["sha256"], file["iv"])
        return content

    def withheld(self, room_id: str) -> list[str]:
        """Return the codes with which keys of a room were refused to this device."""
        return [
            event["content"]["code"]
            for event in self.to_device
            if event["type"] == "m.room_key.withheld" and event["content"].get("room_id", room_id) == room_id
        ]

    # --- the client -----------------------------------------------------------------------------------

    async def _start(self) -> None:
        self.client.add_event_callback(self._saw, (nio.RoomMessageText, nio.RoomMessageNotice))
        self.client.add_event_callback(self._saw_event, (nio.Event,))
        self.client.add_to_device_callback(self._saw_to_device, (nio.ToDeviceEvent,))
        await self.client.sync(timeout=0, full_state=True)
        await self._send_key_requests()
        self._syncing = asyncio.create_task(self._sync())

    async def _sync(self) -> None:
        # nio's own loop queries and claims keys only with the next sync, up to 5 s later.
        while True:
            await self.client.sync(timeout=_SYNC_TIMEOUT_MS)
            await self._send_key_requests()

    async def _send_key_requests(self) -> None:
        """Send what the engine has to say besides messages: keys, queries, claims, and to-device events."""
        if self.client.should_upload_keys:
            await self.client.keys_upload()
        if self.client.should_query_keys:
            await self.client.keys_query()
        if self.client.should_claim_keys:
            await self.client.keys_claim(self.client.get_users_for_key_claiming())
        await self.client.send_to_device_messages()

    async def _saw_event(self, room: nio.MatrixRoom, event: nio.Event) -> None:
        if isinstance(event, nio.MegolmEvent):
            event.room_id = room.room_id
            self.undecrypted[event.event_id] = event
            return
        self._record(room.room_id, event)

    async def _saw_to_device(self, event: nio.ToDeviceEvent) -> None:
        self.to_device.append(event.source)
        if not isinstance(event, nio.RoomKeyEvent | nio.ForwardedRoomKeyEvent):
            return
        for event_id, late in list(self.undecrypted.items()):
            if decrypted := self.client.olm.decrypt_event(late, late.room_id):
                del self.undecrypted[event_id]
                self._record(late.room_id, decrypted)
                if isinstance(decrypted, nio.RoomMessageText | nio.RoomMessageNotice):
                    self.messages.append((decrypted.sender, decrypted.body))

    def _record(self, room_id: str, event: nio.Event) -> None:
        self.events.append({"room_id": room_id, "encrypted": event.decrypted, **event.source})


def _client(url: str, user_id: str, store: Path) -> nio.AsyncClient:
    config = nio.AsyncClientConfig(
        backoff_factor=0.05,
        max_timeout_retry_wait_time=1,
        store=_Store,
        store_sync_tokens=True,
        encryption_enabled=True,
    )
    store.mkdir(parents=True, exist_ok=True)
    return nio.AsyncClient(url, user_id, store_path=str(store), config=config)


@asynccontextmanager
async def encrypted_users(store: Path) -> AsyncIterator[EncryptedArrive]:
    """Register users with encryption on a homeserver, each with a unique name; all leave at the end.

    Args:
        store: The directory of the keys of all of them.
    """
    arrived: list[EncryptedUser] = []

    async def arrive(where: RunningCity | LocalSynapse, name: str) -> EncryptedUser:
        homeserver = where.homeserver if isinstance(where, RunningCity) else where
        person = await EncryptedUser.register(homeserver, name, store)
        arrived.append(person)
        return person

    try:
        yield arrive
    finally:
        for person in arrived:
            await person.leave()


async def arrive_many(
    arrive: EncryptedArrive, where: RunningCity, prefix: str, count: int, *, at_once: int = 8
) -> Sequence[EncryptedUser]:
    """Register ``count`` users, ``at_once`` at a time."""
    people: list[EncryptedUser] = []
    for first in range(0, count, at_once):
        numbers = range(first, min(count, first + at_once))
        people += await asyncio.gather(*(arrive(where, f"{prefix}{number}") for number in numbers))
    return people
