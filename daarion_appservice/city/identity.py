"""Identities: the application service's namespace on the homeserver, and the city's subjects.

@agent_<slug>     an agent            ↔ agent:<slug>
@citizen_<id>     a citizen           ↔ <id>
@citizen_<id>+<n> a citizen who came back after <n> erasures
@city_observer    the observer, which receives presence of Matrix users
@<bot>            owns the rooms
#city             the space           #city_<slug>   a room
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ..errors import InvalidInput
from .erased_people import DELETED_CITIZEN, ErasedIds
from .linked_accounts import LinkedAccounts
from .media_links import MediaLinks
from .slugs import SLUG_PATTERN
from .text_sanitizing import has_blank_letter, is_blank
from .types import (
    AgentSlug,
    Author,
    AuthorKind,
    CitizenId,
    Room,
    SubjectId,
    UserId,
    agent_subject,
    citizen_subject,
    is_person,
    user_subject,
)

PROTOCOL: Final = "daarion"
"""The third-party protocol in the registration, with which Matrix clients look up agents and rooms."""

AGENT_PREFIX: Final = "agent_"
"""Prefix of the localpart of an agent's ghost."""
CITIZEN_PREFIX: Final = "citizen_"
"""Prefix of the localpart of a citizen's ghost."""
OBSERVER: Final = "city_observer"
"""Localpart of the observer."""

SERVER_NAME_PATTERN: Final = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?$"
"""A host name, an IPv4 address or a bracketed IPv6 address, with an optional port (appendix "Server Name")."""

MAX_USER_ID_BYTES: Final = 255
"""Matrix spec, appendix "User identifiers"."""

_MAX_CITIZEN_ID_CHARS: Final = 200
_NO_CITIZENS: Final = ("@", "agent:", DELETED_CITIZEN)
"""How the ids of agents, Matrix users and deleted accounts begin."""
_GENERATION: Final = "+"
"""Precedes the number of a citizen's erasures in the name of the ghost; escaped ids do not contain it."""

# Historical user ids may hold anything but a colon and U+0000 before the colon, or nothing, and must be accepted
# (Matrix spec, appendix "Historical User IDs").
_USER_ID: Final = re.compile(rf"@[^:\0\ud800-\udfff]*+:{SERVER_NAME_PATTERN.removeprefix('^').removesuffix('$')}")


_SLUG: Final = re.compile(SLUG_PATTERN.removeprefix("^").removesuffix("$"))


class ServiceUser(Enum):
    """Users in the namespace that represent neither an agent nor a citizen."""

    BOT = "bot"
    OBSERVER = "observer"
    INVALID_NAME = "invalid_name"
    """A user in the namespace whose name no agent or citizen can have; a homeserver admin may have created it."""


Inhabitant = tuple[AuthorKind, str]


