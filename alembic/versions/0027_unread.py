"""Store read marks, mentions and notification modes of citizens. Messages from before count as read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_ESCAPED = re.compile(rb"=([0-9a-f]{2})")


def upgrade() -> None:
    op.create_table(
        "read_marks",
        sa.Column("citizen_id", sa.String(length=255), nullable=False),
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("thread_root", sa.String(length=26), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name=op.f("fk_read_marks_room_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("citizen_id", "room_id", "thread_root", name=op.f("pk_read_marks")),
    )
    op.create_index(op.f("ix_read_marks_room_id"), "read_marks", ["room_id"])
    op.create_table(
        "mentions",
        sa.Column("message_id", sa.String(length=26), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_mentions_message_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name=op.f("fk_mentions_room_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message_id", "subject", name=op.f("pk_mentions")),
    )
    op.create_index(op.f("ix_mentions_subject_room_id_seq"), "mentions", ["subject", "room_id", "seq"])
    op.create_index(op.f("ix_mentions_room_id_seq"), "mentions", ["room_id", "seq"])
    op.create_table(
        "notification_modes",
        sa.Column("citizen_id", sa.String(length=255), nullable=False),
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["room_id"], ["rooms.id"], name=op.f("fk_notification_modes_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("citizen_id", "room_id", name=op.f("pk_notification_modes")),
    )
    op.create_index(op.f("ix_notification_modes_room_id"), "notification_modes", ["room_id"])
    op.create_index(op.f("ix_read_receipts_reader"), "read_receipts", ["reader"])
    _mark_all_read()


def _mark_all_read() -> None:
    """Set the read marks of present members to the end of their rooms."""
    connection = op.get_bind()
    marks = sa.table("read_marks", *map(sa.column, ("citizen_id", "room_id", "thread_root", "seq")))
    found = {(citizen, room): seq for citizen, room, seq in _members(connection)}
    rows = [
        {"citizen_id": citizen, "room_id": room, "thread_root": "", "seq": seq}
        for (citizen, room), seq in sorted(found.items())
    ]
    for start in range(0, len(rows), 1000):
        connection.execute(sa.insert(marks), rows[start : start + 1000])


def _members(connection: sa.Connection) -> Iterator[tuple[str, str, int]]:
    members = connection.execute(
        sa.text(
            "SELECT members.user_id, rooms.id, rooms.last_seq FROM members JOIN rooms ON rooms.id = members.room_id "
            "WHERE members.user_id LIKE '@citizen!_%' ESCAPE '!'"
        )
    )
    for user, room, seq in members:
        yield _citizen(user), room, seq
    accounts = connection.execute(
        sa.text(
            "SELECT accounts.citizen_id, rooms.id, rooms.last_seq FROM accounts JOIN members "
            "ON members.user_id = accounts.matrix_user_id JOIN rooms ON rooms.id = members.room_id"
        )
    )
    yield from (tuple(row) for row in accounts)


def _citizen(user: str) -> str:
    """Return the citizen of a ghost, whose localpart has octets written as ``=hh``."""
    localpart = user.removeprefix("@citizen_").partition(":")[0]
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), localpart.encode()).decode("utf-8", "replace")


def downgrade() -> None:
    op.drop_index(op.f("ix_read_receipts_reader"), "read_receipts")
    for table in ("notification_modes", "mentions", "read_marks"):
        op.drop_table(table)
