"""Links between Matrix accounts and citizens: each side proves its identity, and then both are one person.

Second Me remembers the same for both sides of a link. An OpenID token proves an identity to every service that receives
it, which may be a service other than the city: so a token neither takes an account from its citizen, nor gives access
to what Second Me remembered before the link. Each token, and the nonce sent with it, is accepted once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ..errors import Conflict
from .chat_departures import ChatDepartures
from .events import AccountsChanged, OutboxChanged
from .linked_accounts import LinkedAccount
from .polls import with_results
from .ports import CityStore, CityTransaction, NowMs, Publish
from .room_sequence import record_resync
from .sign_in_nonces import SignInNonces
from .types import Author, AuthorKind, CitizenId, SubjectId, UserId, citizen_subject, user_subject


@dataclass(frozen=True, slots=True)
class AccountProfile:
    """The display name and the avatar (``mxc://`` URI) of a Matrix user."""

    display_name: str
    avatar_url: str | None = None
    is_known: bool = True
    """Whether the homeserver returned the profile; the name is a part of the user id if not."""


class AccountCheck(Protocol):
    """Verifies OpenID tokens with homeservers."""

    async def owner_of(self, token: str, server: str) -> UserId:
        """Return the owner of an OpenID token of the homeserver ``server``. Raises Forbidden, Unavailable."""
        ...

    async def profile_of(self, user: UserId) -> AccountProfile:
        """Return a user's profile on Matrix; a part of the user id as its name if that is unknown."""
        ...


@dataclass(frozen=True, slots=True)
class MatrixSignIn:
    """The citizen who signed in with a Matrix account."""

    citizen: CitizenId
    name: str


class Accounts:
    """Links citizens with Matrix accounts."""

    def __init__(
        self,
        store: CityStore,
        check: AccountCheck,
        nonces: SignInNonces,
        departures: ChatDepartures,
        now_ms: NowMs,
        publish: Publish,
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        """Build the links.

        Args:
            store: The database.
            check: Verifies the OpenID tokens.
            nonces: Verifies the nonces.
            departures: Have the citizen's ghost leave the account's chats when a link ends.
            now_ms: The clock, in milliseconds since 1970.
            publish: Publishes that links have changed.
            reload: Loads the links into the memory of this process.
        """
        self._store = store
        self._publish = publish
        self._reload = reload
        self._check = check
        self._nonces = nonces
        self._departures = departures
        self._now_ms = now_ms

    async def link(self, citizen: CitizenId, token: str, server: str, nonce: str | None) -> UserId:
        """Link a citizen with the owner of an OpenID token, in place of the account linked before.

        Args:
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
        account = await self._account(await self._check.owner_of(token, server), citizen)
        async with self._store.transaction() as tx:
            await self._nonces.use(tx, nonce, token)
            await tx.accounts.lock()
            earlier = await tx.accounts.of(citizen)
            if not await tx.accounts.link(account, now_ms=self._now_ms()):
                raise Conflict(
                    "account_taken", f"{account.user} is linked with another citizen, who must unlink it first"
                )
            for user in {earlier or account.user, account.user}:
                await count_again(tx, citizen, user)
            await tx.direct_chats.read_again(account.user)
            if earlier != account.user:
                await self._record_resyncs(tx, citizen)
            leaves = earlier not in {None, account.user} and await self._departures.store(tx, citizen)
        await self._changed(leaves=leaves)
        return account.user

    async def sign_in(self, token: str, server: str, nonce: str | None, new_citizen: CitizenId) -> MatrixSignIn:
        """Sign in the owner of an OpenID token: the linked citizen, else ``new_citizen``, who is linked then.

        Only for a city that trusts every service to which its people give such tokens (``sign_in.matrix``). Raises
        Forbidden, Unavailable, as ``link`` does.
        """
        self._nonces.check(nonce)
        account = await self._account(await self._check.owner_of(token, server), new_citizen)
        async with self._store.transaction() as tx:
            await self._nonces.use(tx, nonce, token)
            await tx.accounts.lock()
            citizen = await tx.accounts.get_or_link(account, now_ms=self._now_ms())
            await tx.direct_chats.read_again(account.user)
        await self._changed()
        return MatrixSignIn(citizen, account.display_name or account.user[1:].partition(":")[0])

    async def unlink(self, citizen: CitizenId) -> None:
        """Unlink a citizen, if linked.

        The citizen retains what was written in the city, and what Second Me remembers.
        """
        async with self._store.transaction() as tx:
            await tx.accounts.lock()
            user = await tx.accounts.of(citizen)
            await tx.accounts.unlink(citizen)
            if user is not None:
                await count_again(tx, citizen, user)
                await self._record_resyncs(tx, citizen)
            leaves = user is not None and await self._departures.store(tx, citizen)
        await self._changed(leaves=leaves)

    async def of(self, citizen: CitizenId) -> UserId | None:
        async with self._store.read_only() as tx:
            return await tx.accounts.of(citizen)

    async def subject_of(self, user: UserId) -> SubjectId:
        """Return the subject of a Matrix user: the linked citizen, or the user itself."""
        async with self._store.read_only() as tx:
            citizen = await tx.accounts.citizen_of(user)
        return citizen_subject(citizen) if citizen else user_subject(user)

    async def _account(self, user: UserId, citizen: CitizenId) -> LinkedAccount:
        profile = await self._check.profile_of(user)
        # A stored profile stays while the homeserver does not return the current one.
        return LinkedAccount(citizen, user, profile.display_name if profile.is_known else None, profile.avatar_url)

    async def _record_resyncs(self, tx: CityTransaction, citizen: CitizenId) -> None:
        """Make the clients of the citizen's rooms load them again, also those that come back later: the authors have changed.

        Connected clients receive the link as soon as their process has loaded the links: see ``RoomStreams``.
        """
        identities = self._departures.identities
        service = Author(AuthorKind.MATRIX, identities.bot, identities.bot)
        for room in await tx.members.rooms_of(identities.citizen(citizen)):
            await record_resync(tx, room, service, self._now_ms())

    async def _changed(self, *, leaves: bool = False) -> None:
        # This process shows the change in its response already; the others load the links after the event.
        await self._reload()
        self._publish(AccountsChanged())
        if leaves:
            self._publish(OutboxChanged())


async def count_again(tx: CityTransaction, citizen: CitizenId, user: UserId) -> None:
    """Count the reactions and votes again of messages to which both subjects of a person reacted, who was linked or unlinked."""
    for message in await tx.reactions.messages_of_both(citizen, user):
        await tx.messages.set_reactions(message, await tx.reactions.counts(message))
    for poll in await tx.poll_responses.messages_of_both(citizen, user):
        if (voted := await tx.messages.get(poll)) is not None:
            await with_results(tx, voted)
