"""Resolves a principal to an actor: the citizen or agent who is the author of messages."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...city.agents import AgentDirectory
from ...city.identity import Identities
from ...city.types import Author, AuthorKind
from ...storage.database import Database
from .principals import Access, AgentPrincipal, Citizen, Principal, check


@dataclass(frozen=True, slots=True)
class ActorDirectory:
    database: Database
    agents: AgentDirectory
    identities: Identities

    def of(self, principal: Principal) -> Author:
        """Return the actor of a principal.

        Raises:
            Unauthenticated, Forbidden: the principal is neither a citizen nor an agent.
            NotFound: the agent was removed.
        """
        check(Access.ACTORS, principal, anonymous_read=False)
        match principal:
            case AgentPrincipal(slug):
                return Author(AuthorKind.AGENT, slug, self.agents.find(slug).display_name)
            case Citizen(citizen, display_name):
                name = self.identities.accounts.own_profile(citizen).display_name
                return Author(AuthorKind.CITIZEN, citizen, name or display_name)
        raise AssertionError(f"{principal} passed the check")

    async def with_avatar(self, principal: Principal) -> Author:
        """Return the actor with its avatar, which agents may have. Raises as ``of`` does."""
        author = self.of(principal)
        if author.kind is AuthorKind.CITIZEN:
            return author
        async with self.database.read_only() as tx:
            ghost = await tx.ghosts.get(self.identities.author(author))
        return replace(author, avatar_url=ghost.own_avatar) if ghost else author
