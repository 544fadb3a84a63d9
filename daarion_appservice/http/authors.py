"""Whoever asks, as somebody who can be in a room."""

from __future__ import annotations

from ..city.agents import AgentDirectory
from ..city.types import Author, AuthorKind
from ..matrix.namespace import Namespace
from .principals import Access, AgentPrincipal, Citizen, Principal, check


class Authors:
    def __init__(self, agents: AgentDirectory, namespace: Namespace) -> None:
        self._agents = agents
        self._namespace = namespace

    def of(self, principal: Principal) -> Author:
        """Raises NotSignedIn or NotAllowed for those who are nobody there, NotFound for an agent that is no more."""
        check(Access.INHABITANTS, principal, anonymous_read=False)
        match principal:
            case AgentPrincipal(slug):
                return Author(AuthorKind.AGENT, slug, self._agents.find(slug).display_name)
            case Citizen(citizen, display_name):
                author = Author(AuthorKind.CITIZEN, citizen, display_name)
                self._namespace.author(author)  # an id that no ghost can have is refused before anything is stored
                return author
        raise AssertionError(f"{principal} got past the check")
