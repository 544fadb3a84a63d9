"""Which account on Matrix is which citizen's."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import CitizenId, UserId
from .tables import accounts
from .upsert import insert


class AccountRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def link(self, user: UserId, citizen: CitizenId, *, now_ms: int) -> bool:
        """They are one, and whatever account the citizen had before is theirs no more; False when it is another citizen's."""
        linked = insert(self._connection, accounts).values(matrix_user_id=user, citizen_id=citizen, linked_at_ms=now_ms)
        while await self.citizen_of(user) in {None, citizen}:
            await self.unlink(citizen)
            # Not when somebody did the same in this moment: what they wrote is seen then.
            if (await self._connection.execute(linked.on_conflict_do_nothing())).rowcount == 1:
                return True
        return False

    async def settle(self, user: UserId, citizen: CitizenId, *, now_ms: int) -> CitizenId:
        """The citizen that ``user`` is; from now on this one, if they were none."""
        linked = insert(self._connection, accounts).values(matrix_user_id=user, citizen_id=citizen, linked_at_ms=now_ms)
        # Whoever does the same in this moment is waited for, and then it is theirs that counts.
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
