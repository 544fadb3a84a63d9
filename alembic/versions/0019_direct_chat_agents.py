"""Store several agents for each direct chat, and the display names of its people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "direct_chat_agents",
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["room_id"], ["rooms.id"], name=op.f("fk_direct_chat_agents_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("room_id", "agent", name=op.f("pk_direct_chat_agents")),
    )
    op.create_table(
        "direct_chat_names",
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["room_id"], ["rooms.id"], name=op.f("fk_direct_chat_names_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("room_id", "user_id", name=op.f("pk_direct_chat_names")),
    )
    op.execute(
        "INSERT INTO direct_chat_agents (room_id, agent, state) "
        "SELECT id, agent, CASE matrix_status WHEN 'linked' THEN 'joined' ELSE 'invited' END "
        "FROM rooms WHERE agent IS NOT NULL AND NOT archived"
    )


def downgrade() -> None:
    # `rooms.agent` still names one agent of each chat; the earlier schema has no place for the others.
    op.drop_table("direct_chat_names")
    op.drop_table("direct_chat_agents")
