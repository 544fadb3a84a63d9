"""The worker that retries encrypted events whose key was not there: pulls, key requests, one notice, and an end.

    1 s ─► 5 s: key request ─► 20 s ─► 60 s: a notice in the chat ─► 3 min ─► … every hour ─► given up after a day

While encryption is off nothing is retried, and the agent says at once that it cannot read the chat. Events are given up
after a day, too: no row stays for ever.

A key that comes meanwhile, by whatever pull, makes the events of its session due at once. They are inserted before the
messages that came after them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Final

import orjson
import structlog

from ...city.agents import AgentDirectory
from ...city.event_fields import ENCRYPTED, Event, type_of
from ...city.events import CityEvent
from ...city.messages import Draft, Messages
from ...city.ports import NowMs, Publish, publish_all
from ...city.types import Author, AuthorKind, MatrixRoomId, MessageId, Room
from ...encryption.errors import EncryptionError, UnknownSession
from ...encryption.megolm_events import MegolmReference
from ...errors import CityError, HomeserverRefused
from ...realtime.worker import Worker
from ...storage.database import Database, Transaction
from ...storage.encryption.undecrypted import UndecryptedRow
from ..client.monitor import HomeserverMonitor
from ..encryption.chats import EncryptedChats
from ..encryption.metrics import EncryptionMetrics, GivenUp, ReadAt
from ..encryption.room_decryptor import RoomDecryptor, reacted_to, reference_of
from .dispatch import EventHandlers
from .undecrypted_notice import notice_text

_IDLE_S: Final = 60.0
_REQUEST_TIMEOUT_S: Final = 5.0
"""Seconds for which the events of all chats wait for the agents of one, which may be busy with a slow homeserver."""
_BATCH: Final = 200
_RETRY_MS: Final = (4_000, 15_000, 40_000, 120_000, 600_000, 1_800_000, 3_600_000)
"""Milliseconds between two attempts; the last one repeats."""
_REQUEST_AFTER: Final = 1
"""The attempts without a key after which a ghost asks for it: 5 seconds."""
_ANNOUNCE_AFTER: Final = 3
"""The attempts after which the agent says that it could not read a message: a minute."""
_ANNOUNCE_INTERVAL_MS: Final = 3_600_000
_GIVE_UP_MS: Final = 24 * 3_600_000

log = structlog.get_logger()


class UndecryptedWorker:
    """Retries the events of the table ``encryption_undecrypted``."""

    def __init__(
        self,
        database: Database,
        monitor: HomeserverMonitor,
        handlers: EventHandlers,
        decryptor: RoomDecryptor,
        chats: EncryptedChats,
        agents: AgentDirectory,
        messages: Messages,
        metrics: EncryptionMetrics,
        publish: Publish,
        now_ms: NowMs,
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._decryptor = decryptor
        self._chats = chats
        self._agents = agents
        self._messages = messages
        self._metrics = metrics
        self._publish = publish
        self._now_ms = now_ms
        self._unreadable: set[MatrixRoomId] = set()
        """The rooms for which a notice was requested since encryption is off."""
        self._worker = Worker("undecrypted", idle_s=_IDLE_S, monitor=monitor)

    def wake(self) -> None:
        """Look for events that are due: an event was stored, or a key came."""
        self._worker.wake()

    async def run(self) -> None:
        """Retry events until cancelled. Can be called again."""
        await self._worker.run(self._retry_due)

    async def _retry_due(self) -> float:
        is_active = self._decryptor.is_active
        if not is_active:
            await self._request_notices()
        async with self._database.read_only() as tx:
            rows = await (tx.undecrypted.due(self._now_ms(), _BATCH) if is_active else self._expired(tx))
        rows.sort(key=lambda row: (row.room, row.number))
        for _, of_room in groupby(rows, key=lambda row: row.room):
            handle = self._retry_room if is_active else self._give_up
            await handle(list(of_room))
        async with self._database.read_only() as tx:
            next_ms, count = await tx.undecrypted.next_try_ms(), await tx.undecrypted.count()
        self._metrics.set_waiting(count)
        if not is_active:
            return 0.0 if len(rows) == _BATCH else _IDLE_S
        return _IDLE_S if next_ms is None else min(_IDLE_S, max(0.0, (next_ms - self._now_ms()) / 1000))

    async def _request_notices(self) -> None:
        """Have the agents of chats with waiting events say once that they cannot read them: nobody answers those events."""
        async with self._database.read_only() as tx:
            rooms = await tx.undecrypted.rooms()
        for room in rooms - self._unreadable:
            async with self._database.transaction() as tx:
                city_events = await self._handlers.handle_unreadable(tx, room)
            publish_all(self._publish, city_events)
            self._unreadable.add(room)

    async def _retry_room(self, rows: Sequence[UndecryptedRow]) -> None:
        async with self._database.read_only() as tx:
            chat = await tx.rooms.by_matrix_id(rows[0].room)
        if chat is None or chat.agent is None or chat.archived:
            await self._delete(rows)
            return
        missing = await self._decrypt_all(rows)
        if missing:
            await self._pull(chat, {(row.room, row.session_id) for row in missing})
            missing = await self._decrypt_all(missing)
        for row in missing:
            await self._postpone(chat, row)

    async def _pull(self, chat: Room, sessions: Collection[tuple[MatrixRoomId, str]]) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                await self._chats.pull(chat, sessions)
        except (HomeserverRefused, TimeoutError) as error:
            log.info("keys_not_received", agent=chat.agent, error=str(error), help="the events wait for their keys")

    async def _decrypt_all(self, rows: Sequence[UndecryptedRow]) -> list[UndecryptedRow]:
        """Handle the events whose key is there; return the others."""
        missing: list[UndecryptedRow] = []
        for row in rows:
            try:
                async with self._database.transaction() as tx:
                    city_events = await self._handle(tx, row)
            except UnknownSession:
                missing.append(row)
            except EncryptionError as error:
                self._metrics.count_given_up(GivenUp.of(error))
                self._decryptor.log_undecryptable(row.event_id, row.room, error)
                await self._delete([row])
            except Exception as error:  # noqa: BLE001 -- one event must not stop the others
                await self._failed(row, error)
            else:
                publish_all(self._publish, city_events)
        return missing

    async def _handle(self, tx: Transaction, stored: UndecryptedRow) -> list[CityEvent]:
        # Both as they are now: the message of an earlier row may have moved those behind it.
        row, chat = await tx.undecrypted.get(stored.event_id), await tx.rooms.by_matrix_id(stored.room)
        if row is None or chat is None:
            return []
        event = orjson.loads(row.event)
        if type_of(event) != ENCRYPTED:
            return await self._handle_reaction(tx, chat, row, event)
        event, reference = reference_of(row)
        decrypted = await self._decryptor.decrypted(tx, event, reference)
        city_events = await self._handlers.handle_decrypted(tx, chat, decrypted, before=await _following(tx, chat, row))
        await tx.undecrypted.delete(row.event_id)
        if message := await tx.messages.by_event_id(row.event_id):
            # Events that came later stay behind this one.
            await tx.undecrypted.set_after(row.room, row.after_message, message.id, later_than=row.number)
        self._metrics.count_read(ReadAt.RETRY)
        return city_events

    async def _handle_reaction(self, tx: Transaction, chat: Room, row: UndecryptedRow, event: Event) -> list[CityEvent]:
        """Handle a clear reaction to an event that was waiting.

        Raises:
            UnknownSession: the event still waits.
        """
        if await tx.undecrypted.get(reacted_to(event)) is not None:
            raise UnknownSession("the event that it reacts to has no key")
        await tx.undecrypted.delete(row.event_id)
        return await self._handlers.handle_decrypted(tx, chat, event)

    async def _failed(self, row: UndecryptedRow, error: Exception) -> None:
        """Store the time of the next attempt of an event that was not handled; an outage of the database raises here, too."""
        attempts, now_ms = row.attempts + 1, self._now_ms()
        if now_ms - row.received_at_ms >= _GIVE_UP_MS:
            self._metrics.count_given_up(GivenUp.INVALID)
            log.error("event_given_up", event_id=row.event_id, room=row.room, error=str(error), exc_info=error)
            await self._delete([row])
            return
        async with self._database.transaction() as tx:
            await tx.undecrypted.reschedule(
                row.event_id, attempts=attempts, next_try_ms=now_ms + _delay_ms(attempts), is_announced=row.is_announced
            )
        log.warning("event_failed", event_id=row.event_id, attempts=attempts, error=str(error), exc_info=error)

    async def _postpone(self, chat: Room, row: UndecryptedRow) -> None:
        """Ask for the key, say that it is missing, or give the event up, and store the time of the next attempt."""
        now_ms, attempts = self._now_ms(), row.attempts + 1
        if now_ms - row.received_at_ms >= _GIVE_UP_MS:
            await self._give_up([row])
            return
        if row.attempts >= _REQUEST_AFTER and type_of(orjson.loads(row.event)) == ENCRYPTED:
            await self._request_key(chat, row)
        is_announced = row.is_announced or (row.attempts >= _ANNOUNCE_AFTER and await self._announce(chat, row))
        async with self._database.transaction() as tx:
            await tx.undecrypted.reschedule(
                row.event_id, attempts=attempts, next_try_ms=now_ms + _delay_ms(attempts), is_announced=is_announced
            )

    async def _expired(self, tx: Transaction) -> list[UndecryptedRow]:
        return await tx.undecrypted.received_until(self._now_ms() - _GIVE_UP_MS, _BATCH)

    async def _give_up(self, rows: Sequence[UndecryptedRow]) -> None:
        """Delete events whose key did not come within a day."""
        for row in rows:
            async with self._database.read_only() as tx:
                withheld = await tx.withheld_keys.find(row.room, row.session_id, row.sender)
            self._metrics.count_given_up(GivenUp.WITHHELD if withheld else GivenUp.NO_KEY)
            log.warning("event_given_up", event_id=row.event_id, room=row.room, error="no key came within a day")
        await self._delete(rows)

    async def _request_key(self, chat: Room, row: UndecryptedRow) -> None:
        reference: MegolmReference = reference_of(row)[1]
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                await self._chats.request_key(chat, reference)
        except (HomeserverRefused, TimeoutError) as error:
            log.info("key_not_requested", agent=chat.agent, event_id=row.event_id, error=str(error))

    async def _announce(self, chat: Room, row: UndecryptedRow) -> bool:
        """Say in the chat, at most once an hour, that a message could not be read."""
        agent = self._agents.get(chat.agent) if chat.agent is not None else None
        if agent is None:
            return False
        async with self._database.read_only() as tx:
            withheld = await tx.withheld_keys.find(row.room, row.session_id, row.sender)
            last = await tx.messages.before(chat.id, None, limit=20)
        people = [message.body for message in last if message.author.kind is AuthorKind.MATRIX]
        draft = Draft(
            notice_text(people[-1] if people else None, withheld.code if withheld else None),
            msgtype="m.notice",
            client_id=f"undecryptable:{self._now_ms() // _ANNOUNCE_INTERVAL_MS}",
        )
        try:
            await self._messages.post(Author(AuthorKind.AGENT, agent.slug, agent.display_name), chat.id, draft)
        except CityError as error:
            log.info("notice_not_posted", agent=agent.slug, error=str(error))
        return True

    async def _delete(self, rows: Sequence[UndecryptedRow]) -> None:
        async with self._database.transaction() as tx:
            for row in rows:
                await tx.undecrypted.delete(row.event_id)


def _delay_ms(attempts: int) -> int:
    return _RETRY_MS[min(attempts, len(_RETRY_MS)) - 1]


async def _following(tx: Transaction, chat: Room, row: UndecryptedRow) -> MessageId | None:
    """Return the first message after the one that was the last when the event came; None if there is none."""
    previous = await tx.messages.get(row.after_message) if row.after_message is not None else None
    after = await tx.messages.between(chat.id, previous.seq if previous else 0, chat.last_seq, limit=1)
    return after[0].id if after else None
