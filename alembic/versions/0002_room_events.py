"""Create `room_events` for joins and leaves, and `feed`; count the messages of each room."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in batch mode, which copies the table: rows of other tables that refer to the old one would be deleted with it.
    op.add_column("rooms", sa.Column("message_count", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE rooms SET message_count = (SELECT count(*) FROM messages WHERE messages.room_id = rooms.id)")
    op.create_table(
        "room_events",
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("author_kind", sa.String(length=16), nullable=False),
        sa.Column("author_id", sa.String(length=255), nullable=False),
        sa.Column("author_name", sa.Text(), nullable=False),
        sa.Column("author_avatar", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name=op.f("fk_room_events_room_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("room_id", "seq", name=op.f("pk_room_events")),
    )
    op.create_table(
        "feed",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("room_id", sa.String(length=80), nullable=True),
        sa.Column("author_kind", sa.String(length=16), nullable=True),
        sa.Column("author_id", sa.String(length=255), nullable=True),
        sa.Column("author_name", sa.Text(), nullable=True),
        sa.Column("author_avatar", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name=op.f("fk_feed_room_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
    )


def downgrade() -> None:
    op.drop_table("feed")
    op.drop_table("room_events")
    op.drop_column("rooms", "message_count")
