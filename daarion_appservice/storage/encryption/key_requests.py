"""Requests of ghosts for the keys of Megolm sessions, and the times of their answers to the requests of others."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, select

from ...city.types import MatrixRoomId, UserId
from ...encryption.rows import KeyRequestRow
from ..repository import Repository
from ..row_mapper import RowMapper
from ..tables import encryption_key_answers as answers
from ..tables import encryption_key_requests as requests
from .saved_rows import COLUMNS, save_rows

_request: Final = RowMapper(KeyRequestRow, COLUMNS)
_OLDEST_FIRST: Final = (requests.c.sent_at_ms, requests.c.request_id)


class KeyRequestRepository(Repository):
    """The tables ``encryption_key_requests`` and ``encryption_key_answers``."""

    async def open(self, ghost: UserId) -> list[KeyRequestRow]:
        """Return the requests of a ghost that were not deleted, oldest first."""
        rows = await self._connection.execute(
            select(requests).where(requests.c.ghost == ghost).order_by(*_OLDEST_FIRST)
        )
        return [_request(row) for row in rows]

    async def of_session(self, room: MatrixRoomId, session_id: str) -> list[KeyRequestRow]:
        """Return the requests of all ghosts for a session, oldest first."""
        rows = await self._connection.execute(
            select(requests)
            .where(requests.c.matrix_room_id == room, requests.c.session_id == session_id)
            .order_by(*_OLDEST_FIRST)
        )
        return [_request(row) for row in rows]

    async def save(self, row: KeyRequestRow) -> None:
        """Store a request, or replace that of the same ghost to the same user for the same session."""
        await save_rows(self._connection, requests, [_request.values(row)])

    async def delete(self, row: KeyRequestRow) -> None:
        """Delete the request of a ghost to a user for a session, also if it was sent again under another id."""
        await self._connection.execute(
            delete(requests).where(
                requests.c.ghost == row.ghost,
                requests.c.matrix_room_id == row.room,
                requests.c.session_id == row.session_id,
                requests.c.user_id == row.user,
            )
        )

    async def last_answer(self, ghost: UserId, user: UserId, device_id: str, session_id: str) -> int | None:
        """Return when a ghost last gave a session to a device that requested it.

        Returns:
            Milliseconds since 1970; None if it did not.
        """
        at_ms: int | None = await self._connection.scalar(
            select(answers.c.at_ms).where(
                answers.c.ghost == ghost,
                answers.c.user_id == user,
                answers.c.device_id == device_id,
                answers.c.session_id == session_id,
            )
        )
        return at_ms

    async def set_answer(self, ghost: UserId, user: UserId, device_id: str, session_id: str, at_ms: int) -> None:
        """Store the time of an answer in milliseconds since 1970."""
        row = {"ghost": ghost, "user_id": user, "device_id": device_id, "session_id": session_id, "at_ms": at_ms}
        await save_rows(self._connection, answers, [row])

    async def prune(self, before_ms: int) -> None:
        """Delete requests that were last sent before a time, and the times of answers before it.

        Args:
            before_ms: Milliseconds since 1970. A key that a deleted request asked for is refused when it comes.
        """
        await self._connection.execute(delete(requests).where(requests.c.sent_at_ms < before_ms))
        await self._connection.execute(delete(answers).where(answers.c.at_ms < before_ms))
