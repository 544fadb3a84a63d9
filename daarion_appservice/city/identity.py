"""The names that are ours on the homeserver, and what each stands for in the city.

@agent_<slug>     an agent            ↔ agent:<slug>
@citizen_<id>     a citizen           ↔ <id>
@city_observer    sees people's presence
@<bot>            owns the rooms
#city             the space           #city_<slug>   a room
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ..errors import InvalidInput
from .media_links import MediaLinks
from .slugs import SLUG_PATTERN
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
    person_subject,
)

PROTOCOL: Final = "daarion"
"""By this name Matrix clients look agents and rooms up among third-party networks; stands in the registration."""

AGENT_PREFIX: Final = "agent_"
"""What the localpart of an agent's ghost begins with."""
CITIZEN_PREFIX: Final = "citizen_"
"""What the localpart of a web citizen's ghost begins with."""
OBSERVER: Final = "city_observer"
"""Localpart of the ghost that watches people's presence."""

SERVER_NAME_PATTERN: Final = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?$"
"""A host name, an IPv4 address or a bracketed IPv6 one, perhaps with a port (Matrix spec, appendix "Server Name")."""

MAX_USER_ID_BYTES: Final = 255
"""Spec, appendix "User identifiers"."""

# Historical user ids may hold anything but a colon and U+0000 before the colon, or nothing; and must be accepted (spec,
# appendix "Historical User IDs").
_USER_ID: Final = re.compile(rf"@[^:\0\ud800-\udfff]*+:{SERVER_NAME_PATTERN.removeprefix('^').removesuffix('$')}")


_SLUG: Final = re.compile(SLUG_PATTERN.removeprefix("^").removesuffix("$"))


class ServiceUser(Enum):
    """Users in our namespace who are nobody in the city."""

    BOT = "bot"
    OBSERVER = "observer"
    NOBODY = "nobody"
    """A name in our namespace that no agent and no citizen can have: an admin of the homeserver may have made such a user."""


Inhabitant = tuple[AuthorKind, str]


