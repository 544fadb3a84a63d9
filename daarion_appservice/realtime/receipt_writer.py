"""The receipt writer: stores read receipts in batches, and publishes those that moved forward.

    receipts of Matrix users ──────┐
                                   ├─► newest of each reader ─► tick ─► one transaction ─► ReceiptsChanged, one by room
    read marks of this process ────┘

However many receipts arrive, a room's clients get at most ``_MAX_OF_ROOM`` in a tick; the others wait for the next tick,
in which a newer receipt of the same reader replaces them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import structlog

from ..city.citizen_pairs import is_chat_id
from ..city.events import LocalUserRead, ReceiptsChanged
from ..city.identity import Identities
from ..city.member_lookup import MemberLookup
from ..city.ports import NowMs, Publish
from ..city.receipts import NamedReceipt, ReadPosition, Receipt, ReceiptKey
from ..city.types import Author, Member, RoomId, SubjectId, author_key
from ..storage.database import Database, Transaction
from .worker import Worker

_TICK_S: Final = 0.5
"""How long receipts are collected, in seconds."""
_MAX_OF_ROOM: Final = 50
"""Receipts of one room that are stored and published in one tick."""
_MAX_OF_TICK: Final = 500
"""Receipts that are stored in one tick."""
_MAX_PENDING: Final = 20_000
"""Receipts that wait; further ones are dropped, as the same readers' next ones make up for them."""

log = structlog.get_logger()


class ReceiptWriter:
    """Stores the receipts of the readers whose requests this process serves, and in the leader those of Matrix users."""

    def __init__(
        self,
        database: Database,
        identities: Identities,
        members: MemberLookup,
        publish: Publish,
        now_ms: NowMs,
        *,
        tick_s: float = _TICK_S,
    ) -> None:
        self._database = database
        self._identities = identities
        self._members = members
        self._publish = publish
        self._now_ms = now_ms
        self._tick_s = tick_s
        self._pending: dict[ReceiptKey, ReadPosition] = {}
        """The newest position of each reader, longest waiting first."""
        self._worker = Worker("receipt_writer", idle_s=None)

    def on_local_read(self, event: LocalUserRead) -> None:
        """Store the receipt of a citizen or agent, if that is a member of the room."""
        reader = event.author.subject
        if self._members.may_be_member(event.room_id, reader):
            key = ReceiptKey(event.room_id, reader, event.thread_root)
            self.add(key, ReadPosition(event.message_id, event.seq, self._now_ms()))

    def add(self, key: ReceiptKey, position: ReadPosition) -> None:
        """Store a receipt with the next tick, unless an equal or newer one of the same person waits."""
        key = key._replace(reader=self._identities.accounts.canonical_subject(key.reader))
        waiting = self._pending.get(key)
        if waiting is None and len(self._pending) >= _MAX_PENDING:
            log.debug("receipt_dropped", room=key.room, reader=key.reader)
        elif waiting is None or waiting.seq < position.seq:
            self._pending[key] = position
            self._worker.wake()

    async def run(self) -> None:
        """Store and publish receipts until cancelled."""
        await self._worker.run(self._write)

    async def _write(self) -> None:
        while self._pending:
            await asyncio.sleep(self._tick_s)
            batch = self._next_batch()
            async with self._database.transaction() as tx:
                stored = await tx.receipts.advance(await self._of_members(tx, batch))
                changes = await self._changes(tx, stored)
            for key, position in batch.items():
                if self._pending.get(key) is position:
                    del self._pending[key]
            for change in changes:
                self._publish(change)

    def _next_batch(self) -> dict[ReceiptKey, ReadPosition]:
        batch: dict[ReceiptKey, ReadPosition] = {}
        of_room: Counter[RoomId] = Counter()
        for key, position in self._pending.items():
            if of_room[key.room] < _MAX_OF_ROOM:
                of_room[key.room] += 1
                batch[key] = position
            if len(batch) == _MAX_OF_TICK:
                break
        return batch

    async def _changes(self, tx: Transaction, stored: Iterable[Receipt]) -> list[ReceiptsChanged]:
        by_room: defaultdict[RoomId, list[Receipt]] = defaultdict(list)
        for receipt in stored:
            by_room[receipt.key.room].append(receipt)
        return [
            ReceiptsChanged(room, tuple(await named_receipts(tx, room, receipts, self._identities)))
            for room, receipts in by_room.items()
        ]

    async def _of_members(
        self, tx: Transaction, batch: Mapping[ReceiptKey, ReadPosition]
    ) -> dict[ReceiptKey, ReadPosition]:
        """Return the receipts of readers who are members now: a reader may have left while the receipt was waiting."""
        readers: defaultdict[RoomId, set[SubjectId]] = defaultdict(set)
        for key in batch:
            readers[key.room].add(key.reader)
        present = {room: await self._members.persons_in(tx, room, of_room) for room, of_room in readers.items()}
        return {key: position for key, position in batch.items() if key.reader in present[key.room]}


async def named_receipts(
    tx: Transaction, room: RoomId, receipts: Iterable[Receipt], identities: Identities
) -> list[NamedReceipt]:
    """Return the receipts with the names and avatars that their readers have in the room."""
    receipts = list(receipts)
    users = {receipt.key.reader: identities.user(receipt.key.reader) for receipt in receipts}
    members = {member.user_id: member for member in await tx.members.some(room, list(users.values()))}
    if is_chat_id(room):
        for user in {*users.values()} - members.keys():
            members[user] = Member(room, user, await tx.direct_chats.display_name(room, user) or "")
    return [
        NamedReceipt(receipt, _author(receipt.key.reader, members.get(users[receipt.key.reader])))
        for receipt in receipts
    ]


def _author(reader: SubjectId, member: Member | None) -> Author:
    kind, author_id = author_key(reader)
    if member is None:
        return Author(kind, author_id, author_id)
    return Author(kind, author_id, member.display_name or author_id, member.avatar_url)
