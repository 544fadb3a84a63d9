"""Tables of citizens and of their conversations with Second Me."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from .metadata import GeneratedId, metadata

# Memory of Second Me, ordered by number, which a clock that is set back does not change.
interactions = Table(
    "interactions",
    metadata,
    Column("number", GeneratedId, primary_key=True, autoincrement=True),
    Column("id", String(26), nullable=False, unique=True),
    Column("user_id", String(255), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("latency_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Index(None, "user_id", "number"),
)

# Links between Matrix accounts and citizens, one to one, with the profiles of the accounts.
accounts = Table(
    "accounts",
    metadata,
    Column("matrix_user_id", String(255), primary_key=True),
    Column("citizen_id", String(255), nullable=False, unique=True),
    Column("linked_at_ms", BigInteger, nullable=False),
    Column("display_name", Text),
    Column("avatar_url", Text),
)

# SHA-256 digests of the nonces and OpenID tokens that were used to sign in; each is accepted once.
sign_in_uses = Table(
    "sign_in_uses",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("until_ms", BigInteger, nullable=False, index=True),
)

# Citizens to whom Second Me is replying now, and until when at the latest.
secondme_turns = Table(
    "secondme_turns",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("turn", String(26), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)

# Display name in each citizen's newest token, and the profile that the citizen has chosen. Its version is the number of the
# change among those of accounts, by which processes load changed profiles only.
citizens = Table(
    "citizens",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("display_name", String(255), nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("own_name", String(255)),
    Column("avatar_url", Text),
    Column("status_text", Text),
    Column("profile_version", Integer, index=True),
)
