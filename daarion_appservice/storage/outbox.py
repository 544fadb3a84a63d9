"""Changes that wait to be sent to Matrix.

A row is written in the transaction of the change itself, and its Matrix transaction id is stored before the first
attempt.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, Integer, bindparam, delete, func, insert, select, update

from ..city.types import MessageId, OutboxKind, ReactionId, RoomId, UserId
from ..clock import creation_ms
from .repository import Repository
from .row_mapper import RowMapper
from .tables import outbox

DELETIONS: Final = (OutboxKind.DELETE, OutboxKind.REMOVE)
"""The kinds that delete a message on Matrix: by its author, and by a moderator."""


class OutboxState(StrEnum):
    """States of a row of ``outbox``; a row that was sent is deleted."""

    NEW = "new"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One row of ``outbox``."""

    id: int
    kind: OutboxKind
    message_id: MessageId | None
    """None for JOIN and LEAVE."""
    reaction_id: ReactionId | None
    user_id: UserId | None
    """The citizen or agent whose ghost joins or leaves."""
    room_id: RoomId
    txn_id: str
    attempts: int
    retry_at_ms: int

    @property
    def created_ms(self) -> int | None:
        """The time of the change (ms since 1970), which its transaction id has; None for another kind of id."""
        return creation_ms(self.txn_id)


@dataclass(frozen=True, slots=True)
class UndeliveredRow:
    """A change that is not on Matrix; ``error`` is the homeserver's last response, or empty."""

    message_id: MessageId
    kind: OutboxKind
    room_id: RoomId
    state: OutboxState
    """FAILED: the change was given up."""
    attempts: int
    error: str


_outbox_row: Final = RowMapper(OutboxRow)
# Built once: for each message that would take as long as executing them.
_ADD: Final = insert(outbox).inline()
_DELETE: Final = delete(outbox).where(outbox.c.id == bindparam("row_id"))
_WAITING: Final = (
    select(outbox)
    .where(outbox.c.state == OutboxState.NEW)
    .order_by(outbox.c.id)
    .limit(bindparam("most", type_=Integer))
)


