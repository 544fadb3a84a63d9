"""Add the threads of messages: the root of each reply, and a summary with each root."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_COLUMNS = (
    sa.Column("thread_root", sa.String(26)),
    sa.Column("thread_root_event", sa.String(255)),
    sa.Column("thread_last_seq", sa.BigInteger()),
    sa.Column("thread", sa.Text()),
)
_INDEXES = (
    ("ix_messages_thread_root", ["thread_root", "seq"], "thread_root"),
    ("ix_messages_thread_root_event", ["thread_root_event"], "thread_root_event"),
    ("ix_messages_thread_last_seq", ["room_id", "thread_last_seq"], "thread_last_seq"),
)


def upgrade() -> None:
    for column in _COLUMNS:
        op.add_column("messages", sa.Column(column.name, column.type))
    for name, columns, indexed in _INDEXES:
        where = sa.text(f"{indexed} IS NOT NULL")
        op.create_index(name, "messages", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, _, _ in _INDEXES:
        op.drop_index(name, "messages")
    for column in reversed(_COLUMNS):
        op.drop_column("messages", column.name)
