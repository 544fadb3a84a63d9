"""Tables of room events other than messages, and of the feed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, String, Table, Text, text

from .metadata import metadata

# Events of a room other than messages. Events and messages share the sequence numbers of the room.
room_events = Table(
    "room_events",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("author_kind", String(16), nullable=False),
    Column("author_id", String(255), nullable=False),
    Column("author_name", Text, nullable=False),
    Column("author_avatar", Text),
    Column("message_id", String(26)),
    Column("key", String(255)),
    Column("added", Boolean, nullable=False, server_default=text("true")),
    Column("at_ms", BigInteger, nullable=False),
    Column("visibility", String(16), nullable=False, server_default="world_readable"),
    Column("removal", Text),
)

feed = Table(
    "feed",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE")),
    Column("author_kind", String(16)),
    Column("author_id", String(255)),
    Column("author_name", Text),
    Column("author_avatar", Text),
    Column("message_id", String(26), index=True),
    Column("payload", Text, nullable=False, server_default="{}"),
    # Who may read the entry; seq is its position in the history of its room.
    Column("visibility", String(16), nullable=False, server_default="world_readable"),
    Column("seq", BigInteger, nullable=False, server_default="0"),
)

# Finds the newest public entries quickly, however many restricted entries lie between them.
Index(
    "ix_feed_public",
    feed.c.id,
    sqlite_where=text("visibility = 'world_readable'"),
    postgresql_where=text("visibility = 'world_readable'"),
)
