"""Store accounts, devices, sessions and waiting work of end-to-end encryption."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

# SQLite generates ids only in a column whose type is named INTEGER.
_GENERATED_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "encryption_accounts",
        sa.Column("ghost", sa.String(length=255), nullable=False),
        sa.Column("device_id", sa.String(length=255), nullable=False),
        sa.Column("curve25519", sa.String(length=64), nullable=False),
        sa.Column("ed25519", sa.String(length=64), nullable=False),
        sa.Column("pickle", sa.Text(), nullable=False),
        sa.Column("master_pickle", sa.Text(), nullable=False),
        sa.Column("self_signing_pickle", sa.Text(), nullable=False),
        sa.Column("since", sa.Text(), nullable=True),
        sa.Column("is_uploaded", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_reset_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("ghost", name=op.f("pk_encryption_accounts")),
    )
    op.create_table(
        "encryption_tracked_users",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("is_stale", sa.Boolean(), nullable=False),
        sa.Column("changes", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_encryption_tracked_users")),
    )
    op.create_table(
        "encryption_devices",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("device_id", sa.String(length=255), nullable=False),
        sa.Column("curve25519", sa.String(length=64), nullable=False),
        sa.Column("ed25519", sa.String(length=64), nullable=False),
        sa.Column("is_cross_signed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", name=op.f("pk_encryption_devices")),
    )
    op.create_table(
        "encryption_olm_sessions",
        sa.Column("ghost", sa.String(length=255), nullable=False),
        sa.Column("curve25519", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("pickle", sa.Text(), nullable=False),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ghost", "curve25519", "session_id", name=op.f("pk_encryption_olm_sessions")),
    )
    op.create_table(
        "encryption_olm_recoveries",
        sa.Column("ghost", sa.String(length=255), nullable=False),
        sa.Column("curve25519", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ghost", "curve25519", name=op.f("pk_encryption_olm_recoveries")),
    )
    op.create_table(
        "encryption_inbound_sessions",
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("curve25519", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("first_index", sa.BigInteger(), nullable=False),
        sa.Column("pickle", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("ghost", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint(
            "matrix_room_id", "session_id", "curve25519", name=op.f("pk_encryption_inbound_sessions")
        ),
    )
    op.create_table(
        "encryption_message_indexes",
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("message_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint(
            "matrix_room_id", "session_id", "owner", "message_index", name=op.f("pk_encryption_message_indexes")
        ),
    )
    op.create_table(
        "encryption_outbound_sessions",
        sa.Column("ghost", sa.String(length=255), nullable=False),
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("pickle", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ghost", "matrix_room_id", name=op.f("pk_encryption_outbound_sessions")),
    )
    op.create_index(
        op.f("ix_encryption_outbound_sessions_matrix_room_id"), "encryption_outbound_sessions", ["matrix_room_id"]
    )
    op.create_index(op.f("ix_encryption_outbound_sessions_session_id"), "encryption_outbound_sessions", ["session_id"])
    op.create_table(
        "encryption_shared_keys",
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("device_id", sa.String(length=255), nullable=False),
        sa.Column("curve25519", sa.String(length=64), nullable=False),
        sa.Column("message_index", sa.BigInteger(), nullable=False),
        sa.Column("withheld", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("session_id", "user_id", "device_id", name=op.f("pk_encryption_shared_keys")),
    )
    op.create_table(
        "encryption_key_requests",
        sa.Column("ghost", sa.String(length=255), nullable=False),
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("request_id", sa.String(length=255), nullable=False),
        sa.Column("device_id", sa.String(length=255), nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "ghost", "matrix_room_id", "session_id", "user_id", name=op.f("pk_encryption_key_requests")
        ),
    )
    op.create_index(
        op.f("ix_encryption_key_requests_matrix_room_id_session_id"),
        "encryption_key_requests",
        ["matrix_room_id", "session_id"],
    )
    op.create_table(
        "encryption_key_answers",
        sa.Column("ghost", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("device_id", sa.String(length=255), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("ghost", "user_id", "device_id", "session_id", name=op.f("pk_encryption_key_answers")),
    )
    op.create_table(
        "encryption_withheld_keys",
        sa.Column("number", _GENERATED_ID, autoincrement=True, nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("curve25519", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_encryption_withheld_keys")),
        sa.UniqueConstraint(
            "user_id",
            "matrix_room_id",
            "session_id",
            "curve25519",
            name=op.f("uq_encryption_withheld_keys"),
        ),
    )
    op.create_index(
        op.f("ix_encryption_withheld_keys_user_id_number"), "encryption_withheld_keys", ["user_id", "number"]
    )
    op.create_table(
        "encryption_to_device_outbox",
        sa.Column("id", _GENERATED_ID, autoincrement=True, nullable=False),
        sa.Column("ghost", sa.String(length=255), nullable=False),
        sa.Column("event_type", sa.String(length=255), nullable=False),
        sa.Column("txn_id", sa.String(length=255), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_encryption_to_device_outbox")),
        sa.UniqueConstraint(
            "ghost", "event_type", "txn_id", name=op.f("uq_encryption_to_device_outbox_ghost_event_type_txn_id")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_encryption_to_device_outbox_ghost_id"), "encryption_to_device_outbox", ["ghost", "id"])
    op.create_table(
        "encryption_undecrypted",
        sa.Column("number", _GENERATED_ID, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("sender", sa.String(length=255), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.Column("after_message", sa.String(length=26), nullable=True),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_ms", sa.BigInteger(), nullable=False),
        sa.Column("is_announced", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_encryption_undecrypted")),
        sa.UniqueConstraint("event_id", name=op.f("uq_encryption_undecrypted_event_id")),
    )
    op.create_index(
        op.f("ix_encryption_undecrypted_matrix_room_id_session_id"),
        "encryption_undecrypted",
        ["matrix_room_id", "session_id"],
    )
    op.create_index(
        op.f("ix_encryption_undecrypted_next_try_ms_number"), "encryption_undecrypted", ["next_try_ms", "number"]
    )
    op.create_index(op.f("ix_encryption_undecrypted_received_at_ms"), "encryption_undecrypted", ["received_at_ms"])
    op.create_table(
        "encryption_entries",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("ghost", sa.String(length=255), nullable=False),
        sa.Column("matrix_room_id", sa.String(length=255), nullable=False),
        sa.Column("session_id", sa.String(length=255), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_encryption_entries")),
    )

    # Whether a chat is encrypted was not stored: the service reads it again before it sends into the chat.
    rooms = sa.table("rooms", *map(sa.column, ("agent", "archived", "matrix_status")))
    op.execute(
        rooms.update()
        .where(rooms.c.agent.is_not(None), rooms.c.matrix_status == "linked", rooms.c.archived == sa.false())
        .values(matrix_status="pending")
    )


def downgrade() -> None:
    for table in (
        "encryption_entries",
        "encryption_undecrypted",
        "encryption_to_device_outbox",
        "encryption_withheld_keys",
        "encryption_key_answers",
        "encryption_key_requests",
        "encryption_shared_keys",
        "encryption_outbound_sessions",
        "encryption_message_indexes",
        "encryption_inbound_sessions",
        "encryption_olm_recoveries",
        "encryption_olm_sessions",
        "encryption_devices",
        "encryption_tracked_users",
        "encryption_accounts",
    ):
        op.drop_table(table)