@dataclass(frozen=True, slots=True)
class Identities:
    """Maps Matrix user ids and aliases to subjects and rooms of the city, and back."""

    domain: str
    bot_localpart: str
    media_links: MediaLinks | None = field(default=None, compare=False, repr=False)
    """Signs links to private files; None for no such links."""
    accounts: LinkedAccounts = field(default_factory=LinkedAccounts, compare=False, repr=False)
    """The links between citizens and Matrix accounts."""
    erased: ErasedIds = field(default_factory=ErasedIds, compare=False, repr=False)
    """The erased ids, which give a citizen who comes back another ghost."""

    @property
    def views_version(self) -> Hashable:
        """A value that changes when the same rows give other JSON: with linked accounts and with new signed links."""
        return self.accounts.version, self.media_links and self.media_links.expires_s

    @property
    def bot(self) -> UserId:
        return self._user(self.bot_localpart)

    @property
    def observer(self) -> UserId:
        return self._user(OBSERVER)

    @property
    def space_alias(self) -> str:
        return f"#city:{self.domain}"

    def room_alias(self, slug: str) -> str:
        return f"#city_{slug}:{self.domain}"

    def room_slug(self, alias: str) -> str | None:
        """Return the slug of the room with this alias, or None if the alias is not in the namespace."""
        localpart, _, domain = alias.partition(":")
        return localpart.removeprefix("#city_") if domain == self.domain and localpart.startswith("#city_") else None

    def agent(self, slug: AgentSlug) -> UserId:
        return self._user(AGENT_PREFIX + slug)

    def service_user(self, room: Room) -> UserId:
        """Return the user that is always a member of a room: the bot, or an agent of a direct chat."""
        return self.bot if room.agent is None else self.agent(room.agent)

    def citizen(self, citizen: CitizenId) -> UserId:
        """Return the ghost of a citizen.

        Characters that a localpart must not contain are written as =hh, as the spec proposes.

        Every entry point that accepts a citizen's id calls this method before anything is stored.

        Raises:
            InvalidInput: The id is too long for a Matrix user id.
        """
        user = self._citizen(citizen)
        if len(user) > MAX_USER_ID_BYTES:
            raise InvalidInput("citizen_id_too_long", "this citizen's id is too long for a Matrix user id", status=422)
        return user

    def _citizen(self, citizen: CitizenId) -> UserId:
        return self._user(self._citizen_localpart(citizen))

    def _citizen_localpart(self, citizen: CitizenId) -> str:
        erasures = self.erased.generation(citizen)
        return CITIZEN_PREFIX + _escape(citizen) + (f"{_GENERATION}{erasures}" if erasures else "")

    def author(self, author: Author) -> UserId:
        """Return the Matrix user of an author. Raises nothing, so that every stored author can be shown."""
        match author.kind:
            case AuthorKind.AGENT:
                return self.agent(AgentSlug(author.id))
            case AuthorKind.CITIZEN:
                return self._citizen(CitizenId(author.id))
            case AuthorKind.MATRIX:
                return UserId(author.id)

    def describe(self, user: UserId) -> Inhabitant | ServiceUser:
        """Return what a Matrix user is in the city; a user outside the namespace has the kind MATRIX."""
        localpart, _, domain = user.removeprefix("@").partition(":")
        if domain == self.domain:
            if localpart.startswith(AGENT_PREFIX):
                slug = localpart.removeprefix(AGENT_PREFIX)
                return (AuthorKind.AGENT, slug) if _SLUG.fullmatch(slug) else ServiceUser.INVALID_NAME
            if localpart.startswith(CITIZEN_PREFIX):
                return self._citizen_of(localpart)
            if localpart == self.bot_localpart:
                return ServiceUser.BOT
            if localpart == OBSERVER:
                return ServiceUser.OBSERVER
        return AuthorKind.MATRIX, user

    def agent_slug(self, user: UserId) -> AgentSlug | None:
        """Return the slug of the agent whose ghost this is, or None."""
        match self.describe(user):
            case AuthorKind.AGENT, slug:
                return AgentSlug(slug)
        return None

    def is_agent(self, user: UserId) -> bool:
        """Return whether this is the ghost of an agent, also of one that was removed."""
        return self.agent_slug(user) is not None

    def _citizen_of(self, localpart: str) -> Inhabitant | ServiceUser:
        citizen = CitizenId(_unescape(localpart.removeprefix(CITIZEN_PREFIX).partition(_GENERATION)[0]))
        # Each id has one canonical form, so that no two users are the same citizen. An erased citizen's ghost has no subject.
        is_canonical = localpart == self._citizen_localpart(citizen)
        return (AuthorKind.CITIZEN, citizen) if is_canonical and is_citizen_id(citizen) else ServiceUser.INVALID_NAME

    def subject(self, user: UserId) -> SubjectId | None:
        """Return the subject whose presence this user has; None for service users and for ghosts without a subject."""
        match self.describe(user):
            case ServiceUser():
                return None
            case AuthorKind.AGENT, slug:
                return agent_subject(AgentSlug(slug))
            case AuthorKind.CITIZEN, citizen:
                return citizen_subject(CitizenId(citizen))
        return user_subject(user)

    def is_ours(self, user: UserId) -> bool:
        """Return whether the application service creates this user: bot, observer, or the ghost of an agent or citizen."""
        who = self.describe(user)
        return who is not ServiceUser.INVALID_NAME and not self.is_person(user)

    def is_person(self, user: UserId) -> bool:
        """Return whether this is a Matrix user outside the namespace."""
        who = self.describe(user)
        return isinstance(who, tuple) and who[0] is AuthorKind.MATRIX

    def user(self, subject: SubjectId) -> UserId:
        """Return the subject's own Matrix user, or its ghost. Raises nothing."""
        if subject.startswith("agent:"):
            return self.agent(AgentSlug(subject.removeprefix("agent:")))
        return UserId(subject) if subject.startswith("@") else self._citizen(CitizenId(subject))

    def ghost(self, subject: SubjectId) -> UserId | None:
        """Return the ghost of a subject; None for a Matrix user, and for a subject id that is too long for a user id."""
        if is_person(subject):
            return None
        user = self.user(subject)
        return user if len(user) <= MAX_USER_ID_BYTES else None

    def _user(self, localpart: str) -> UserId:
        return UserId(f"@{localpart}:{self.domain}")


def parse_user_id(text: str) -> UserId:
    """Return ``text`` as a Matrix user id; raises InvalidInput if it is not one."""
    if not is_user_id(text):
        raise InvalidInput("M_INVALID_PARAM", f"{text[:300]!r} is not a Matrix user id like @name:server")
    return UserId(text)


def is_user_id(text: str) -> bool:
    # The limit is in bytes. A text with too many characters is not encoded first.
    return (
        len(text) <= MAX_USER_ID_BYTES
        and _USER_ID.fullmatch(text) is not None
        and len(text.encode()) <= MAX_USER_ID_BYTES
    )


def is_citizen_id(text: str) -> bool:
    """Return whether a citizen may have this id: 1 to 200 printable characters, not of an agent, Matrix user or deleted account.

    Applies to the ``sub`` of a JWT and to the localpart of a ghost. A space at either end and letters without ink are
    refused: such an id looks like another one, or like none.
    """
    if len(text) > _MAX_CITIZEN_ID_CHARS or text.startswith(_NO_CITIZENS):
        return False
    return text.isprintable() and text == text.strip() and not is_blank(text) and not has_blank_letter(text)


def _escape(text: str) -> str:
    return "".join(
        chr(byte) if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789._-" else f"={byte:02x}"
        for byte in text.encode("utf-8", "replace")
    )


def _unescape(localpart: str) -> str:
    raw = re.sub(rb"=([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), localpart.encode("utf-8", "replace"))
    return raw.decode("utf-8", "replace")
