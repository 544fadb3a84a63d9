"""Index messages by time, and their words for the search. The service fills the index with the existing messages when it runs."""

from __future__ import annotations

import sqlite3

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_TABLE = (
    "CREATE VIRTUAL TABLE search_index USING fts5(stems, content='search_entries', content_rowid='number', "
    "tokenize=\"unicode61 remove_diacritics 0 tokenchars '_'\")"
)
_ADD = "INSERT INTO search_index(rowid, stems) VALUES (new.number, new.stems); "
_DELETE = "INSERT INTO search_index(search_index, rowid, stems) VALUES ('delete', old.number, old.stems); "
_TRIGGERS = {
    "search_entries_added AFTER INSERT": _ADD,
    "search_entries_deleted AFTER DELETE": _DELETE,
    "search_entries_changed AFTER UPDATE": _DELETE + _ADD,
}
# Deleted words are removed from the file at once (SQLite 3.42), not with the next merge.
_SECURE_DELETE = "INSERT INTO search_index(search_index, rank) VALUES ('secure-delete', 1)"


def upgrade() -> None:
    op.create_table(
        "search_entries",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.String(length=26), nullable=False),
        sa.Column("stems", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_search_entries_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_search_entries")),
        sa.UniqueConstraint("message_id", name=op.f("uq_search_entries_message_id")),
    )
    op.create_index(op.f("ix_messages_room_id_created_at_ms"), "messages", ["room_id", "created_at_ms"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_TABLE)
        for trigger, statements in _TRIGGERS.items():
            op.execute(f"CREATE TRIGGER {trigger} ON search_entries BEGIN {statements} END")
        if sqlite3.sqlite_version_info >= (3, 42):
            op.execute(_SECURE_DELETE)
    else:
        op.execute(
            "CREATE INDEX ix_search_entries_stems ON search_entries "
            "USING gin (array_to_tsvector(string_to_array(stems, ' ')))"
        )


def downgrade() -> None:
    op.drop_index(op.f("ix_messages_room_id_created_at_ms"), "messages")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE search_index")
    op.drop_table("search_entries")
    op.execute("DELETE FROM key_values WHERE key = 'search_position'")
