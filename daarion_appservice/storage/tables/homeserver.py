"""Tables of the last known state of the homeserver, and the key-value pairs of the service."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, String, Table, Text, text

from .metadata import metadata

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

# Avatars that the service drew and uploaded. The rows of lost ones stay, so that the service knows them as its own.
drawn_avatars = Table(
    "drawn_avatars",
    metadata,
    Column("mxc", String(512), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("is_lost", Boolean, nullable=False, server_default=text("false")),
)
Index(
    "ix_drawn_avatars_current",
    drawn_avatars.c.key,
    unique=True,
    sqlite_where=text("NOT is_lost"),
    postgresql_where=text("NOT is_lost"),
)

key_values = Table(
    "key_values",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
