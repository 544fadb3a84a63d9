"""Who is asking, and what each may do (contract §2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from ...city.types import AgentSlug, Author, AuthorKind, CitizenId, SubjectId, citizen_subject
from ...errors import Forbidden, Unauthenticated


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Proved nothing."""


@dataclass(frozen=True, slots=True)
class Citizen:
    """A person of the city, by JWT."""

    id: CitizenId
    display_name: str
    is_admin: bool = False
    expires_at: int | None = None
    """When the token ends, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class AgentPrincipal:
    """An agent, by its token."""

    slug: AgentSlug
    token: str = field(repr=False)
    """What it proved itself with: it may be revoked while the agent is still connected."""


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """A trusted service, by the internal token (or by being on this machine, where none is configured)."""


@dataclass(frozen=True, slots=True)
class Admin:
    """Whoever holds the admin token."""


Principal = Anonymous | Citizen | AgentPrincipal | ServicePrincipal | Admin


class Access(Enum):
    """Who may call a route."""

    EVERYBODY = auto()
    READERS = auto()
    """Everybody while ``api.anonymous_read`` is on, else whoever is signed in."""
    INHABITANTS = auto()
    """Citizens and agents: those who can be somebody in a room."""
    CITIZENS = auto()
    """Citizens, and whoever may manage the city."""
    CITIZENS_ALONE = auto()
    """Citizens, for what is their own."""
    BEATERS = auto()
    """Agents (for themselves; the route checks) and services."""
    SERVICES = auto()
    ADMINS = auto()
    """Whoever may manage the city: the admin token, and citizens whose token says so."""


def check(access: Access, principal: Principal, *, anonymous_read: bool) -> None:
    """Raise Unauthenticated or Forbidden unless ``principal`` may."""
    if _may(access, principal, anonymous_read=anonymous_read):
        return
    if isinstance(principal, Anonymous):
        raise Unauthenticated("sign_in", "this needs `Authorization: Bearer <token>`")
    raise Forbidden("not_allowed", f"this is for {_FOR[access]} only")


def own_subject(principal: Principal, user_id: str | None) -> SubjectId:
    """The subject of a citizen, who may name themselves by ``user_id``. Raises Forbidden for anybody else's id."""
    assert isinstance(principal, Citizen)
    if user_id is not None and user_id != principal.id:
        raise Forbidden("not_you", f"this token is {principal.id}'s, not {user_id}'s")
    return citizen_subject(principal.id)


def is_admin(principal: Principal) -> bool:
    """Whether they may manage the city's rooms, and so know of all of them."""
    return isinstance(principal, Admin) or (isinstance(principal, Citizen) and principal.is_admin)


def reader(principal: Principal) -> Author | None:
    """Who asks, as somebody who can be a member of rooms; None for those who cannot."""
    match principal:
        case Citizen(citizen, display_name):
            return Author(AuthorKind.CITIZEN, citizen, display_name)
        case AgentPrincipal(slug):
            return Author(AuthorKind.AGENT, slug, slug)
    return None


def kinds(access: Access) -> tuple[type[Principal], ...]:
    """Who may, of those who are signed in."""
    return _KINDS.get(access, (Citizen, AgentPrincipal, ServicePrincipal, Admin))


def _may(access: Access, principal: Principal, *, anonymous_read: bool) -> bool:
    match access:
        case Access.EVERYBODY:
            return True
        case Access.READERS:
            return anonymous_read or not isinstance(principal, Anonymous)
        case Access.ADMINS if isinstance(principal, Citizen):
            return principal.is_admin
    return isinstance(principal, _KINDS[access])


_KINDS: Final[dict[Access, tuple[type[Principal], ...]]] = {
    Access.INHABITANTS: (Citizen, AgentPrincipal),
    Access.CITIZENS: (Citizen, Admin),
    Access.CITIZENS_ALONE: (Citizen,),
    Access.BEATERS: (AgentPrincipal, ServicePrincipal),
    Access.SERVICES: (ServicePrincipal,),
    Access.ADMINS: (Citizen, Admin),
}

_FOR: Final = {
    Access.INHABITANTS: "citizens and agents",
    Access.CITIZENS: "citizens and admins",
    Access.CITIZENS_ALONE: "citizens",
    Access.BEATERS: "the agent itself and trusted services",
    Access.SERVICES: "trusted services",
    Access.ADMINS: "admins",
}
