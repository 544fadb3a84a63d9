"""The avatars that the service draws for Matrix: what each shows, without drawing it.

An avatar is identified by ``key``, a hash of what it shows. Avatars that show the same have the same key, and a changed
name, color or drawing has another one.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Final

from .colors import color_of, hash_of, is_light
from .types import Agent, agent_subject

DRAWING: Final = 1
"""The version of the drawings; another one makes the service upload each avatar again."""
ROOFS: Final = 4
"""The number of roofs of houses."""
_INITIALS: Final = 2
_WHITE: Final = "#ffffff"
_INK: Final = "#1c1712"


class Emblem(StrEnum):
    """Avatars without letters."""

    CITY = "city"
    BOT = "bot"
    OBSERVER = "observer"


@dataclass(frozen=True, slots=True)
class LetterAvatar:
    """Letters on a color."""

    letters: str
    color: str
    ink: str


@dataclass(frozen=True, slots=True)
class HouseAvatar:
    """A house with one of four roofs."""

    color: str
    roof: int


@dataclass(frozen=True, slots=True)
class EmblemAvatar:
    """One of the fixed emblems."""

    emblem: Emblem


DrawnAvatar = LetterAvatar | HouseAvatar | EmblemAvatar


def agent_avatar(agent: Agent) -> LetterAvatar:
    """Return the avatar of an agent that has none of its own: the one that the city's pages show."""
    color = (agent.color or color_of(agent_subject(agent.slug))).lower()
    ink = _INK if agent.color and is_light(agent.color) else _WHITE
    return LetterAvatar(initials(agent.display_name), color, ink)


def room_avatar(slug: str) -> HouseAvatar:
    """Return the avatar of a room: the house that the city's pages show."""
    return HouseAvatar(color_of(slug), hash_of(slug) % ROOFS)


def avatar_key(avatar: DrawnAvatar) -> str:
    """Return 32 hexadecimal digits that identify what an avatar shows."""
    described = repr((DRAWING, type(avatar).__name__, *map(str, astuple(avatar))))
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def initials(name: str) -> str:
    """Return the first characters of the first two words, in capitals; ``?`` for a name without letters and digits."""
    words = "".join(character if unicodedata.category(character)[0] in "LN" else " " for character in name).split()
    return "".join(word[0] for word in words[:_INITIALS]).upper() or "?"
