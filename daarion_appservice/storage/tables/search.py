"""The table of the search index."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Table, Text

from .metadata import metadata

SQLITE_INDEX: Final = "search_index"
"""The virtual table of SQLite; the names of its own tables begin with its name."""

# The stems of each message's words. number sorts by the time of the messages. PostgreSQL has the GIN index
# ix_search_entries_stems; on SQLite triggers keep the virtual table search_index equal.
search_entries = Table(
    "search_entries",
    metadata,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("stems", Text, nullable=False),
)
