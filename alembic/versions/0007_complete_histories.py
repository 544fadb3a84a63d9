"""Store up to which event the history of each room is complete, and the positions of events that were found late."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox", sa.Column("confirmed", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("inbox", sa.Column("before_message", sa.String(length=26), nullable=True))
    op.create_table(
        "watermarks",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("rooms", sa.Text(), server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_watermarks")),
    )
    op.create_table(
        "complete_points",
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("matrix_room_id", name=op.f("pk_complete_points")),
    )


def downgrade() -> None:
    op.drop_table("complete_points")
    op.drop_table("watermarks")
    # An older version would close the WebSockets to which it sends such an event.
    op.execute("DELETE FROM room_events WHERE kind = 'city.room.resync'")
    op.drop_column("inbox", "before_message")
    op.drop_column("inbox", "confirmed")
