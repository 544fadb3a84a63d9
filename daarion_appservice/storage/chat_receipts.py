"""Direct chats that linked Matrix accounts are joined to, and what is unread in them.

No transaction has a receipt of a direct chat: a ghost that is a member requests it (``matrix/presence/chat_receipts``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, exists, func, not_, or_, select

from ..city.types import AgentSlug, AuthorKind, MatrixRoomId, RoomId, UserId
from .parameter_lists import parts
from .read_marks import last_seq_before_join
from .readable import chat_is_listed
from .repository import Repository
from .tables import accounts, membership_periods, messages, read_marks, read_receipts, rooms

_MAIN: Final = ""
"""The ``thread_root`` of the main timeline in ``read_marks`` and ``read_receipts``."""
_MOST: Final = 5_000


@dataclass(frozen=True, slots=True)
class UnreadChat:
    """A direct chat in which a linked person has unread messages of others."""

    room: RoomId
    agent: AgentSlug | None
    """The agent as whose ghost the service reads a chat that was opened on Matrix; None for one opened in the city."""
    newest_ms: int
    """When the newest unread message was sent, in milliseconds since 1970."""


class ChatReceiptRepository(Repository):
    """Reads ``rooms``, ``membership_periods``, ``read_marks`` and ``read_receipts`` of direct chats; writes nothing."""

    async def unread(self, *, since_ms: int) -> list[UnreadChat]:
        """Return the chats in which a joined linked account has unread messages that were sent at ``since_ms`` or later.

        At most 5,000 chats, those with the newest events first. Archived and encrypted chats are not among them: the pages
        count nothing in them.
        """
        newest = _newest_unread(since_ms).label("newest_ms")
        found = await self._connection.execute(
            select(rooms.c.id, rooms.c.agent, newest)
            .select_from(rooms)
            .join(membership_periods, membership_periods.c.room_id == rooms.c.id)
            .join(accounts, accounts.c.matrix_user_id == membership_periods.c.user_id)
            .where(_is_observable(), *_is_joined(), rooms.c.last_event_ms >= since_ms)
            .order_by(rooms.c.last_event_ms.desc(), rooms.c.id)
            .limit(_MOST)
        )
        return [
            UnreadChat(RoomId(row.id), AgentSlug(row.agent) if row.agent else None, row.newest_ms)
            for row in found
            if row.newest_ms is not None
        ]

    async def joined_users(self, chats: Collection[RoomId]) -> dict[RoomId, list[UserId]]:
        """Return the users who are joined to rooms now, ghosts included, sorted."""
        found: dict[RoomId, list[UserId]] = {}
        for part in parts(chats):
            rows = await self._connection.execute(
                select(membership_periods.c.room_id, membership_periods.c.user_id)
                .where(membership_periods.c.room_id.in_(part), *_is_joined())
                .order_by(membership_periods.c.user_id)
            )
            for room, user in rows:
                found.setdefault(RoomId(room), []).append(UserId(user))
        return found

    async def observable(self, matrix_rooms: Collection[MatrixRoomId]) -> dict[MatrixRoomId, RoomId]:
        """Return those of the Matrix rooms that are direct chats of a joined linked account, with their city rooms."""
        is_of_linked = exists().where(
            membership_periods.c.room_id == rooms.c.id,
            accounts.c.matrix_user_id == membership_periods.c.user_id,
            *_is_joined(),
        )
        found: dict[MatrixRoomId, RoomId] = {}
        for part in parts(matrix_rooms):
            rows = await self._connection.execute(
                select(rooms.c.matrix_room_id, rooms.c.id).where(
                    rooms.c.matrix_room_id.in_(part), _is_observable(), is_of_linked
                )
            )
            found |= {MatrixRoomId(row.matrix_room_id): RoomId(row.id) for row in rows}
        return found


def _is_observable() -> ColumnElement[bool]:
    """Return the condition that a row of ``rooms`` is an open direct chat on Matrix whose messages the pages show."""
    is_open = and_(rooms.c.matrix_room_id.is_not(None), not_(rooms.c.archived), not_(rooms.c.encrypted))
    return and_(is_open, or_(rooms.c.is_direct, chat_is_listed()))


def _is_joined() -> tuple[ColumnElement[bool], ...]:
    return membership_periods.c.joined_seq.is_not(None), membership_periods.c.end_seq.is_(None)


def _newest_unread(since_ms: int) -> Any:
    """Return the time of the newest message of a chat that its linked account has not read, as in ``RoomMarks.is_read``."""
    table = messages.c
    own = or_(
        and_(table.author_kind == AuthorKind.MATRIX, table.author_id == accounts.c.matrix_user_id),
        and_(table.author_kind == AuthorKind.CITIZEN, table.author_id == accounts.c.citizen_id),
    )
    # The highest mark as one expression: it is the start of a scan by the index of sequence numbers.
    floor = _higher(last_seq_before_join(), _higher(_mark(_MAIN), _receipt(_MAIN)))
    unread = (
        select(func.max(table.created_at_ms))
        .where(
            table.room_id == rooms.c.id,
            table.seq > floor,
            table.created_at_ms >= since_ms,
            not_(table.deleted),
            not_(own),
            or_(
                table.thread_root.is_(None),
                table.seq > _higher(_mark(table.thread_root), _receipt(table.thread_root)),
            ),
        )
        .correlate(rooms, membership_periods, accounts)
    )
    return unread.scalar_subquery()


def _higher(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one > other, one), else_=other)


def _mark(thread_root: Any) -> ColumnElement[int]:
    """Return the read mark of the citizen in a timeline of a row of ``rooms``; 0 without one."""
    found = (
        select(func.max(read_marks.c.seq))
        .where(
            read_marks.c.citizen_id == accounts.c.citizen_id,
            read_marks.c.room_id == rooms.c.id,
            read_marks.c.thread_root == thread_root,
        )
        .correlate(accounts, rooms, messages)
    )
    return func.coalesce(found.scalar_subquery(), 0)


def _receipt(thread_root: Any) -> ColumnElement[int]:
    """Return the number of the message of the account's receipt in a timeline of a row of ``rooms``; 0 without one."""
    at = messages.alias("at")
    found = (
        select(func.max(at.c.seq))
        .select_from(read_receipts)
        .join(at, read_receipts.c.message_id == at.c.id)
        .where(
            read_receipts.c.reader == accounts.c.matrix_user_id,
            read_receipts.c.room_id == rooms.c.id,
            read_receipts.c.thread_root == thread_root,
        )
        .correlate(accounts, rooms, messages)
    )
    return func.coalesce(found.scalar_subquery(), 0)
