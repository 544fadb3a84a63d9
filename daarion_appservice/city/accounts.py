"""Which account on Matrix is which citizen's: proved by both, and then they are one person.

Second Me remembers of a linked person the same, wherever they ask.
"""

from __future__ import annotations

from typing import Protocol

from .ports import CityStore, NowMs
from .types import CitizenId, SubjectId, UserId, citizen_subject, person_subject


class AccountCheck(Protocol):
    async def holder(self, token: str, server: str) -> UserId:
        """Whose OpenID token this is, made by the homeserver ``server``. Raises NotAllowed, Unavailable."""
        ...


class Accounts:
    def __init__(self, store: CityStore, check: AccountCheck, now_ms: NowMs) -> None:
        self._store = store
        self._check = check
        self._now_ms = now_ms

    async def link(self, citizen: CitizenId, token: str, server: str) -> UserId:
        """Link a citizen with whoever holds the token, whatever either was linked with before. Raises NotAllowed, Unavailable."""
        user = await self._check.holder(token, server)
        async with self._store.transaction() as tx:
            await tx.accounts.link(user, citizen, now_ms=self._now_ms())
            await tx.interactions.move(person_subject(user), citizen_subject(citizen))
        return user

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
