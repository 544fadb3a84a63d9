"""Data subjects: whose personal data is exported or erased, with all linked subjects and their Matrix users."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ..errors import InvalidInput
from .identity import Identities, is_citizen_id, is_user_id
from .types import (
    AGENT_SUBJECT,
    AgentSlug,
    AuthorKind,
    CitizenId,
    SubjectId,
    UserId,
    agent_subject,
    author_key,
    citizen_subject,
    user_subject,
)


@dataclass(frozen=True, slots=True)
class DataSubject:
    """A citizen, a Matrix user, a citizen with the linked Matrix user, or an agent.

    The word is that of data protection law; the API and the command line say person.
    """

    citizen: CitizenId | None = None
    user: UserId | None = None
    """The data subject's own Matrix user, which is not a ghost."""
    agent: AgentSlug | None = None
    ghosts: tuple[UserId, ...] = field(default=())
    """The Matrix users with which the service acts for the citizen or agent."""

    @property
    def subjects(self) -> tuple[SubjectId, ...]:
        """All subjects, the canonical one first."""
        return (
            *((user_subject(self.user),) if self.user is not None else ()),
            *((citizen_subject(self.citizen),) if self.citizen is not None else ()),
            *((agent_subject(self.agent),) if self.agent is not None else ()),
        )

    @property
    def id(self) -> SubjectId:
        """The canonical subject: the Matrix user of a linked citizen, else the only subject."""
        return self.subjects[0]

    @property
    def users(self) -> tuple[UserId, ...]:
        """The Matrix user and the ghosts."""
        return (*((self.user,) if self.user is not None else ()), *self.ghosts)

    @property
    def authors(self) -> tuple[tuple[AuthorKind, str], ...]:
        """Kind and id of each subject as an author."""
        return tuple(map(author_key, self.subjects))


class AccountLinks(Protocol):
    """The links between citizens and Matrix accounts."""

    async def of(self, citizen: CitizenId) -> UserId | None: ...
    async def citizen_of(self, user: UserId) -> CitizenId | None: ...


async def find_data_subject(accounts: AccountLinks, identities: Identities, text: str) -> DataSubject:
    """Return the data subject with an id, with both subjects of a linked self.

    Args:
        accounts: The links between citizens and Matrix accounts.
        identities: The names of ghosts.
        text: A citizen's id, ``agent:<slug>``, or a Matrix user id, also that of a ghost.

    Raises:
        InvalidInput: The id is none of these, or the Matrix user is the service's bot or observer.
    """
    kind, name = _named(identities, text)
    match kind:
        case AuthorKind.AGENT:
            slug = AgentSlug(name)
            return DataSubject(agent=slug, ghosts=(identities.agent(slug),))
        case AuthorKind.CITIZEN:
            citizen = CitizenId(name)
            return _with_ghost(identities, citizen, await accounts.of(citizen))
        case AuthorKind.MATRIX:
            linked = await accounts.citizen_of(UserId(name))
            return DataSubject(user=UserId(name)) if linked is None else _with_ghost(identities, linked, UserId(name))


def _with_ghost(identities: Identities, citizen: CitizenId, user: UserId | None) -> DataSubject:
    return DataSubject(citizen, user, ghosts=(identities.citizen(citizen),))


def _named(identities: Identities, text: str) -> tuple[AuthorKind, str]:
    is_agent = text.startswith(AGENT_SUBJECT)
    user = identities.agent(AgentSlug(text.removeprefix(AGENT_SUBJECT))) if is_agent else UserId(text)
    if is_user_id(user):
        who = identities.describe(user)
        if isinstance(who, tuple) and not (is_agent and who[0] is not AuthorKind.AGENT):
            return who
        if not is_agent:
            raise InvalidInput("no_person", f"{text} is a user of the service itself", status=422)
    if is_citizen_id(text):
        return AuthorKind.CITIZEN, text
    detail = f"{text[:300]!r} is not an id of a person: use a citizen's id, @user:server or {AGENT_SUBJECT}<slug>"
    raise InvalidInput("no_person", detail, status=422)
