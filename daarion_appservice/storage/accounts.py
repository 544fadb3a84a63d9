"""Links between Matrix accounts and citizens, and used proofs of accounts."""

from __future__ import annotations

from sqlalchemy import delete, select

from ..city.types import CitizenId, UserId
from .repository import Repository
from .tables import accounts, sign_in_uses
from .upsert import insert


class AccountRepository(Repository):
    """The tables ``accounts`` and ``sign_in_uses``."""

    async def link(self, user: UserId, citizen: CitizenId, *, now_ms: int) -> bool:
        """Link an account with a citizen, in place of the citizen's earlier account.

        Returns:
            False if the account is linked with another citizen.
        """
        linked = insert(self._connection, accounts).values(matrix_user_id=user, citizen_id=citizen, linked_at_ms=now_ms)
        while await self.citizen_of(user) in {None, citizen}:
            await self.unlink(citizen)
            # Another transaction may insert the same row between the two statements; the next turn of the loop sees it.
            if (await self._connection.execute(linked.on_conflict_do_nothing())).rowcount == 1:
                return True
        return False

    async def get_or_link(self, user: UserId, citizen: CitizenId, *, now_ms: int) -> CitizenId:
        """Return the citizen that ``user`` is linked with; link ``citizen`` if there is none."""
        linked = insert(self._connection, accounts).values(matrix_user_id=user, citizen_id=citizen, linked_at_ms=now_ms)
        # A concurrent insert for the same account blocks this one, and then the other row counts.
        await self._connection.execute(linked.on_conflict_do_nothing(index_elements=[accounts.c.matrix_user_id]))
        settled = await self.citizen_of(user)
        assert settled is not None
        return settled

    async def unlink(self, citizen: CitizenId) -> None:
        await self._connection.execute(delete(accounts).where(accounts.c.citizen_id == citizen))

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
