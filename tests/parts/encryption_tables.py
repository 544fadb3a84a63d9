"""What the tables of encryption have, read as no part of the service needs it."""

from __future__ import annotations

from sqlalchemy import select

from daarion_appservice.city.types import EventId, MatrixRoomId
from daarion_appservice.storage.database import Transaction
from daarion_appservice.storage.encryption.accounts import StoredAccount
from daarion_appservice.storage.encryption.undecrypted import UndecryptedRow
from daarion_appservice.storage.tables import encryption_undecrypted as undecrypted


async def stored_accounts(tx: Transaction) -> list[StoredAccount]:
    """Return all accounts, ordered by ghost."""
    accounts = tx.encryption_accounts
    return [stored for ghost in await accounts.ghosts() if (stored := await accounts.get(ghost)) is not None]


async def undecrypted_of(tx: Transaction, room: MatrixRoomId) -> list[UndecryptedRow]:
    """Return the events of a room that wait for their keys, in the order of arrival."""
    in_order = select(undecrypted.c.event_id).where(undecrypted.c.matrix_room_id == room).order_by(undecrypted.c.number)
    events = map(EventId, await tx.connection.scalars(in_order))
    return [row for event in events if (row := await tx.undecrypted.get(event)) is not None]
