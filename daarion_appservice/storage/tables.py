"""Table definitions. Times are milliseconds since 1970 and JSON is text, so that both databases store the same values.

The migrations are in ``alembic/``; a test compares their result with these definitions.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite generates ids only in a column whose type is named INTEGER.
Counting = BigInteger().with_variant(Integer(), "sqlite")

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
)

agent_tokens = Table(
    "agent_tokens",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("agent_id", ForeignKey("agents.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("secret_sha256", String(64), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
)

rooms = Table(
    "rooms",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("slug", String(64), nullable=False, unique=True),
    # Slug of the agent of a direct chat; NULL in a public room.
    Column("agent", String(64)),
    Column("in_company", Boolean, nullable=False, server_default=false()),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("is_default", Boolean, nullable=False, server_default=text("false")),
    Column("archived", Boolean, nullable=False, server_default=text("false")),
    Column("created_by", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("first_seq", BigInteger, nullable=False, server_default="1"),
    Column("last_seq", BigInteger, nullable=False, server_default="0"),
    Column("message_count", BigInteger, nullable=False, server_default="0"),
    Column("popularity", Float, nullable=False, server_default="0"),
    Column("last_event_ms", BigInteger),
    Column("matrix_room_id", String(255), unique=True),
    Column("matrix_status", String(16), nullable=False, server_default="pending"),
    Column("matrix_error", Text),
    # State of the linked Matrix room.
    Column("encrypted", Boolean, nullable=False, server_default=text("false")),
    Column("join_rule", String(32), nullable=False, server_default="public"),
    Column("power_levels", Text, nullable=False, server_default="{}"),
    Column("history_visibility", String(16), nullable=False, server_default="world_readable"),
    Column("was_public", Boolean, nullable=False, server_default=text("true")),
    Column("was_private", Boolean, nullable=False, server_default=text("false")),
    # Whether the homeserver was asked for the history visibility; false in rooms from before this column existed.
    Column("visibility_known", Boolean, nullable=False, server_default=text("false")),
    # Last known state of the Matrix room, so that a restart sends no state that is set already.
    Column("told_name", Text),
    Column("told_topic", Text),
    Column("in_directory", Boolean),
    Column("in_space", String(255)),
    Column("told_archived", Boolean, nullable=False, server_default=text("false")),
)

# Matrix rooms that an upgrade replaced: their later messages and redactions still apply to the city room.
former_matrix_rooms = Table(
    "former_matrix_rooms",
    metadata,
    Column("matrix_room_id", String(255), primary_key=True),
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), nullable=False),
)

# Bans, kicks and invitations of ghosts by moderators on Matrix.
restrictions = Table(
    "restrictions",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("standing", String(16), nullable=False),
    Column("reason", Text),
    Column("at_ms", BigInteger, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(255), primary_key=True, index=True),
    Column("display_name", Text),
    Column("avatar_url", Text),
)

# From which to which sequence number a user was joined or invited; one row for each stay.
membership_periods = Table(
    "membership_periods",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(255), primary_key=True, index=True),
    Column("start_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("joined_seq", BigInteger),
    Column("end_seq", BigInteger),
)

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
    UniqueConstraint("room_id", "seq"),
    UniqueConstraint("author_kind", "author_id", "room_id", "client_id"),
    Index(
        "ix_messages_from_matrix",
        "room_id",
        "seq",
        sqlite_where=text("author_kind = 'matrix'"),
        postgresql_where=text("author_kind = 'matrix'"),
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
    "ix_reactions_given",
    reactions.c.message_id,
    reactions.c.author_kind,
    reactions.c.author_id,
    reactions.c.key,
    unique=True,
    sqlite_where=text("NOT removed"),
    postgresql_where=text("NOT removed"),
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

# Messages that show a file. A file that is in no message and is no avatar is served to its uploader only.
media_shown = Table(
    "media_shown",
    metadata,
    Column("mxc", String(512), primary_key=True),
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True, index=True),
)

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

inbox = Table(
    "inbox",
    metadata,
    Column("id", Counting, primary_key=True, autoincrement=True),
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

# For each ghost whose /sync a sweep reads: the token up to which every event is stored, and the Matrix rooms (JSON).
watermarks = Table(
    "watermarks",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("token", Text, nullable=False),
    Column("rooms", Text, nullable=False, server_default="[]"),
)

# Event up to which the history of a Matrix room is complete, though other servers take part in the room.
complete_points = Table(
    "complete_points",
    metadata,
    Column("matrix_room_id", String(255), primary_key=True),
    Column("event_id", String(255), nullable=False),
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
    Column("id", Counting, primary_key=True, autoincrement=True),
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
    Column("question_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("room_id", String(80), nullable=False),
    Column("depth", Integer, nullable=False),
    Column("asker", String(255), nullable=False),
    Column("asked_at_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, server_default="pending"),
    Column("message_id", String(26)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("retry_at_ms", BigInteger, nullable=False, server_default="0"),
    Column("error", Text),
    Column("failure", String(16)),
    UniqueConstraint("question_id", "agent"),
    Index(None, "state", "id"),
    Index(None, "room_id", "asked_at_ms"),
    Index(None, "asker", "asked_at_ms"),
)

ghosts = Table(
    "ghosts",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("display_name", Text),
    Column("avatar_source", Text),
    Column("avatar_mxc", Text),
    Column("has_device", Boolean, nullable=False, server_default=text("false")),
    Column("status_text", Text),
    Column("role_field", Text),
)

key_values = Table(
    "key_values",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
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

# Memory of Second Me, ordered by number, which a clock that is set back does not change.
interactions = Table(
    "interactions",
    metadata,
    Column("number", Counting, primary_key=True, autoincrement=True),
    Column("id", String(26), nullable=False, unique=True),
    Column("user_id", String(255), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("latency_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Index(None, "user_id", "number"),
)

# Links between Matrix accounts and citizens, one to one.
accounts = Table(
    "accounts",
    metadata,
    Column("matrix_user_id", String(255), primary_key=True),
    Column("citizen_id", String(255), nullable=False, unique=True),
    Column("linked_at_ms", BigInteger, nullable=False),
)

# Citizens to whom Second Me is replying now, and until when at the latest.
secondme_turns = Table(
    "secondme_turns",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("turn", String(26), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)

# Display name in each citizen's newest token.
citizens = Table(
    "citizens",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("display_name", String(255), nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
)
