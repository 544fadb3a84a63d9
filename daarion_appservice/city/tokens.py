"""Agents' tokens: created once, shown once, stored as a hash.

agt_01JD…_3sQ…        agt_<id>_<secret>: the id finds the row; the secret's SHA-256 is compared in constant time
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final, Protocol

from .types import AgentSlug

_PREFIX: Final = "agt_"


class StoredToken(Protocol):
    """A token's row in the database."""

    @property
    def id(self) -> str: ...
    @property
    def slug(self) -> AgentSlug: ...
    @property
    def secret_sha256(self) -> str: ...


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new token, before only its hash is stored."""

    id: str
    text: str
    """The token that the agent sends. It is never stored."""
    secret_sha256: str


def new_token(token_id: str) -> NewToken:
    """Create a token with 256 random bits, for which a plain hash is sufficient."""
    secret = secrets.token_urlsafe(32)
    return NewToken(token_id, f"{_PREFIX}{token_id}_{secret}", _hash(secret))


class TokenDirectory:
    """The valid tokens."""

    def __init__(self) -> None:
        self._tokens: dict[str, StoredToken] = {}

    def replace(self, tokens: Iterable[StoredToken]) -> None:
        self._tokens = {token.id: token for token in tokens}

    def put(self, token: StoredToken) -> None:
        """Add a valid token."""
        self._tokens[token.id] = token

    def remove(self, token_id: str) -> None:
        """Remove a token that was revoked."""
        self._tokens.pop(token_id, None)

    def retain(self, other: TokenDirectory) -> None:
        """Remove the tokens that another directory does not have."""
        self._tokens = {token_id: token for token_id, token in self._tokens.items() if token_id in other._tokens}

    @staticmethod
    def is_agent_token(text: str) -> bool:
        return text.startswith(_PREFIX)

    def owner(self, text: str) -> AgentSlug | None:
        """Return the agent with this token; None for an unknown or revoked token."""
        token_id, _, secret = text.removeprefix(_PREFIX).partition("_")
        stored = self._tokens.get(token_id)
        if stored is None or not compare_digest(stored.secret_sha256, _hash(secret)):
            return None
        return stored.slug


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