class OutboxRepository(Repository):
    """The table ``outbox``."""

    async def add(
        self, kind: OutboxKind, message: MessageId, room: RoomId, *, txn_id: str, reaction: ReactionId | None = None
    ) -> None:
        values = {"kind": kind, "message_id": message, "reaction_id": reaction, "room_id": room, "txn_id": txn_id}
        await self._write(_ADD, values)

    async def add_move(self, kind: OutboxKind, user: UserId, room: RoomId, *, txn_id: str) -> None:
        """Store that a ghost is to JOIN or LEAVE, in place of any JOIN or LEAVE of that ghost that still waits."""
        await self.delete_moves(room, user)
        await self._connection.execute(insert(outbox).values(kind=kind, user_id=user, room_id=room, txn_id=txn_id))

    async def delete_moves(self, room: RoomId, user: UserId) -> None:
        """Delete the waiting JOIN and LEAVE of this ghost in this room."""
        await self._connection.execute(delete(outbox).where(*_moves(room), outbox.c.user_id == user))

    async def pending_moves(self, room: RoomId, users: Collection[UserId] | None = None) -> dict[UserId, OutboxKind]:
        """Return which JOIN or LEAVE still waits to be sent, by user.

        Args:
            users: only these users; None for all.
        """
        statement = select(outbox.c.user_id, outbox.c.kind).where(*_moves(room))
        if users is not None:
            statement = statement.where(outbox.c.user_id.in_(users))
        return {UserId(row.user_id): OutboxKind(row.kind) for row in await self._connection.execute(statement)}

    async def waiting(self, *, limit: int, not_rooms: frozenset[RoomId] = frozenset()) -> list[OutboxRow]:
        """Return waiting rows in the order in which they were written, without those of ``not_rooms``."""
        statement = _WAITING.where(outbox.c.room_id.not_in(not_rooms)) if not_rooms else _WAITING
        return [_outbox_row(row) for row in await self._connection.execute(statement, {"most": limit})]

    async def delete(self, row_id: int) -> None:
        """Delete a row that was sent or will never be sent."""
        await self._write(_DELETE, {"row_id": row_id})

    async def delete_message(self, message: MessageId) -> None:
        """Delete the row of a message that is on Matrix already."""
        await self._connection.execute(
            delete(outbox).where(outbox.c.message_id == message, outbox.c.kind == OutboxKind.MESSAGE)
        )

    async def is_deleting(self, message: MessageId) -> bool:
        """Return whether the deletion of a message, by its author or by a moderator, waits to be sent."""
        statement = select(outbox.c.id).where(
            outbox.c.message_id == message,
            outbox.c.kind.in_(DELETIONS),
            outbox.c.state == OutboxState.NEW,
        )
        return (await self._connection.execute(statement.limit(1))).first() is not None

    async def record_failure(self, row_id: int, error: str, *, retry_at_ms: int | None) -> None:
        """Record a failed attempt; the row is due again at ``retry_at_ms``, or given up if that is None."""
        state = OutboxState.FAILED if retry_at_ms is None else OutboxState.NEW
        await self._connection.execute(
            update(outbox)
            .where(outbox.c.id == row_id)
            .values(state=state, error=error, attempts=outbox.c.attempts + 1, retry_at_ms=retry_at_ms or 0)
        )

    async def retry(self, message: MessageId) -> bool:
        """Make a message that was given up wait again; return False if there is no such row."""
        return await self._retry(outbox.c.message_id == message, outbox.c.kind == OutboxKind.MESSAGE) > 0

    async def retry_changes(self, messages: Collection[MessageId] | None) -> int:
        """Make given up edits, deletions and reactions wait again, of these messages or of all; return how many."""
        return await self._retry(*_of(messages), outbox.c.kind.in_(_CHANGES))

    async def failed_messages(self, messages: Collection[MessageId] | None) -> list[MessageId]:
        """Return the messages that were given up, among these or of all, in the order in which they were written."""
        statement = select(outbox.c.message_id).where(*_of(messages), *_FAILED, outbox.c.kind == OutboxKind.MESSAGE)
        return [MessageId(each) for each in (await self._connection.execute(statement.order_by(outbox.c.id))).scalars()]

    async def undelivered(self, *, is_failed: bool, limit: int = 1000) -> list[UndeliveredRow]:
        """Return changes of messages that are not on Matrix, in the order in which they were written.

        Args:
            is_failed: Whether to return only those that were given up.
            limit: The maximum number of rows.
        """
        columns = (outbox.c.message_id, outbox.c.kind, outbox.c.room_id, outbox.c.state, outbox.c.attempts)
        statement = (
            select(*columns, outbox.c.error)
            .where(outbox.c.kind.in_([OutboxKind.MESSAGE, *_CHANGES]), *(_FAILED if is_failed else ()))
            .order_by(outbox.c.id)
            .limit(limit)
        )
        return [
            UndeliveredRow(
                MessageId(row.message_id),
                OutboxKind(row.kind),
                RoomId(row.room_id),
                OutboxState(row.state),
                row.attempts,
                row.error or "",
            )
            for row in await self._connection.execute(statement)
        ]

    async def counts(self) -> dict[str, int]:
        """Return the number of rows by state."""
        rows = await self._connection.execute(select(outbox.c.state, func.count()).group_by(outbox.c.state))
        return {state: count for state, count in rows}  # noqa: C416 -- a Row is not a pair to mypy

    async def _retry(self, *which: ColumnElement[bool]) -> int:
        statement = update(outbox).where(*which, *_FAILED)
        retried = await self._connection.execute(
            statement.values(state=OutboxState.NEW, attempts=0, retry_at_ms=0, error=None)
        )
        return retried.rowcount


_CHANGES: Final = (
    *DELETIONS,
    OutboxKind.EDIT,
    OutboxKind.REACT,
    OutboxKind.UNREACT,
    OutboxKind.VOTE,
    OutboxKind.END_POLL,
)
_FAILED: Final = (outbox.c.state == OutboxState.FAILED,)


def _of(messages: Collection[MessageId] | None) -> tuple[ColumnElement[bool], ...]:
    return (outbox.c.message_id.is_not(None),) if messages is None else (outbox.c.message_id.in_(messages),)


def _moves(room: RoomId) -> tuple[ColumnElement[bool], ...]:
    return outbox.c.user_id.is_not(None), outbox.c.room_id == room, outbox.c.state == OutboxState.NEW
