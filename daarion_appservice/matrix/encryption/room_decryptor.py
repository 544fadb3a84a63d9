"""Decrypts events of encrypted rooms inside the transaction that handles them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import replace
from typing import Any, Final

import orjson
import structlog

from ...city.event_fields import ENCRYPTED, Event, content_of, inner, sender_of, text
from ...city.ports import NowMs
from ...city.types import EventId, MatrixRoomId, MessageId, Room, UserId
from ...encryption.errors import EncryptionError, UnknownSession
from ...encryption.megolm_events import MegolmReference, decrypt_megolm_event, parse_megolm_event, select_session
from ...errors import HomeserverRefused, HomeserverUnavailable
from ...log_throttle import LogThrottle
from ...storage.database import Database, Transaction
from ...storage.encryption.undecrypted import UndecryptedRow
from ..client.inbox_events import inbox_event
from .device_lists import DeviceLists
from .encrypted_files import with_file_keys
from .metrics import EncryptionMetrics, GivenUp, ReadAt
from .room_readers import RoomReadersCache
from .support import EncryptionSupport

FIRST_RETRY_MS: Final = 1_000
"""Milliseconds until the first retry of an event whose key was not there."""
MAX_WAITING: Final = 500
"""Events of one user in one room that wait: each is tried again some thirty times."""
MAX_WAITING_OF_SENDER: Final = 2_000
"""Events of one user in all rooms that wait."""
_PREPARE_TIMEOUT_S: Final = 2.0
"""Seconds for which a batch of events, of all rooms, waits for the pulls of its encrypted chats.

`UndecryptedWorker` pulls again a second later.
"""

log = structlog.get_logger()

Pull = Callable[[Room, Collection[tuple[MatrixRoomId, str]]], Awaitable[None]]
"""Receives the to-device events of a chat's agents until these sessions are there."""


