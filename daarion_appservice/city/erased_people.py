"""Erased persons: how their messages are shown, and how their ids are recognized after the ids themselves are deleted.

The city keeps a SHA-256 digest of each erased id. What a person did before the erasure has no effect when it arrives late; while
the erasure runs, nothing of theirs has. A citizen who comes back with the same id is a new person, with a new ghost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .types import Author, AuthorKind, CitizenId

DELETED_ACCOUNT: Final = "Deleted account"
"""The display name of the author of an erased person's messages."""
DELETED_CITIZEN: Final = "deleted:"
"""The beginning of the id of an erased citizen as an author; no citizen has such an id."""
_FORMS: Final = {
    AuthorKind.CITIZEN: (DELETED_CITIZEN, ""),
    AuthorKind.AGENT: ("deleted-", ""),
    # A server that cannot exist (RFC 2606).
    AuthorKind.MATRIX: ("@deleted-", ":deleted.invalid"),
}
"""What precedes and follows the id of the erasure in the id of a deleted author."""


def deleted_author(kind: AuthorKind, erasure: str) -> Author:
    """Return the author that an erased person's messages have.

    Args:
        kind: The kind of the author before, which stays: the history of a Matrix room is compared by it.
        erasure: The id of the erasure, by which the person's messages still belong together.
    """
    prefix, suffix = _FORMS[kind]
    name = erasure if kind is AuthorKind.CITIZEN else erasure.lower()
    return Author(kind, f"{prefix}{name}{suffix}", DELETED_ACCOUNT)


def erasure_of(author: Author) -> str | None:
    """Return the id of the erasure that an author belongs to; None for all others."""
    prefix, suffix = _FORMS[author.kind]
    is_deleted = author.id.startswith(prefix) and author.id.endswith(suffix) and author.display_name == DELETED_ACCOUNT
    return author.id.removeprefix(prefix).removesuffix(suffix).upper() if is_deleted else None


def digest_of(name: str) -> str:
    """Return the digest by which an erased subject or Matrix user is recognized."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class ErasedId:
    """An erased subject or Matrix user."""

    erasure: str
    """The id of the erasure."""
    erased_at_ms: int | None
    """When the erasure in the city was complete, in milliseconds since 1970; None while it runs."""
    generation: int
    """Of a citizen, the number of erasures; 0 for a ghost, which is never used again."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing that the erased id does has an effect: the erasure runs, or the id is a ghost's."""
        return self.generation == 0 or self.erased_at_ms is None

    def covers(self, at_ms: int) -> bool:
        """Return whether something that the erased id did at a time has no effect any more."""
        return self.generation == 0 or self.erased_at_ms is None or at_ms <= self.erased_at_ms


class ErasedIds:
    """All erased ids, in memory. ``realtime.account_cache`` loads them."""

    def __init__(self) -> None:
        self._by_digest: Mapping[str, ErasedId] = {}

    def replace(self, found: Mapping[str, ErasedId]) -> None:
        """Replace all erased ids, by digest."""
        self._by_digest = found

    def is_equal(self, found: Mapping[str, ErasedId]) -> bool:
        """Return whether exactly these ids are erased."""
        return self._by_digest == found

    def get(self, name: str) -> ErasedId | None:
        """Return the erasure of a subject or Matrix user."""
        # Most cities have none, and names of ghosts are derived often.
        return self._by_digest.get(digest_of(name)) if self._by_digest else None

    def covers(self, name: str, at_ms: int) -> bool:
        """Return whether something that a subject or Matrix user did at a time has no effect any more."""
        erased = self.get(name)
        return erased is not None and erased.covers(at_ms)

    def is_closed(self, name: str) -> bool:
        """Return whether nothing that a subject or Matrix user does has an effect now."""
        erased = self.get(name)
        return erased is not None and erased.is_closed

    def generation(self, citizen: CitizenId) -> int:
        """Return how often a citizen was erased."""
        erased = self.get(citizen)
        return 0 if erased is None else erased.generation
