"""Tables of work that waits: events from Matrix, changes for Matrix, replies of agents, invitations."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from .metadata import GeneratedId, metadata

inbox = Table(
    "inbox",
    metadata,
    Column("id", GeneratedId, primary_key=True, autoincrement=True),
    Column("event_id", String(255), nullable=False, unique=True),
    Column("matrix_room_id", String(255), nullable=False, server_default=""),
    Column("event", Text, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("state", String(8), nullable=False, server_default="new"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("retry_at_ms", BigInteger, nullable=False, server_default="0"),
    Column("error", Text),
    # The homeserver shows the event to clients, in /sync or /messages; a transaction carries soft-failed events, too.
    Column("confirmed", Boolean, nullable=False, server_default=false()),
    # Id of the message before which the event belongs, if it was found after later events had been processed.
    Column("before_message", String(26)),
    # Whether a sweep by /sync has returned the event, so that its position in the homeserver's stream is known.
    Column("swept", Boolean, nullable=False, server_default=false()),
    Index(None, "state", "id"),
    # SQLite uses a partial index only for the exact term of the query, which SQLAlchemy writes as `swept = 0`.
    Index("ix_inbox_unswept", "matrix_room_id", sqlite_where=text("swept = 0"), postgresql_where=text("NOT swept")),
)

transactions = Table(
    "transactions",
    metadata,
    Column("txn_id", String(255), primary_key=True),
    Column("body_sha256", String(64), primary_key=True),
    Column("received_at_ms", BigInteger, nullable=False, index=True),
)

# Ids are never reused, on SQLite by AUTOINCREMENT: a row may be replaced while the worker sends it.
outbox = Table(
    "outbox",
    metadata,
    Column("id", GeneratedId, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False, server_default="message"),
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), index=True),
    Column("reaction_id", String(26)),
    Column("user_id", String(255), index=True),
    Column("room_id", String(80), nullable=False),
    Column("txn_id", String(64), nullable=False, unique=True),
    Column("state", String(8), nullable=False, server_default="new"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("retry_at_ms", BigInteger, nullable=False, server_default="0"),
    Column("error", Text),
    Index(None, "state", "id"),
    sqlite_autoincrement=True,
)

# Pending and given replies of agents; the message of a reply is stored in the same transaction as its state.
agent_replies = Table(
    "agent_replies",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("request_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("room_id", String(80), nullable=False),
    Column("depth", Integer, nullable=False),
    Column("requester", String(255), nullable=False),
    Column("requested_at_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, server_default="pending"),
    Column("message_id", String(26)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("retry_at_ms", BigInteger, nullable=False, server_default="0"),
    Column("error", Text),
    Column("failure", String(16)),
    UniqueConstraint("request_id", "agent"),
    Index(None, "state", "id"),
    Index(None, "room_id", "requested_at_ms"),
    Index(None, "requester", "requested_at_ms"),
)

# Invitations of ghosts that are not accepted: they are declined, with the reason.
invitations = Table(
    "invitations",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("matrix_room_id", String(255), primary_key=True),
    Column("inviter", String(255), nullable=False),
    Column("reason", String(255), nullable=False),
    Column("due_at_ms", BigInteger, nullable=False, index=True),
)

# Matrix rooms in which the bot answers commands.
bot_chats = Table(
    "bot_chats",
    metadata,
    Column("matrix_room_id", String(255), primary_key=True),
    Column("inviter", String(255), nullable=False, index=True),
    Column("is_checked", Boolean, nullable=False),
    Column("is_group", Boolean, nullable=False),
)

# Commands to the bot, which it answers once each; answered ones are kept for the rate limit.
bot_requests = Table(
    "bot_requests",
    metadata,
    Column("event_id", String(255), primary_key=True),
    Column("matrix_room_id", String(255), nullable=False, index=True),
    Column("sender", String(255), nullable=False, index=True),
    Column("command", String(16), nullable=False),
    Column("language", String(8), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retry_at_ms", BigInteger, nullable=False),
    Column("is_done", Boolean, nullable=False, index=True),
)
