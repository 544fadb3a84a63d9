"""Tables of rooms, their members and the state of their Matrix rooms."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from .metadata import metadata


def _order(name: str, first: str) -> Index:
    """Return the index of one order of the list of rooms."""
    return Index(
        name,
        text(first),
        "slug",
        sqlite_where=text("archived = 0 AND agent IS NULL AND is_direct = 0"),
        postgresql_where=text("NOT archived AND agent IS NULL AND NOT is_direct"),
    )


_UNLISTED = text(
    "agent IS NULL AND NOT (join_rule IN ('public', 'knock', 'knock_restricted') OR history_visibility = 'world_readable')"
)

rooms = Table(
    "rooms",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("slug", String(64), nullable=False, unique=True),
    # Slug of the agent as whose ghost the service reads a direct chat; NULL in a public room.
    Column("agent", String(64)),
    Column("is_group", Boolean, nullable=False, server_default=false()),
    # A private room of two citizens.
    Column("is_direct", Boolean, nullable=False, server_default=false()),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("is_default", Boolean, nullable=False, server_default=text("false")),
    Column("archived", Boolean, nullable=False, server_default=text("false")),
    Column("created_by", Text),
    # Whether the creator still has to get the power level of an admin; false in rooms from before this column existed.
    Column("creator_has_no_level", Boolean, nullable=False, server_default=false()),
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
    # Event ids as JSON; NULL until the state of the Matrix room was read.
    Column("pinned_events", Text),
    # The URI of the room's picture; NULL for the house that the service draws.
    Column("avatar_url", Text, index=True),
    Column("history_visibility", String(16), nullable=False, server_default="world_readable"),
    Column("was_public", Boolean, nullable=False, server_default=text("true")),
    Column("was_private", Boolean, nullable=False, server_default=text("false")),
    # Whether the homeserver was asked for the history visibility; false in rooms from before this column existed.
    Column("visibility_known", Boolean, nullable=False, server_default=text("false")),
    # Last known state of the Matrix room, so that a restart sends no state that is set already.
    Column("applied_name", Text),
    Column("applied_topic", Text),
    Column("in_directory", Boolean),
    Column("in_space", String(255)),
    Column("applied_archived", Boolean, nullable=False, server_default=text("false")),
    # The orders of the list of rooms (storage.room_orders.ORDERS): a page is read after each message of any room.
    _order("ix_rooms_by_popularity", "popularity DESC"),
    _order("ix_rooms_by_last_event", "coalesce(last_event_ms, created_at_ms) DESC"),
    _order("ix_rooms_by_name", "lower(name)"),
    Index("ix_rooms_unlisted", "is_direct", sqlite_where=_UNLISTED, postgresql_where=_UNLISTED),
)

# Matrix rooms that an upgrade replaced: their later messages and redactions still apply to the city room.
former_matrix_rooms = Table(
    "former_matrix_rooms",
    metadata,
    Column("matrix_room_id", String(255), primary_key=True),
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), nullable=False),
)

# Rooms that were removed from the city, until the service has left their Matrix rooms; the id of a Matrix room is empty
# if there was none.
removed_rooms = Table(
    "removed_rooms",
    metadata,
    Column("room_id", String(80), primary_key=True),
    Column("matrix_room_id", String(255), primary_key=True),
    Column("slug", String(64), nullable=False),
)

# Bans and kicks by moderators on Matrix, and invitations of ghosts.
restrictions = Table(
    "restrictions",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("kind", String(16), nullable=False),
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

# The agents that are invited to a direct chat or joined to it, without those of closed chats.
direct_chat_agents = Table(
    "direct_chat_agents",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("agent", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
)

# The display names of the Matrix users in direct chats.
direct_chat_names = Table(
    "direct_chat_names",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("display_name", Text, nullable=False),
)

# The two citizens of each private room of citizens, in the order of their ids.
citizen_chats = Table(
    "citizen_chats",
    metadata,
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("first", String(255), nullable=False),
    Column("second", String(255), nullable=False, index=True),
    UniqueConstraint("first", "second"),
)

# Citizens who want no direct messages from others.
citizen_blocks = Table(
    "citizen_blocks",
    metadata,
    Column("citizen_id", String(255), primary_key=True),
    Column("blocked", String(255), primary_key=True),
)
