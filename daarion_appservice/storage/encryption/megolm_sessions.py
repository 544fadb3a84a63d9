"""Megolm sessions: inbound ones with the indexes of decrypted events, outbound ones with the devices that have them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import delete, exists, select

from ...city.types import MatrixRoomId, UserId
from ...encryption.errors import ReplayedMessage
from ...encryption.rows import InboundSessionRow, IndexRow, OutboundSessionRow, SharedRow
from ..parameter_lists import parts
from ..repository import Repository
from ..row_mapper import RowMapper
from ..tables import encryption_inbound_sessions as inbound
from ..tables import encryption_message_indexes as indexes
from ..tables import encryption_outbound_sessions as outbound
from ..tables import encryption_shared_keys as shared
from ..tables import rooms
from ..upsert import insert
from .saved_rows import COLUMNS, save_rows

SessionName = tuple[MatrixRoomId, str]
"""The room and the session id of a Megolm session."""

_inbound: Final = RowMapper(InboundSessionRow, COLUMNS)
_index: Final = RowMapper(IndexRow, COLUMNS)
_outbound: Final = RowMapper(OutboundSessionRow, COLUMNS)
_shared: Final = RowMapper(SharedRow, COLUMNS)


class MegolmSessionRepository(Repository):
    """The tables of Megolm sessions."""

    async def inbound(self, room: MatrixRoomId, session_id: str) -> list[InboundSessionRow]:
        """Return the stored sessions with a session id, one for each identity key that claims it."""
        rows = await self._connection.execute(
            select(inbound).where(inbound.c.matrix_room_id == room, inbound.c.session_id == session_id)
        )
        return [_inbound(row) for row in rows]

    async def inbound_of(
        self, room: MatrixRoomId, session_ids: Collection[str]
    ) -> dict[tuple[str, str], InboundSessionRow]:
        """Return the stored sessions of a room with these ids, by session id and identity key."""
        found: dict[tuple[str, str], InboundSessionRow] = {}
        for part in parts(session_ids):
            rows = await self._connection.execute(
                select(inbound).where(inbound.c.matrix_room_id == room, inbound.c.session_id.in_(part))
            )
            found |= {(row.session_id, row.curve25519): _inbound(row) for row in rows}
        return found

    async def inbound_exists(self, keys: Collection[SessionName]) -> set[SessionName]:
        """Return those of the rooms and session ids with which a session is stored."""
        by_room: dict[MatrixRoomId, set[str]] = {}
        for room, session_id in keys:
            by_room.setdefault(room, set()).add(session_id)
        found: set[SessionName] = set()
        for room, session_ids in by_room.items():
            for part in parts(session_ids):
                stored = await self._connection.scalars(
                    select(inbound.c.session_id).where(inbound.c.matrix_room_id == room, inbound.c.session_id.in_(part))
                )
                found |= {(room, session_id) for session_id in stored}
        return found

    async def find_inbound(self, room: MatrixRoomId, session_id: str, curve25519: str) -> InboundSessionRow | None:
        """Return the session of one identity key."""
        row = (
            await self._connection.execute(
                select(inbound).where(
                    inbound.c.matrix_room_id == room,
                    inbound.c.session_id == session_id,
                    inbound.c.curve25519 == curve25519,
                )
            )
        ).first()
        return _inbound(row) if row else None

    async def rooms_without_chat(self, limit: int) -> set[MatrixRoomId]:
        """Return rooms of inbound sessions that are not rooms of the city: of later invitations, or invented."""
        of_city = select(rooms.c.matrix_room_id).where(rooms.c.matrix_room_id.is_not(None))
        found = await self._connection.scalars(
            select(inbound.c.matrix_room_id).where(inbound.c.matrix_room_id.not_in(of_city)).distinct().limit(limit)
        )
        return set(map(MatrixRoomId, found))

    async def delete_inbound_of_rooms(self, of_rooms: Collection[MatrixRoomId]) -> None:
        """Delete the inbound sessions of rooms."""
        for part in parts(of_rooms):
            await self._connection.execute(delete(inbound).where(inbound.c.matrix_room_id.in_(part)))

    async def save_inbound(self, rows: Iterable[InboundSessionRow]) -> None:
        """Store sessions, or replace the stored ones; `inbound_sessions.merge` decides before."""
        await save_rows(self._connection, inbound, map(_inbound.values, rows))

    async def index(self, room: MatrixRoomId, session_id: str, owner: UserId, index: int) -> IndexRow | None:
        """Return the event to which an index of an owner's session belongs."""
        row = (
            await self._connection.execute(
                select(indexes).where(
                    indexes.c.matrix_room_id == room,
                    indexes.c.session_id == session_id,
                    indexes.c.owner == owner,
                    indexes.c.message_index == index,
                )
            )
        ).first()
        return _index(row) if row else None

    async def add_index(self, row: IndexRow) -> None:
        """Store the event of an index; storing the same event again has no effect.

        Raises:
            ReplayedMessage: The index belongs to another event, which another transaction may just have stored.
        """
        statement = insert(self._connection, indexes).values(_index.values(row))
        stored = await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(indexes.primary_key),
                set_={"event_id": statement.excluded.event_id},
                where=indexes.c.event_id == statement.excluded.event_id,
            ).returning(indexes.c.event_id)
        )
        if stored.first() is None:
            raise ReplayedMessage(f"index {row.index} of session {row.session_id} belongs to another event")

    # --- outbound sessions --------------------------------------------------------------------------------

    async def outbound(self, ghost: UserId, room: MatrixRoomId) -> OutboundSessionRow | None:
        """Return the session with which a ghost encrypts in a room."""
        row = (
            await self._connection.execute(
                select(outbound).where(outbound.c.ghost == ghost, outbound.c.matrix_room_id == room)
            )
        ).first()
        return _outbound(row) if row else None

    async def save_outbound(self, row: OutboundSessionRow) -> None:
        """Store the session of a ghost in a room in place of the stored one."""
        await save_rows(self._connection, outbound, [_outbound.values(row)])

    async def delete_outbound(self, ghost: UserId) -> None:
        """Delete the outbound sessions of a ghost, so that it starts new ones."""
        await self._connection.execute(delete(outbound).where(outbound.c.ghost == ghost))

    async def shared(self, session_id: str) -> list[SharedRow]:
        """Return the devices that got an outbound session or a withheld code."""
        rows = await self._connection.execute(select(shared).where(shared.c.session_id == session_id))
        return [_shared(row) for row in rows]

    async def shared_with(self, session_id: str, user: UserId, device_id: str) -> SharedRow | None:
        """Return what a device got of an outbound session."""
        row = (
            await self._connection.execute(
                select(shared).where(
                    shared.c.session_id == session_id, shared.c.user_id == user, shared.c.device_id == device_id
                )
            )
        ).first()
        return _shared(row) if row else None

    async def delete_outbound_shared_with(self, ghost: UserId, curve25519: str) -> None:
        """Delete the outbound sessions of a ghost that a device got, so that new ones take their place.

        Args:
            curve25519: The identity key of the device.
        """
        was_given = exists().where(shared.c.session_id == outbound.c.session_id, shared.c.curve25519 == curve25519)
        await self._connection.execute(delete(outbound).where(outbound.c.ghost == ghost, was_given))

    async def save_shared(self, rows: Iterable[SharedRow]) -> None:
        """Store what devices got; a key replaces a withheld code."""
        await save_rows(self._connection, shared, map(_shared.values, rows))
