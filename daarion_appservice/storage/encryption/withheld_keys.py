"""Withheld codes that devices sent to ghosts in place of keys."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.engine import Row

from ...city.types import MatrixRoomId, UserId
from ...encryption.rows import WithheldRow
from ..repository import Repository
from ..row_mapper import RowMapper
from ..tables import encryption_withheld_keys as withheld
from ..upsert import insert

MAX_CODES: Final = 200
"""Stored codes of one user: the events are neither encrypted nor requested, and any user can send any number of them."""
_KEY: Final = (withheld.c.user_id, withheld.c.matrix_room_id, withheld.c.session_id, withheld.c.curve25519)


def _room(row: Row[Any]) -> MatrixRoomId | None:
    return MatrixRoomId(row.matrix_room_id) if row.matrix_room_id else None


def _session_id(row: Row[Any]) -> str | None:
    return row.session_id or None


_withheld: Final = RowMapper(WithheldRow, user=attrgetter("user_id"), room=_room, session_id=_session_id)


class WithheldKeyRepository(Repository):
    """The table ``encryption_withheld_keys``."""

    async def save(self, row: WithheldRow) -> None:
        """Store a code in place of the stored one, and delete the oldest codes of the user beyond `MAX_CODES`."""
        values = _withheld.values(row) | {
            "user_id": row.user,
            "matrix_room_id": row.room or "",
            "session_id": row.session_id or "",
        }
        await self._connection.execute(
            insert(self._connection, withheld)
            .values(values)
            .on_conflict_do_update(index_elements=_KEY, set_={"code": row.code, "reason": row.reason})
        )
        newest = select(withheld.c.number).where(withheld.c.user_id == row.user)
        oldest_kept = newest.order_by(withheld.c.number.desc()).offset(MAX_CODES - 1).limit(1).scalar_subquery()
        await self._connection.execute(
            delete(withheld).where(withheld.c.user_id == row.user, withheld.c.number < oldest_kept)
        )

    async def find(self, room: MatrixRoomId, session_id: str, user: UserId) -> WithheldRow | None:
        """Return why a user withholds the key of a session.

        Returns:
            The newest code for the session, else the newest code for every session; None if there is none.
        """
        of_session = and_(withheld.c.matrix_room_id == room, withheld.c.session_id == session_id)
        rows = await self._connection.execute(
            select(withheld)
            .where(withheld.c.user_id == user, or_(of_session, withheld.c.matrix_room_id == ""))
            .order_by(withheld.c.number.desc())
        )
        found = [_withheld(row) for row in rows]
        return next((row for row in found if row.session_id is not None), found[0] if found else None)
