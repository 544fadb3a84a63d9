"""Display names and avatars for the presence stream, in memory.

    a subject in a change ─► of() ─► known: part of the frame
                              └────► unknown: load() reads it once, before the frame is sent

The database has the names of tokens and of public rooms, and the avatars of agents. What is in memory anyway is looked up when a
frame is encoded: linked accounts, chosen profiles and the registry. An erased subject has no name any more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

import structlog

from ..city.agents import AgentDirectory
from ..city.erased_people import ErasedId
from ..city.identity import Identities
from ..city.types import AgentSlug, Author, AuthorKind, CitizenId, SubjectId, UserId, author_key
from ..errors import DatabaseError
from ..storage.database import Database, Transaction

_REMEMBERED: Final = 100_000
"""The number of subjects whose names are kept."""

log = structlog.get_logger()


class ShownProfile(NamedTuple):
    """A display name and an avatar; None for what is unknown."""

    display_name: str | None = None
    avatar_url: str | None = None
    """The path of the avatar on this server."""


NO_PROFILE: Final = ShownProfile()


class _Stored(NamedTuple):
    """What the database had of a subject."""

    display_name: str | None = None
    avatar: str | None = None
    """The ``mxc://`` URI."""
    erased: ErasedId | None = None
    """The last erasure of the subject at the time of the read; a later one makes the names invalid."""


class PresenceProfiles:
    """Reads and keeps the names and avatars of subjects.

    Args:
        database: Has the names of tokens and of public rooms, and the avatars of agents.
        agents: The registry in memory.
        identities: The links and chosen profiles in memory.
        url: Returns the path of a file by its ``mxc://`` URI.
    """

    def __init__(
        self,
        database: Database,
        agents: AgentDirectory,
        identities: Identities,
        url: Callable[[str | None], str | None],
    ) -> None:
        self._database = database
        self._agents = agents
        self._identities = identities
        self._url = url
        self._stored: OrderedDict[SubjectId, _Stored] = OrderedDict()
        self._loads: set[asyncio.Task[None]] = set()

    def of(self, subject: SubjectId) -> ShownProfile | None:
        """Return the name and avatar of a subject; None before they are loaded."""
        erased = self._identities.erased.get(subject)
        if erased is not None and erased.is_closed:
            return NO_PROFILE
        found = self._stored.get(subject)
        if found is None or found.erased != erased:
            return None
        kind, name = author_key(subject)
        if kind is AuthorKind.AGENT:
            agent = self._agents.get(AgentSlug(name))
            return ShownProfile(agent.display_name, self._url(found.avatar)) if agent is not None else NO_PROFILE
        shown = self._identities.accounts.with_profile(Author(kind, name, found.display_name or "", found.avatar))
        return ShownProfile(shown.display_name or None, self._url(shown.avatar_url))

    def load(self, subjects: Iterable[SubjectId], then: Callable[[], None]) -> None:
        """Read subjects from the database in the background, then call ``then``, also if the database is unavailable."""
        task = asyncio.create_task(self._load(list(subjects), then))
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)

    def reload(self, subjects: Iterable[SubjectId], then: Callable[[], None]) -> None:
        """Read those of the subjects that were read before again, then call ``then``; nothing if there are none."""
        known = [subject for subject in subjects if subject in self._stored]
        if known:
            self.load(known, then)

    def is_nameless(self, subject: SubjectId) -> bool:
        """Return whether a subject was read and has no name."""
        found = self._stored.get(subject)
        return found is not None and found[:2] == (None, None)

    async def close(self) -> None:
        """Cancel the reads."""
        for task in self._loads:
            task.cancel()
        await asyncio.gather(*self._loads, return_exceptions=True)

    async def _load(self, subjects: list[SubjectId], then: Callable[[], None]) -> None:
        erased = {subject: self._identities.erased.get(subject) for subject in subjects}
        try:
            async with self._database.read_only() as tx:
                found = await self._read(tx, subjects)
        except DatabaseError as error:
            log.debug("names_not_read", error=str(error))
        else:
            for subject in subjects:
                self._stored[subject] = _Stored(*found.get(subject, (None, None)), erased[subject])
                self._stored.move_to_end(subject)
            while len(self._stored) > _REMEMBERED:
                self._stored.popitem(last=False)
        then()

    async def _read(
        self, tx: Transaction, subjects: Collection[SubjectId]
    ) -> dict[SubjectId, tuple[str | None, str | None]]:
        keys = {subject: author_key(subject) for subject in subjects}
        slugs = [AgentSlug(name) for kind, name in keys.values() if kind is AuthorKind.AGENT]
        avatars = await tx.ghosts.own_avatars([self._identities.agent(slug) for slug in slugs])
        citizen_names = await tx.citizens.names(
            [CitizenId(name) for kind, name in keys.values() if kind is AuthorKind.CITIZEN]
        )
        users = [UserId(name) for kind, name in keys.values() if kind is AuthorKind.MATRIX]
        profiles = await tx.members.public_profiles(users)
        found: dict[SubjectId, tuple[str | None, str | None]] = {}
        for subject, (kind, name) in keys.items():
            match kind:
                case AuthorKind.AGENT:
                    found[subject] = None, avatars.get(self._identities.agent(AgentSlug(name)))
                case AuthorKind.CITIZEN:
                    found[subject] = citizen_names.get(CitizenId(name)), None
                case AuthorKind.MATRIX:
                    found[subject] = profiles.get(UserId(name), (None, None))
        return found
