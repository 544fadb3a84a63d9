"""Store the history visibility of rooms, messages, events and feed entries, and the periods of memberships.

Stored messages stay readable by all, except in rooms that require an invitation: only members read these until the service has
read their history visibility from the homeserver. Present members count as members since the first stored event.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rooms", _visibility("history_visibility"))
    op.add_column("rooms", sa.Column("was_public", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("rooms", sa.Column("was_private", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("rooms", sa.Column("visibility_known", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("messages", _visibility("visibility"))
    op.add_column("messages", sa.Column("edit_seq", sa.BigInteger(), nullable=True))
    op.add_column("messages", _visibility("edit_visibility"))
    op.add_column("room_events", _visibility("visibility"))
    op.add_column("feed", _visibility("visibility"))
    op.add_column("feed", sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False))
    is_public = sa.text("visibility = 'world_readable'")
    op.create_index("ix_feed_public", "feed", ["id"], sqlite_where=is_public, postgresql_where=is_public)
    op.create_table(
        "membership_periods",
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("start_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("joined_seq", sa.BigInteger(), nullable=True),
        sa.Column("end_seq", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["room_id"], ["rooms.id"], name=op.f("fk_membership_periods_room_id_rooms"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("room_id", "user_id", "start_seq", name=op.f("pk_membership_periods")),
    )
    op.create_index(op.f("ix_membership_periods_user_id"), "membership_periods", ["user_id"])
    op.execute(
        "INSERT INTO membership_periods (room_id, user_id, start_seq, joined_seq) "
        "SELECT m.room_id, m.user_id, r.first_seq, r.first_seq FROM members AS m JOIN rooms AS r ON r.id = m.room_id"
    )
    _hide_invite_only_rooms()


def _visibility(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=16), server_default="world_readable", nullable=False)


def _hide_invite_only_rooms() -> None:
    rooms = sa.table("rooms", *map(sa.column, ("id", "agent", "join_rule", "history_visibility")))
    rooms.append_column(sa.column("was_public", sa.Boolean()))
    rooms.append_column(sa.column("was_private", sa.Boolean()))
    is_private = rooms.c.agent.is_not(None) | rooms.c.join_rule.not_in(("public", "knock", "knock_restricted"))
    for name in ("messages", "room_events", "feed"):
        table = sa.table(name, sa.column("room_id"), sa.column("visibility"))
        of_private = table.c.room_id.in_(sa.select(rooms.c.id).where(is_private))
        op.execute(table.update().where(of_private).values(visibility="shared"))
    op.execute(rooms.update().where(is_private).values(history_visibility="shared", was_public=False, was_private=True))
    op.execute(
        "UPDATE feed SET seq = (SELECT m.seq FROM messages AS m WHERE m.id = feed.message_id) "
        "WHERE EXISTS (SELECT 1 FROM messages AS m WHERE m.id = feed.message_id)"
    )


def downgrade() -> None:
    # An older version would show private rooms to all readers.
    op.execute("DELETE FROM rooms WHERE was_private")
    op.drop_table("membership_periods")
    op.drop_index("ix_feed_public", "feed")
    for table, columns in (
        ("feed", ("seq", "visibility")),
        ("room_events", ("visibility",)),
        ("messages", ("edit_visibility", "edit_seq", "visibility")),
        ("rooms", ("visibility_known", "was_private", "was_public", "history_visibility")),
    ):
        for column in columns:
            op.drop_column(table, column)
