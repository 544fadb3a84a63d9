"""Links between Matrix accounts and citizens, and used proofs of accounts."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, func, select, update

from ..city.linked_accounts import LinkedAccount
from ..city.types import CitizenId, UserId
from .key_values import accounts_changed
from .media import note_avatars
from .repository import Repository
from .tables import accounts, sign_in_uses
from .upsert import insert

_LOCK: Final = 0xDAA212
"""PostgreSQL advisory lock on the table ``accounts``."""


class AccountRepository(Repository):
    """The tables ``accounts`` and ``sign_in_uses``."""

    async def all(self) -> list[LinkedAccount]:
        """Return all links with the profiles of their accounts."""
        return [
            LinkedAccount(CitizenId(row.citizen_id), UserId(row.matrix_user_id), row.display_name, row.avatar_url)
            for row in await self._connection.execute(select(accounts))
        ]

    async def lock(self) -> None:
        """Lock the links against other writers until the transaction ends; SQLite has one writer at a time anyway.

        Every transaction that writes links calls this method first. Two of them would otherwise wait for each other: one
        for the row of an account, the other for the version of the links.
        """
        if self._connection.dialect.name == "postgresql":
            await self._connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))

    async def link(self, account: LinkedAccount, *, now_ms: int) -> bool:
        """Link an account with a citizen, in place of the citizen's earlier account.

        Returns:
            False if the account is linked with another citizen.
        """
        linked = await self.citizen_of(account.user)
        if linked is None:
            await self.unlink(account.citizen)
            await self._add(account, now_ms)
        elif linked == account.citizen:
            await self._update_profile(account)
        return linked in {None, account.citizen}

    async def get_or_link(self, account: LinkedAccount, *, now_ms: int) -> CitizenId:
        """Return the citizen that the account is linked with; link the one in ``account`` if there is none."""
        linked = await self.citizen_of(account.user)
        if linked is None:
            await self._add(account, now_ms)
            return account.citizen
        await self._update_profile(account)
        return linked

    async def set_profile(self, user: UserId, display_name: str | None, avatar_url: str | None) -> bool:
        """Store the profile of a linked account; return whether it differs from the stored one."""
        found = accounts.c.matrix_user_id == user
        differs = accounts.c.display_name.is_distinct_from(display_name) | accounts.c.avatar_url.is_distinct_from(
            avatar_url
        )
        if await self._connection.scalar(select(accounts.c.citizen_id).where(found, differs)) is None:
            return False
        await self.lock()
        changed = await self._connection.execute(
            update(accounts).where(found, differs).values(display_name=display_name, avatar_url=avatar_url)
        )
        if changed.rowcount == 0:
            return False
        await note_avatars(self._connection, [avatar_url])
        await accounts_changed(self._connection)
        return True

    async def unlink(self, citizen: CitizenId) -> None:
        unlinked = await self._connection.execute(delete(accounts).where(accounts.c.citizen_id == citizen))
        if unlinked.rowcount:
            await accounts_changed(self._connection)

    async def of(self, citizen: CitizenId) -> UserId | None:
        user = await self._connection.scalar(select(accounts.c.matrix_user_id).where(accounts.c.citizen_id == citizen))
        return UserId(user) if user else None

    async def citizen_of(self, user: UserId) -> CitizenId | None:
        citizen = await self._connection.scalar(select(accounts.c.citizen_id).where(accounts.c.matrix_user_id == user))
        return CitizenId(citizen) if citizen else None

    async def use(self, digest: str, *, until_ms: int) -> bool:
        """Record the use of a nonce or OpenID token.

        Args:
            digest: its SHA-256 digest as hexadecimal digits.
            until_ms: how long the use is remembered, in milliseconds since 1970.

        Returns:
            False if it was used before.
        """
        used = insert(self._connection, sign_in_uses).values(digest=digest, until_ms=until_ms)
        return (await self._connection.execute(used.on_conflict_do_nothing())).rowcount == 1

    async def forget_uses(self, *, before_ms: int) -> None:
        """Delete the uses that need not be remembered since ``before_ms``, in milliseconds since 1970."""
        await self._connection.execute(delete(sign_in_uses).where(sign_in_uses.c.until_ms < before_ms))

    async def _add(self, account: LinkedAccount, now_ms: int) -> None:
        await self._connection.execute(
            insert(self._connection, accounts).values(
                matrix_user_id=account.user,
                citizen_id=account.citizen,
                linked_at_ms=now_ms,
                display_name=account.display_name,
                avatar_url=account.avatar_url,
            )
        )
        await note_avatars(self._connection, [account.avatar_url])
        await accounts_changed(self._connection)

    async def _update_profile(self, account: LinkedAccount) -> None:
        """Store the profile of a linked account, unless it is unknown."""
        if account.display_name is not None:
            await self.set_profile(account.user, account.display_name, account.avatar_url)
