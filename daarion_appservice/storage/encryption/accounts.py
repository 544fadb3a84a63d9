"""The encryption accounts of ghosts, with the state of each that is not part of its keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.engine import Row

from ...city.types import UserId
from ...encryption.rows import AccountRow
from ..repository import Repository
from ..row_mapper import RowMapper
from ..tables import encryption_accounts as accounts
from .saved_rows import save_rows


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """The account of a ghost and its state on the homeserver."""

    account: AccountRow
    since: str | None
    """The token of ``/sync`` up to which to-device events were processed; None before the first request."""
    is_uploaded: bool
    """Whether the homeserver has the device keys and the cross-signing keys."""
    is_reset_requested: bool
    """Whether an administrator asked for a new device."""


_account: Final = RowMapper(AccountRow)


class EncryptionAccountRepository(Repository):
    """The table ``encryption_accounts``."""

    async def get(self, ghost: UserId) -> StoredAccount | None:
        """Return the account of a ghost."""
        row = (await self._connection.execute(select(accounts).where(accounts.c.ghost == ghost))).first()
        return _stored(row) if row else None

    async def ghosts(self, *, is_uploaded: bool | None = None, is_reset_requested: bool | None = None) -> list[UserId]:
        """Return the ghosts with an account, in order, without the keys.

        Args:
            is_uploaded: Only those whose keys the homeserver has, or has not; None for all.
            is_reset_requested: Only those that are to get a new device, or not; None for all.
        """
        statement = select(accounts.c.ghost).order_by(accounts.c.ghost)
        if is_uploaded is not None:
            statement = statement.where(accounts.c.is_uploaded == is_uploaded)
        if is_reset_requested is not None:
            statement = statement.where(accounts.c.is_reset_requested == is_reset_requested)
        return [UserId(ghost) for ghost in await self._connection.scalars(statement)]

    async def save(self, row: AccountRow) -> None:
        """Store the keys of an account. The state of a stored account stays the same, also with a new device."""
        await save_rows(self._connection, accounts, [_account.values(row)])

    async def set_since(self, ghost: UserId, since: str | None) -> None:
        """Store the token of ``/sync`` up to which the to-device events of a ghost were processed."""
        await self._update(ghost, since=since)

    async def set_uploaded(self, ghost: UserId, *, is_uploaded: bool) -> None:
        """Store whether the homeserver has the keys of a ghost."""
        await self._update(ghost, is_uploaded=is_uploaded)

    async def request_reset(self, ghost: UserId) -> bool:
        """Store that a ghost is to get a new device.

        Returns:
            False if the ghost has no account.
        """
        return await self._update(ghost, is_reset_requested=True) > 0

    async def delete(self, ghost: UserId) -> None:
        """Delete the account of a ghost with its state; its sessions stay."""
        await self._connection.execute(delete(accounts).where(accounts.c.ghost == ghost))

    async def any_account(self) -> AccountRow | None:
        """Return the keys of one ghost, always the same one; None if there is no account."""
        row = (await self._connection.execute(select(accounts).order_by(accounts.c.ghost).limit(1))).first()
        return _account(row) if row else None

    async def _update(self, ghost: UserId, **values: Any) -> int:
        changed = await self._connection.execute(update(accounts).where(accounts.c.ghost == ghost).values(values))
        return changed.rowcount


def _stored(row: Row[Any]) -> StoredAccount:
    return StoredAccount(_account(row), row.since, row.is_uploaded, row.is_reset_requested)