class RoomDecryptor:
    """Decrypts events of direct chats; an event whose key is unknown is stored for `UndecryptedWorker`.

    Args:
        pull: receives the to-device events of a chat's agents.
        is_ours: whether a user is one of the service's.
    """

    def __init__(
        self,
        database: Database,
        support: EncryptionSupport,
        device_lists: DeviceLists,
        rooms: RoomReadersCache,
        metrics: EncryptionMetrics,
        now_ms: NowMs,
        pull: Pull,
        is_ours: Callable[[UserId], bool],
    ) -> None:
        self._database = database
        self._support = support
        self._device_lists = device_lists
        self._rooms = rooms
        self._metrics = metrics
        self._now_ms = now_ms
        self._pull = pull
        self._is_ours = is_ours
        self._log_throttle = LogThrottle()
        self._pulled: set[tuple[MatrixRoomId, str]] = set()
        """The sessions whose key a pull brought for the batch that is handled, for the metric."""

    @property
    def is_active(self) -> bool:
        """Whether encrypted events can be decrypted."""
        return self._support.is_active

    def is_own(self, event: Event) -> bool:
        """Return whether a user of the service sent the event: the service has it in clear."""
        return self._is_ours(sender_of(event))

    # --- before the transaction -----------------------------------------------------------------------

    async def prepare(self, events: Iterable[Event]) -> None:
        """Receive the keys of sessions that a batch of events needs and the database lacks; never fails.

        Events of a session for which others already wait cause no request.
        """
        self._pulled.clear()
        wanted = {session for event in events if (session := _session_of(event))}
        if not wanted or not self.is_active:
            return
        async with self._database.read_only() as tx:
            known = await tx.megolm_sessions.inbound_exists(wanted) | await tx.undecrypted.waiting_sessions(wanted)
            rooms = [await tx.rooms.by_matrix_id(room) for room in {room for room, _ in wanted - known}]
        chats = [room for room in rooms if room is not None and room.agent is not None and not room.archived]
        if not chats:
            return
        self._pulled = wanted - known
        sessions = {chat.id: [each for each in self._pulled if each[0] == chat.matrix_room_id] for chat in chats}
        try:
            async with asyncio.timeout(_PREPARE_TIMEOUT_S):
                await asyncio.gather(*(self._pull_safely(chat, sessions[chat.id]) for chat in chats))
        except TimeoutError:
            log.info("keys_not_received_in_time", rooms=len(chats), help="the events wait for their keys")

    async def _pull_safely(self, chat: Room, sessions: Collection[tuple[MatrixRoomId, str]]) -> None:
        try:
            await self._pull(chat, sessions)
        except (HomeserverUnavailable, HomeserverRefused) as error:
            log.info("keys_not_received", agent=chat.agent, error=str(error), help="the events wait for their keys")

    # --- inside the transaction -----------------------------------------------------------------------

    async def decrypt(
        self, tx: Transaction, room: Room, event: Event, *, before: MessageId | None = None
    ) -> Event | None:
        """Decrypt an event of a chat.

        Args:
            tx: the transaction that marks the event as done.
            room: the chat.
            event: the ``m.room.encrypted`` event.
            before: for an event that a backfill found late, the message to insert it before.

        Returns:
            The event as its sender wrote it; None if it waits for its key, or can never be decrypted.
        """
        assert room.matrix_room_id is not None
        try:
            reference = parse_megolm_event(event, room=room.matrix_room_id)
        except EncryptionError as error:
            self._give_up(event, error)
            return None
        try:
            decrypted = await self.decrypted(tx, event, reference)
        except UnknownSession:
            await self._store(tx, room, event, reference, before)
            return None
        except EncryptionError as error:
            self._give_up(event, error)
            return None
        is_pulled = (reference.room, reference.session_id) in self._pulled
        self._metrics.count_read(ReadAt.PULL if is_pulled else ReadAt.FIRST)
        return decrypted

    async def decrypted(self, tx: Transaction, event: Event, reference: MegolmReference) -> Event:
        """Decrypt an event with a stored session, and store its index.

        Raises:
            UnknownSession: the key is not there.
            EncryptionError: the event can never be decrypted.
        """
        sessions = await tx.megolm_sessions.inbound(reference.room, reference.session_id)
        session = select_session(reference, sessions)
        named = (reference.room, reference.session_id, reference.sender, reference.index)
        result = decrypt_megolm_event(
            reference, session, seen=await tx.megolm_sessions.index(*named), key=self._support.key
        )
        await tx.megolm_sessions.add_index(result.index)
        return event | {"type": result.type, "content": with_file_keys(result.content)}

    async def _store(
        self, tx: Transaction, room: Room, event: Event, reference: MegolmReference, before: MessageId | None
    ) -> None:
        if await self._has_too_many(tx, reference.room, reference.sender):
            self._give_up(event, UnknownSession("too many events of its sender wait for their keys"))
            return
        following = await tx.messages.get(before) if before is not None else None
        last = await tx.messages.before(room.id, following.seq if following is not None else None, limit=1)
        now_ms = self._now_ms()
        await tx.undecrypted.add(
            UndecryptedRow(
                event_id=reference.event_id,
                room=reference.room,
                session_id=reference.session_id,
                sender=reference.sender,
                event=inbox_event(event).event.encode(),
                after_message=last[0].id if last else None,
                received_at_ms=now_ms,
                attempts=0,
                next_try_ms=now_ms + FIRST_RETRY_MS,
                is_announced=False,
            )
        )

    async def _has_too_many(self, tx: Transaction, room: MatrixRoomId, sender: UserId) -> bool:
        in_room, in_all = await tx.undecrypted.count_of(room, sender)
        return in_room >= MAX_WAITING or in_all >= MAX_WAITING_OF_SENDER

    async def defer(self, tx: Transaction, room: Room, event: Event) -> bool:
        """Store a clear reaction to an encrypted event that waits for its key, to be handled after it.

        Returns:
            Whether the event that it reacts to waits.
        """
        target = await tx.undecrypted.get(reacted_to(event))
        if target is None or target.room != room.matrix_room_id:
            return False
        if await self._has_too_many(tx, target.room, UserId(sender_of(event))):
            return True
        await tx.undecrypted.add(
            replace(
                target,
                event_id=EventId(text(event, "event_id")),
                sender=UserId(sender_of(event)),
                event=inbox_event(event).event.encode(),
                received_at_ms=self._now_ms(),
                attempts=0,
                is_announced=True,
            )
        )
        return True

    def _give_up(self, event: Event, error: EncryptionError) -> None:
        self._metrics.count_given_up(GivenUp.of(error))
        self.log_undecryptable(event.get("event_id"), event.get("room_id"), error)

    def log_undecryptable(self, event_id: object, room: object, error: EncryptionError) -> None:
        """Log an event that can never be decrypted, at most once a minute, as any member of a chat can send many."""
        if self._log_throttle.allows():
            log.warning(
                "event_undecryptable",
                event_id=event_id,
                room=room,
                error=str(error),
                unlogged=self._log_throttle.skipped(),
            )

    # --- changes --------------------------------------------------------------------------------------

    async def on_member(self, tx: Transaction, room: MatrixRoomId, user: UserId) -> None:
        """Record a change of membership: Synapse announces no devices that a person made while apart."""
        self._rooms.forget(room)
        if self.is_active:
            await self._device_lists.mark_changed(tx, [user])

    async def on_redaction(self, tx: Transaction, room: MatrixRoomId, redacted: EventId) -> None:
        """Forget an event that was redacted while it waited for its key: nobody may read it any more."""
        await tx.undecrypted.delete_redacted(room, redacted)

    def on_rules(self, room: MatrixRoomId) -> None:
        """Record a change of a room's encryption or history visibility."""
        self._rooms.forget(room)


def reacted_to(event: Event) -> EventId:
    """Return the event that a reaction names; an empty id if it names none."""
    return EventId(text(inner(content_of(event), "m.relates_to"), "event_id"))


def _session_of(event: Event) -> tuple[MatrixRoomId, str] | None:
    content, room = event.get("content"), event.get("room_id")
    if event.get("type") != ENCRYPTED or not isinstance(content, dict) or not isinstance(room, str):
        return None
    session = content.get("session_id")
    return (
        (MatrixRoomId(room), session)
        if isinstance(session, str) and len(session) <= 64 and "\0" not in session
        else None
    )


def reference_of(row: UndecryptedRow) -> tuple[dict[str, Any], MegolmReference]:
    """Return the event of a waiting row, and its reference.

    Raises:
        EncryptionError: the stored event is malformed.
    """
    event: dict[str, Any] = orjson.loads(row.event)
    return event, parse_megolm_event(event, room=row.room)
