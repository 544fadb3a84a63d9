"""The two citizens of a direct chat, and the id of its room."""

from __future__ import annotations

import hashlib
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


def chat_of(one: CitizenId, other: CitizenId) -> CitizenChat:
    """Return the chat of two citizens, with the id that its room has."""
    first, second = sorted((one, other))
    digest = hashlib.sha256(f"{len(first)} {first} {second}".encode("utf-8", "surrogatepass")).hexdigest()
    return CitizenChat(RoomId(_PREFIX + digest[:_DIGEST_CHARS]), first, second)
