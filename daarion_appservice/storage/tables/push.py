"""The table of Web Push subscriptions."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from .metadata import metadata

# endpoint_sha256 is the hexadecimal digest of endpoint, which is too long for an index.
push_subscriptions = Table(
    "push_subscriptions",
    metadata,
    Column("endpoint_sha256", String(64), primary_key=True),
    Column("citizen_id", String(255), nullable=False, index=True),
    Column("endpoint", Text, nullable=False),
    Column("p256dh", String(128), nullable=False),
    Column("auth", String(64), nullable=False),
    Column("language", String(8), nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
)
