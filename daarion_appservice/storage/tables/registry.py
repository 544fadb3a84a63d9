"""Tables of the registry: agents, nodes, microDAOs and districts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, String, Table, Text

from .metadata import metadata

agents = Table(
    "agents",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("slug", String(64), nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    Column("title", Text, nullable=False, server_default=""),
    Column("avatar", Text, nullable=False, server_default=""),
    Column("node_id", Text, nullable=False, server_default=""),
    Column("microdao", Text, nullable=False, server_default=""),
    Column("role", Text, nullable=False, server_default=""),
    Column("rooms", Text, nullable=False, server_default="[]"),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False, server_default=""),
    Column("color", String(7), nullable=False, server_default=""),
    Column("district", Text, nullable=False, server_default=""),
    Column("node_role", Text, nullable=False, server_default=""),
    Column("microdao_role", Text, nullable=False, server_default=""),
    # The version of the registry of the last change.
    Column("changed", BigInteger, nullable=False, server_default="0", index=True),
)

agent_tokens = Table(
    "agent_tokens",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("agent_id", ForeignKey("agents.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("secret_sha256", String(64), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    # The version of the registry in which the token was added or revoked.
    Column("changed", BigInteger, nullable=False, server_default="0", index=True),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("district", Text, nullable=False, server_default=""),
)

microdaos = Table(
    "microdaos",
    metadata,
    Column("slug", String(255), primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("district", Text, nullable=False, server_default=""),
)

districts = Table(
    "districts",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("name", Text, nullable=False),
)

# Agents that were removed from the registry, until no Matrix state shows them any more.
removed_agents = Table(
    "removed_agents",
    metadata,
    Column("slug", String(64), primary_key=True),
    Column("removed_at_ms", BigInteger, nullable=False),
)
