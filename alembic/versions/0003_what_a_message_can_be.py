"""Store edits, deletions, reactions, mentions and media of messages; power levels, bans and kicks of Matrix rooms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rooms", sa.Column("popularity", sa.Float(), server_default="0", nullable=False))
    op.add_column("rooms", sa.Column("encrypted", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("rooms", sa.Column("join_rule", sa.String(length=32), server_default="public", nullable=False))
    op.add_column("rooms", sa.Column("power_levels", sa.Text(), server_default="{}", nullable=False))
    op.add_column("rooms", sa.Column("told_archived", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "former_matrix_rooms",
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.ForeignKeyConstraint(
            ["room_id"], ["rooms.id"], name=op.f("fk_former_matrix_rooms_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("matrix_room_id", name=op.f("pk_former_matrix_rooms")),
    )
    op.create_table(
        "standings",
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("standing", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name=op.f("fk_standings_room_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("room_id", "user_id", name=op.f("pk_standings")),
    )
    op.add_column("messages", sa.Column("media", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("mentions", sa.Text(), server_default="[]", nullable=False))
    op.add_column("messages", sa.Column("reactions", sa.Text(), server_default="[]", nullable=False))
    op.create_table(
        "reactions",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("message_id", sa.String(length=26), nullable=False),
        sa.Column("author_kind", sa.String(length=16), nullable=False),
        sa.Column("author_id", sa.String(length=255), nullable=False),
        sa.Column("author_name", sa.Text(), nullable=False),
        sa.Column("author_avatar", sa.Text(), nullable=True),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("matrix_event_id", sa.String(length=255), nullable=True),
        sa.Column("removed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_reactions_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reactions")),
        sa.UniqueConstraint("matrix_event_id", name=op.f("uq_reactions_matrix_event_id")),
    )
    op.create_index(op.f("ix_reactions_message_id"), "reactions", ["message_id"])
    op.create_index(
        "ix_reactions_given",
        "reactions",
        ["message_id", "author_kind", "author_id", "key"],
        unique=True,
        sqlite_where=sa.text("NOT removed"),
        postgresql_where=sa.text("NOT removed"),
    )
    op.create_table(
        "media",
        sa.Column("mxc", sa.String(length=512), nullable=False),
        sa.Column("is_avatar", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("uploader_kind", sa.String(length=16), nullable=True),
        sa.Column("uploader_id", sa.String(length=255), nullable=True),
        sa.Column("mimetype", sa.String(length=255), nullable=True),
        sa.Column("filename", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("mxc", name=op.f("pk_media")),
    )
    op.create_table(
        "media_shown",
        sa.Column("mxc", sa.String(length=512), nullable=False),
        sa.Column("message_id", sa.String(length=26), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_media_shown_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("mxc", "message_id", name=op.f("pk_media_shown")),
    )
    op.create_index(op.f("ix_media_shown_message_id"), "media_shown", ["message_id"])
    _store_known_avatars()
    op.add_column("room_events", sa.Column("message_id", sa.String(length=26), nullable=True))
    op.add_column("room_events", sa.Column("key", sa.String(length=255), nullable=True))
    op.add_column("room_events", sa.Column("added", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("feed", sa.Column("message_id", sa.String(length=26), nullable=True))
    op.create_index(op.f("ix_feed_message_id"), "feed", ["message_id"])
    is_sqlite = op.get_context().dialect.name == "sqlite"
    message_id = "json_extract(payload, '$.message_id')" if is_sqlite else "payload::json ->> 'message_id'"
    op.execute(f"UPDATE feed SET message_id = {message_id} WHERE kind = 'room_message'")  # noqa: S608 -- no external input
    _add_kinds_to_outbox()


def _store_known_avatars() -> None:
    seen = " UNION ".join(
        f"SELECT {column} AS mxc FROM {table}"  # noqa: S608 -- no external input
        for table, column in (
            ("members", "avatar_url"),
            ("messages", "author_avatar"),
            ("room_events", "author_avatar"),
        )
    )
    op.execute(
        "INSERT INTO media (mxc, is_avatar) "  # noqa: S608 -- no external input
        f"SELECT mxc, true FROM ({seen}) AS seen WHERE mxc LIKE 'mxc://_%/_%' AND length(mxc) <= 512"
    )


def _add_kinds_to_outbox() -> None:
    # No row refers to this table, so that batch mode may copy it (SQLite). AUTOINCREMENT never reuses an id there: the worker
    # that marks a sent row as done must not find a newer row under its id.
    with op.batch_alter_table("outbox", table_kwargs={"sqlite_autoincrement": True}) as outbox:
        outbox.drop_constraint(op.f("uq_outbox_message_id"), type_="unique")
        outbox.add_column(sa.Column("kind", sa.String(length=16), server_default="message", nullable=False))
        outbox.add_column(sa.Column("reaction_id", sa.String(length=26), nullable=True))
        outbox.add_column(sa.Column("user_id", sa.String(length=255), nullable=True))
        outbox.alter_column("message_id", existing_type=sa.String(length=26), nullable=True)
        outbox.create_index(op.f("ix_outbox_message_id"), ["message_id"])
        outbox.create_index(op.f("ix_outbox_user_id"), ["user_id"])


def downgrade() -> None:
    op.execute("DELETE FROM outbox WHERE kind != 'message'")
    with op.batch_alter_table("outbox") as outbox:
        outbox.drop_index(op.f("ix_outbox_user_id"))
        outbox.drop_index(op.f("ix_outbox_message_id"))
        outbox.alter_column("message_id", existing_type=sa.String(length=26), nullable=False)
        outbox.drop_column("user_id")
        outbox.drop_column("reaction_id")
        outbox.drop_column("kind")
        outbox.create_unique_constraint(op.f("uq_outbox_message_id"), ["message_id"])
    op.drop_index(op.f("ix_feed_message_id"), "feed")
    op.drop_column("feed", "message_id")
    # An older version does not know these kinds.
    op.execute("DELETE FROM room_events WHERE kind NOT IN ('city.room.join', 'city.room.leave')")
    op.execute("DELETE FROM feed WHERE kind IN ('agent_reply', 'system')")
    for column in ("added", "key", "message_id"):
        op.drop_column("room_events", column)
    for table in ("media_shown", "media", "reactions", "standings", "former_matrix_rooms"):
        op.drop_table(table)
    for column in ("reactions", "mentions", "media"):
        op.drop_column("messages", column)
    for column in ("told_archived", "power_levels", "join_rule", "encrypted", "popularity"):
        op.drop_column("rooms", column)