@dataclass(frozen=True, slots=True)
class Identities:
    domain: str
    bot_localpart: str
    media_links: MediaLinks | None = field(default=None, compare=False, repr=False)
    """How links to private files are signed; None: not at all."""

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
        """The slug of the room that ``alias`` would be of; None when it is no name of ours."""
        localpart, _, domain = alias.partition(":")
        return localpart.removeprefix("#city_") if domain == self.domain and localpart.startswith("#city_") else None

    def agent(self, slug: AgentSlug) -> UserId:
        return self._user(AGENT_PREFIX + slug)

    def service_user(self, room: Room) -> UserId:
        """Who of ours looks after a room, and is in it as long as we are: the bot, or the agent whose direct chat it is."""
        return self.bot if room.agent is None else self.agent(room.agent)

    def citizen(self, citizen: CitizenId) -> UserId:
        """The ghost of a citizen. What may not stand in a localpart is written =hh, as the spec proposes.

        Raises InvalidInput for an id that is too long for a Matrix user id. Wherever a citizen's id comes in, this is asked
        before anything is stored.
        """
        user = self._citizen(citizen)
        if len(user) > MAX_USER_ID_BYTES:
            raise InvalidInput("citizen_id_too_long", "this citizen's id is too long for a Matrix user id", status=422)
        return user

    def _citizen(self, citizen: CitizenId) -> UserId:
        return self._user(CITIZEN_PREFIX + _escape(citizen))

    def author(self, author: Author) -> UserId:
        """Who an author is on Matrix. Never raises: what is stored can always be shown."""
        match author.kind:
            case AuthorKind.AGENT:
                return self.agent(AgentSlug(author.id))
            case AuthorKind.CITIZEN:
                return self._citizen(CitizenId(author.id))
            case AuthorKind.MATRIX:
                return UserId(author.id)

    def describe(self, user: UserId) -> Inhabitant | ServiceUser:
        """Whom a Matrix user is in the city; somebody who is not ours is a person on Matrix."""
        localpart, _, domain = user.removeprefix("@").partition(":")
        if domain == self.domain:
            if localpart.startswith(AGENT_PREFIX):
                slug = localpart.removeprefix(AGENT_PREFIX)
                return (AuthorKind.AGENT, slug) if _SLUG.fullmatch(slug) else ServiceUser.NOBODY
            if localpart.startswith(CITIZEN_PREFIX):
                return self._citizen_of(localpart)
            if localpart == self.bot_localpart:
                return ServiceUser.BOT
            if localpart == OBSERVER:
                return ServiceUser.OBSERVER
        return AuthorKind.MATRIX, user

    def _citizen_of(self, localpart: str) -> Inhabitant | ServiceUser:
        citizen = CitizenId(_unescape(localpart.removeprefix(CITIZEN_PREFIX)))
        # One way to write each id, so that no two users are one citizen; and @citizen_agent=3ax is not the agent x.
        is_canonical = citizen and localpart == CITIZEN_PREFIX + _escape(citizen)
        return (AuthorKind.CITIZEN, citizen) if is_canonical and not _is_other_subject(citizen) else ServiceUser.NOBODY

    def subject(self, user: UserId) -> SubjectId | None:
        """The subject whose presence this user shows; None for the bot, the observer, and ghosts that nobody has."""
        match self.describe(user):
            case ServiceUser():
                return None
            case AuthorKind.AGENT, slug:
                return agent_subject(AgentSlug(slug))
            case AuthorKind.CITIZEN, citizen:
                return citizen_subject(CitizenId(citizen))
        return person_subject(user)

    def is_ours(self, user: UserId) -> bool:
        """Whether we made this user, or would: the bot, the observer, and the ghosts of agents and citizens."""
        who = self.describe(user)
        return who is not ServiceUser.NOBODY and not self.is_person(user)

    def is_person(self, user: UserId) -> bool:
        """Whether this is somebody on Matrix, and not a name in our namespace."""
        who = self.describe(user)
        return isinstance(who, tuple) and who[0] is AuthorKind.MATRIX

    def user(self, subject: SubjectId) -> UserId:
        """The Matrix user that a subject is, or whose ghost shows it. Never raises."""
        if subject.startswith("agent:"):
            return self.agent(AgentSlug(subject.removeprefix("agent:")))
        return UserId(subject) if subject.startswith("@") else self._citizen(CitizenId(subject))

    def ghost(self, subject: SubjectId) -> UserId | None:
        """The ghost that shows a subject on Matrix; None for people who are there themselves, and for an id that is too long
        for a Matrix user id."""
        if is_person(subject):
            return None
        user = self.user(subject)
        return user if len(user) <= MAX_USER_ID_BYTES else None

    def _user(self, localpart: str) -> UserId:
        return UserId(f"@{localpart}:{self.domain}")


def parse_user_id(text: str) -> UserId:
    """Raises InvalidInput when ``text`` is no Matrix user id."""
    if not is_user_id(text):
        raise InvalidInput("M_INVALID_PARAM", f"{text[:300]!r} is not a Matrix user id like @name:server")
    return UserId(text)


def is_user_id(text: str) -> bool:
    # Bytes, not characters; what is too long in characters is not encoded first.
    return (
        len(text) <= MAX_USER_ID_BYTES
        and _USER_ID.fullmatch(text) is not None
        and len(text.encode()) <= MAX_USER_ID_BYTES
    )


def _is_other_subject(citizen: str) -> bool:
    return citizen.startswith(("@", "agent:"))


def _escape(text: str) -> str:
    return "".join(
        chr(byte) if chr(byte) in "abcdefghijklmnopqrstuvwxyz0123456789._-" else f"={byte:02x}"
        for byte in text.encode("utf-8", "replace")
    )


def _unescape(localpart: str) -> str:
    raw = re.sub(rb"=([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), localpart.encode("utf-8", "replace"))
    return raw.decode("utf-8", "replace")
