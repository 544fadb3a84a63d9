"""Principals, the senders of requests, and the access rules of routes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from ...city.types import AgentSlug, Author, AuthorKind, CitizenId, SubjectId, citizen_subject
from ...errors import Forbidden, Unauthenticated


@dataclass(frozen=True, slots=True)
class Anonymous:
    """A client without credentials."""


@dataclass(frozen=True, slots=True)
class Citizen:
    """A citizen, authenticated by a JWT."""

    id: CitizenId
    display_name: str
    is_admin: bool = False
    expires_at: int | None = None
    """When the token ends, in seconds since 1970."""
    issued_at: int | None = None
    """When the token was issued, in seconds since 1970; None if it does not tell."""


@dataclass(frozen=True, slots=True)
class AgentPrincipal:
    """An agent, authenticated by its token."""

    slug: AgentSlug
    token: str = field(repr=False)
    """The agent's token, which may be revoked while the agent is connected."""


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """A trusted service, authenticated by the internal token (or by its loopback address if none is configured)."""


@dataclass(frozen=True, slots=True)
class Admin:
    """An administrator, authenticated by the admin token."""


Principal = Anonymous | Citizen | AgentPrincipal | ServicePrincipal | Admin


class Access(Enum):
    """The principals that may call a route."""

    PUBLIC = auto()
    READERS = auto()
    """All principals while ``api.anonymous_read`` is on, otherwise all but anonymous ones."""
    ACTORS = auto()
    """Citizens and agents, who can be members of rooms."""
    CITIZENS = auto()
    """Citizens and admins."""
    CITIZENS_ONLY = auto()
    """Citizens, for their own data."""
    HEARTBEAT_SENDERS = auto()
    """Agents (for themselves; the route checks that) and services, which send heartbeats."""
    SERVICES = auto()
    ADMINS = auto()
    """The admin token, and citizens whose token has the admin claim."""


def check(access: Access, principal: Principal, *, anonymous_read: bool) -> None:
    """Check that ``principal`` may call a route.

    Args:
        access: the principals that the route allows.
        principal: the sender of the request.
        anonymous_read: the setting ``api.anonymous_read``.

    Raises:
        Unauthenticated: ``principal`` is anonymous and the route needs a token.
        Forbidden: the route does not allow ``principal``.
    """
    if _is_allowed(access, principal, anonymous_read=anonymous_read):
        return
    if isinstance(principal, Anonymous):
        raise Unauthenticated("sign_in", "authentication is required: `Authorization: Bearer <token>`")
    raise Forbidden("not_allowed", f"only {_NAMES[access]} may do this")


def own_subject(principal: Principal, user_id: str | None) -> SubjectId:
    """Return the subject of a citizen.

    Args:
        principal: a ``Citizen``.
        user_id: the id in the request, if it has one.

    Raises:
        Forbidden: ``user_id`` is the id of another citizen.
    """
    assert isinstance(principal, Citizen)
    if user_id is not None and user_id != principal.id:
        raise Forbidden("user_id_mismatch", f"the token is of {principal.id}, not of {user_id}")
    return citizen_subject(principal.id)


def is_admin(principal: Principal) -> bool:
    """Return whether a principal may manage the city's rooms, and therefore see all of them."""
    return isinstance(principal, Admin) or (isinstance(principal, Citizen) and principal.is_admin)


def author_of(principal: Principal) -> Author | None:
    """Return the author of a principal's messages, or None if it cannot be a member of rooms."""
    match principal:
        case Citizen(citizen, display_name):
            return Author(AuthorKind.CITIZEN, citizen, display_name)
        case AgentPrincipal(slug):
            return Author(AuthorKind.AGENT, slug, slug)
    return None


def principal_types(access: Access) -> tuple[type[Principal], ...]:
    """Return the types of authenticated principals that ``access`` allows."""
    return _PRINCIPAL_TYPES.get(access, (Citizen, AgentPrincipal, ServicePrincipal, Admin))


def _is_allowed(access: Access, principal: Principal, *, anonymous_read: bool) -> bool:
    match access:
        case Access.PUBLIC:
            return True
        case Access.READERS:
            return anonymous_read or not isinstance(principal, Anonymous)
        case Access.ADMINS if isinstance(principal, Citizen):
            return principal.is_admin
    return isinstance(principal, _PRINCIPAL_TYPES[access])


_PRINCIPAL_TYPES: Final[dict[Access, tuple[type[Principal], ...]]] = {
    Access.ACTORS: (Citizen, AgentPrincipal),
    Access.CITIZENS: (Citizen, Admin),
    Access.CITIZENS_ONLY: (Citizen,),
    Access.HEARTBEAT_SENDERS: (AgentPrincipal, ServicePrincipal),
    Access.SERVICES: (ServicePrincipal,),
    Access.ADMINS: (Citizen, Admin),
}

_NAMES: Final = {
    Access.ACTORS: "citizens and agents",
    Access.CITIZENS: "citizens and admins",
    Access.CITIZENS_ONLY: "citizens",
    Access.HEARTBEAT_SENDERS: "the agent itself and trusted services",
    Access.SERVICES: "trusted services",
    Access.ADMINS: "admins",
}
