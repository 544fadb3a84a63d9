"""Which account on Matrix is which citizen's: proved by both, and then they are one person.

Second Me remembers of a linked person the same, wherever they ask. An OpenID token shows who somebody is to whom they gave it,
and that may be another service's: so it takes no account from a citizen who has it, nor what was remembered before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import Conflict
from .ports import CityStore, NowMs
from .types import CitizenId, SubjectId, UserId, citizen_subject, person_subject


class AccountCheck(Protocol):
    async def holder(self, token: str, server: str) -> UserId:
        """Whose OpenID token this is, made by the homeserver ``server``. Raises Forbidden, Unavailable."""
        ...

    async def name_of(self, user: UserId) -> str:
        """What they are called on Matrix; a part of their id where that cannot be known."""
        ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody who came in with their account on Matrix."""

    citizen: CitizenId
    name: str


class Accounts:
    def __init__(self, store: CityStore, check: AccountCheck, now_ms: NowMs) -> None:
        self._store = store
        self._check = check
        self._now_ms = now_ms

    async def link(self, citizen: CitizenId, token: str, server: str) -> UserId:
        """Link a citizen with whoever holds the token, in place of the account that they were linked with before.

        Raises Forbidden, Unavailable, and Conflict for an account that is another citizen's.
        """
        user = await self._check.holder(token, server)
        async with self._store.transaction() as tx:
            if not await tx.accounts.link(user, citizen, now_ms=self._now_ms()):
                raise Conflict("account_taken", f"{user} is another citizen's account: they have to unlink it first")
        return user

    async def arrive(self, token: str, server: str, newcomer: CitizenId) -> Arrival:
        """Who holds the token: the citizen whom they are linked with, else ``newcomer`` from now on.

        For a city that trusts whoever its people give such tokens to (``sign_in.matrix``). Raises Forbidden, Unavailable.
        """
        user = await self._check.holder(token, server)
        name = await self._check.name_of(user)
        async with self._store.transaction() as tx:
            citizen = await tx.accounts.settle(user, newcomer, now_ms=self._now_ms())
        return Arrival(citizen, name)

    async def unlink(self, citizen: CitizenId) -> None:
        """Done as well when there is nothing to unlink. What Second Me remembers stays the citizen's."""
        async with self._store.transaction() as tx:
            await tx.accounts.unlink(citizen)

    async def of(self, citizen: CitizenId) -> UserId | None:
        async with self._store.reading() as tx:
            return await tx.accounts.of(citizen)

    async def subject_of(self, user: UserId) -> SubjectId:
        """Who somebody on Matrix is in the city: the citizen that they are linked with, or themselves."""
        async with self._store.reading() as tx:
            citizen = await tx.accounts.citizen_of(user)
        return citizen_subject(citizen) if citizen else person_subject(user)
