"""Agent tokens: shown once, stored as a hash, invalid when revoked."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.tokens import NewToken, TokenDirectory, new_token
from daarion_appservice.city.types import AgentSlug

SCRIBE = AgentSlug("scribe")


@dataclass(frozen=True)
class StoredToken:
    id: str
    slug: AgentSlug
    secret_sha256: str


@pytest.fixture
def made() -> NewToken:
    return new_token("01JDXYZ")


@pytest.fixture
def ring(made: NewToken) -> TokenDirectory:
    ring = TokenDirectory()
    ring.replace([StoredToken(made.id, SCRIBE, made.secret_sha256)])
    return ring


def test_token_belongs_to_its_agent(ring: TokenDirectory, made: NewToken) -> None:
    assert ring.is_agent_token(made.text)
    assert ring.owner(made.text) == SCRIBE


def test_two_tokens_are_never_alike() -> None:
    assert new_token("1").text != new_token("1").text


def test_stored_hash_does_not_reveal_token(made: NewToken) -> None:
    secret = made.text.removeprefix(f"agt_{made.id}_")
    assert len(secret) >= 43, "256 bits"
    assert secret not in made.secret_sha256
    assert len(made.secret_sha256) == 64


def test_a_revoked_token_is_nobodys(ring: TokenDirectory, made: NewToken) -> None:
    ring.replace([])
    assert ring.owner(made.text) is None


def test_a_token_that_is_off_by_a_letter_is_nobodys(ring: TokenDirectory, made: NewToken) -> None:
    other = "A" if made.text[-1] != "A" else "B"
    wrong = [made.text[:-1], made.text + "x", made.text[:-1] + other, made.text.replace("01JDXYZ", "01JDXYA")]
    assert [ring.owner(text) for text in wrong] == [None] * 4


@given(st.text(st.characters(), max_size=80).map(lambda text: f"agt_{text}"))
def test_any_text_may_be_sent_as_token(text: str) -> None:
    ring = TokenDirectory()
    ring.replace([StoredToken("", SCRIBE, new_token("").secret_sha256)])
    assert ring.owner(text) is None
