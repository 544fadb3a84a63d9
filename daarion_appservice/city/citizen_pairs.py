"""The two citizens of a direct chat, and the id of its room."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .types import CitizenId, RoomId

_PREFIX: Final = "direct_"
_DIGEST_CHARS: Final = 32


@dataclass(frozen=True, slots=True)
class CitizenChat:
    """The two citizens of a private room, in the order of their ids."""

    room: RoomId
    first: CitizenId
    second: CitizenId

    def other(self, citizen: CitizenId) -> CitizenId:
        """Return the other citizen."""
        return self.second if citizen == self.first else self.first


def chat_of(one: CitizenId, other: CitizenId, generation: Callable[[CitizenId], int]) -> CitizenChat:
    """Return the chat of two citizens, with the id that its room has.

    Args:
        one: One citizen.
        other: The other citizen.
        generation: Returns how often a citizen was erased: one who comes back has new chats.
    """
    first, second = sorted((one, other))
    generations = (generation(first), generation(second))
    name = f"{len(first)} {first} {second}" + (" {} {}".format(*generations) if any(generations) else "")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return CitizenChat(RoomId(_PREFIX + digest[:_DIGEST_CHARS]), first, second)
