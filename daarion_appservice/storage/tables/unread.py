"""Tables of what citizens have read, of their mentions and of their notification settings."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table

from .metadata import metadata

# How far a citizen has read a room. thread_root is empty for the main timeline.
read_marks = Table(
    "read_marks",
    metadata,
    Column("citizen_id", String(255), primary_key=True),
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("thread_root", String(26), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

# Citizens and Matrix users whom a message mentions or replies to, "@room" for all members. seq is the message's.
mentions = Table(
    "mentions",
    metadata,
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Index(None, "subject", "room_id", "seq"),
    Index(None, "room_id", "seq"),
)

# Which messages of a room notify a citizen; no row for all.
notification_modes = Table(
    "notification_modes",
    metadata,
    Column("citizen_id", String(255), primary_key=True),
    Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("mode", String(16), nullable=False),
)
