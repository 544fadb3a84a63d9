"""Index the messages of agents by author and time, for the page of an agent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0033"
branch_labels = None
depends_on = None

_INDEX = "ix_messages_by_agents"
_WHERE = "author_kind = 'agent'"


def upgrade() -> None:
    op.create_index(
        _INDEX,
        "messages",
        ["author_id", "created_at_ms"],
        sqlite_where=sa.text(_WHERE),
        postgresql_where=sa.text(_WHERE),
    )


def downgrade() -> None:
    op.drop_index(_INDEX, table_name="messages")
