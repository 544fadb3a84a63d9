"""Tables of messages, their edits, reactions and files."""

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
    text,
)

from .metadata import metadata

messages = Table(
    "messages",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("author_kind", String(16), nullable=False),
    Column("author_id", String(255), nullable=False),
    Column("author_name", Text, nullable=False),
    Column("author_avatar", Text),
    Column("body", Text, nullable=False),
    Column("formatted_body", Text),
    Column("msgtype", String(64), nullable=False),
    Column("media", Text),
    Column("mentions", Text, nullable=False, server_default="[]"),
    Column("reactions", Text, nullable=False, server_default="[]"),
    Column("reply_to", String(26)),
    Column("thread_root", String(26)),
    # The root as the Matrix event names it: a reply may arrive before its root.
    Column("thread_root_event", String(255)),
    # Of the root of a thread: the number of its newest reply, and a summary of its replies.
    Column("thread_last_seq", BigInteger),
    Column("thread", Text),
    Column("client_id", String(255)),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("edited_at_ms", BigInteger),
    Column("deleted", Boolean, nullable=False, server_default=text("false")),
    Column("matrix_event_id", String(255), unique=True),
    Column("delivery", String(16), nullable=False),
    Column("delivery_error", String(32)),
    # History visibility of the room at the time of the message, and at the time of its newest edit.
    Column("visibility", String(16), nullable=False, server_default="world_readable"),
    Column("edit_seq", BigInteger),
    Column("edit_visibility", String(16), nullable=False, server_default="world_readable"),
    Column("details", Text),
    # Counted again with each change of poll_responses.
    Column("poll_results", Text),
    UniqueConstraint("room_id", "seq"),
    Index(None, "room_id", "created_at_ms"),
    UniqueConstraint("author_kind", "author_id", "room_id", "client_id"),
    Index(
        "ix_messages_from_matrix",
        "room_id",
        "seq",
        sqlite_where=text("author_kind = 'matrix'"),
        postgresql_where=text("author_kind = 'matrix'"),
    ),
    Index(
        "ix_messages_by_agents",
        "author_id",
        "created_at_ms",
        sqlite_where=text("author_kind = 'agent'"),
        postgresql_where=text("author_kind = 'agent'"),
    ),
    Index(
        "ix_messages_thread_root",
        "thread_root",
        "seq",
        sqlite_where=text("thread_root IS NOT NULL"),
        postgresql_where=text("thread_root IS NOT NULL"),
    ),
    Index(
        "ix_messages_thread_root_event",
        "thread_root_event",
        sqlite_where=text("thread_root_event IS NOT NULL"),
        postgresql_where=text("thread_root_event IS NOT NULL"),
    ),
    Index(
        "ix_messages_thread_last_seq",
        "room_id",
        "thread_last_seq",
        sqlite_where=text("thread_last_seq IS NOT NULL"),
        postgresql_where=text("thread_last_seq IS NOT NULL"),
    ),
)

# Versions of edited messages: one row for each edit and one for the original text. The newest is shown.
revisions = Table(
    "revisions",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("event_id", String(255), unique=True),
    Column("body", Text, nullable=False),
    Column("formatted_body", Text),
    Column("msgtype", String(64), nullable=False),
    Column("media", Text),
    Column("mentions", Text, nullable=False, server_default="[]"),
    Column("at_ms", BigInteger, nullable=False),
    Column("seq", BigInteger),
    Column("visibility", String(16), nullable=False, server_default="world_readable"),
    Column("details", Text),
)

# Edits from Matrix that arrived before the message that they edit.
early_edits = Table(
    "early_edits",
    metadata,
    Column("event_id", String(255), primary_key=True),
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), nullable=False),
    Column("original_event_id", String(255), nullable=False, index=True),
    Column("event", Text, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False, index=True),
)

# The counts in messages.reactions are updated with each change of this table.
reactions = Table(
    "reactions",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("author_kind", String(16), nullable=False),
    Column("author_id", String(255), nullable=False),
    Column("author_name", Text, nullable=False),
    Column("author_avatar", Text),
    Column("key", String(255), nullable=False, index=True),
    Column("shortcode", String(64)),
    Column("matrix_key", String(255)),
    Column("at_ms", BigInteger, nullable=False),
    Column("matrix_event_id", String(255), unique=True),
    Column("removed", Boolean, nullable=False, server_default=text("false")),
)
Index(
    "ix_reactions_active",
    reactions.c.message_id,
    reactions.c.author_kind,
    reactions.c.author_id,
    reactions.c.key,
    sqlite_where=text("NOT removed"),
    postgresql_where=text("NOT removed"),
)

# Votes in polls and ends of polls. Of each voter the newest vote counts; older ones count again if it is redacted.
poll_responses = Table(
    "poll_responses",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    Column("author_kind", String(16), nullable=False),
    Column("author_id", String(255), nullable=False),
    Column("author_name", Text, nullable=False),
    Column("author_avatar", Text),
    Column("kind", String(8), nullable=False),
    Column("selections", Text, nullable=False, server_default="[]"),
    Column("at_ms", BigInteger, nullable=False),
    Column("matrix_event_id", String(255), unique=True),
    Index(None, "message_id", "author_kind", "author_id"),
)

# Of each reader the last message read in each timeline. thread_root is empty for the main timeline.
read_receipts = Table(
    "read_receipts",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("thread_root", String(26), primary_key=True),
    Column("reader", String(255), primary_key=True, index=True),
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False),
)

# Files: who uploaded each from the city, and whether it is the avatar of a user.
media = Table(
    "media",
    metadata,
    Column("mxc", String(512), primary_key=True),
    Column("is_avatar", Boolean, nullable=False, server_default=text("false")),
    Column("uploader_kind", String(16)),
    Column("uploader_id", String(255)),
    Column("mimetype", String(255)),
    Column("filename", Text),
    Column("size", BigInteger),
    Column("width", Integer),
    Column("height", Integer),
    Column("created_at_ms", BigInteger, nullable=False, server_default="0"),
)

# Messages that show a file. A file that is in no message and is not an avatar is served to its uploader only.
media_shown = Table(
    "media_shown",
    metadata,
    Column("mxc", String(512), primary_key=True),
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True, index=True),
)
