"""Store at which version of the registry each agent and token was changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

_TABLES = ("agents", "agent_tokens")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("changed", sa.BigInteger(), nullable=False, server_default="0"))
        op.create_index(f"ix_{table}_changed", table, ["changed"])


def downgrade() -> None:
    for table in _TABLES:
        op.drop_index(f"ix_{table}_changed", table_name=table)
        op.drop_column(table, "changed")
