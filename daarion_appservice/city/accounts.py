"""Links between Matrix accounts and citizens: each side proves its identity, and then both are one person.

Second Me remembers the same for both sides of a link. An OpenID token proves an identity to every service that receives
it, which may be a service other than the city: so a token neither takes an account from its citizen, nor gives access
to what Second Me remembered before the link. Each token, and the nonce sent with it, is accepted once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..errors import Conflict
from .ports import CityStore, NowMs
from .sign_in_nonces import SignInNonces
from .types import CitizenId, SubjectId, UserId, citizen_subject, person_subject


class AccountCheck(Protocol):
    """Verifies OpenID tokens with homeservers."""

    async def owner_of(self, token: str, server: str) -> UserId:
        """Return the owner of an OpenID token of the homeserver ``server``. Raises Forbidden, Unavailable."""
        ...

    async def name_of(self, user: UserId) -> str:
        """Return a user's display name on Matrix; a part of the user id if it is unknown."""
        ...


@dataclass(frozen=True, slots=True)
class MatrixSignIn:
    """The citizen who signed in with a Matrix account."""

    citizen: CitizenId
    name: str


class Accounts:
    """Links citizens with Matrix accounts."""

    def __init__(self, store: CityStore, check: AccountCheck, nonces: SignInNonces, now_ms: NowMs) -> None:
        self._store = store
        self._check = check
        self._nonces = nonces
        self._now_ms = now_ms

    async def link(self, citizen: CitizenId, token: str, server: str, nonce: str | None) -> UserId:
        """Link a citizen with the owner of an OpenID token, in place of the account linked before.

        Args:
            citizen: The citizen.
            token: The OpenID token.
            server: The name of the homeserver that issued it.
            nonce: The nonce that the city issued for this request.

        Returns:
            The Matrix account.

        Raises:
            Forbidden: The token or the nonce is not valid, or was used before.
            Unavailable: The homeserver cannot be reached.
            Conflict: The account is linked with another citizen.
        """
        self._nonces.check(nonce)
        user = await self._check.owner_of(token, server)
        async with self._store.transaction() as tx:
            await self._nonces.use(tx, nonce, token)
            if not await tx.accounts.link(user, citizen, now_ms=self._now_ms()):
                raise Conflict("account_taken", f"{user} is linked with another citizen, who must unlink it first")
        return user

    async def sign_in(self, token: str, server: str, nonce: str | None, new_citizen: CitizenId) -> MatrixSignIn:
        """Sign in the owner of an OpenID token: the linked citizen, else ``new_citizen``, who is linked then.

        Only for a city that trusts every service to which its people give such tokens (``sign_in.matrix``). Raises
        Forbidden, Unavailable, as ``link`` does.
        """
        self._nonces.check(nonce)
        user = await self._check.owner_of(token, server)
        name = await self._check.name_of(user)
        async with self._store.transaction() as tx:
            await self._nonces.use(tx, nonce, token)
            citizen = await tx.accounts.get_or_link(user, new_citizen, now_ms=self._now_ms())
        return MatrixSignIn(citizen, name)

    async def unlink(self, citizen: CitizenId) -> None:
        """Unlink a citizen, if linked. The citizen retains what Second Me remembers."""
        async with self._store.transaction() as tx:
            await tx.accounts.unlink(citizen)

    async def of(self, citizen: CitizenId) -> UserId | None:
        async with self._store.read_only() as tx:
            return await tx.accounts.of(citizen)

    async def subject_of(self, user: UserId) -> SubjectId:
        """Return the subject of a Matrix user: the linked citizen, or the user itself."""
        async with self._store.read_only() as tx:
            citizen = await tx.accounts.citizen_of(user)
        return citizen_subject(citizen) if citizen else person_subject(user)
