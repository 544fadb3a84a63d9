"""Create the tables of nodes, microDAOs and districts, removed agents, interactions of Second Me, linked accounts and replies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_registry()
    _make_memory_of_second_me()
    _make_answers()
    op.create_table(
        "accounts",
        sa.Column("matrix_user_id", sa.String(length=255), nullable=False),
        sa.Column("citizen_id", sa.String(length=255), nullable=False),
        sa.Column("linked_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("matrix_user_id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("citizen_id", name=op.f("uq_accounts_citizen_id")),
    )
    op.add_column("rooms", sa.Column("agent", sa.String(length=64), nullable=True))
    op.add_column("rooms", sa.Column("in_company", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    _drop_registry()
    _drop_memory_of_second_me()
    op.drop_table("accounts")
    op.drop_table("answers")
    # An older version would list direct chats for all readers.
    op.execute("DELETE FROM rooms WHERE agent IS NOT NULL")
    op.drop_column("rooms", "in_company")
    op.drop_column("rooms", "agent")


def _make_memory_of_second_me() -> None:
    op.create_table(
        "interactions",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_interactions")),
        sa.UniqueConstraint("id", name=op.f("uq_interactions_id")),
    )
    op.create_index(op.f("ix_interactions_user_id_number"), "interactions", ["user_id", "number"])
    op.create_table(
        "secondme_turns",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("turn", sa.String(length=26), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_secondme_turns")),
    )


def _drop_memory_of_second_me() -> None:
    op.drop_table("secondme_turns")
    op.drop_table("interactions")


_SAID_OF_AGENTS = {
    "kind": sa.Text(),
    "color": sa.String(length=7),
    "district": sa.Text(),
    "node_role": sa.Text(),
    "microdao_role": sa.Text(),
}


def _add_registry() -> None:
    for name, kind in _SAID_OF_AGENTS.items():
        op.add_column("agents", sa.Column(name, kind, server_default="", nullable=False))
    op.add_column("ghosts", sa.Column("role_field", sa.Text(), nullable=True))
    for table, key in (("nodes", "id"), ("microdaos", "slug")):
        op.create_table(
            table,
            sa.Column(key, sa.String(length=255), nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("description", sa.Text(), server_default="", nullable=False),
            sa.Column("district", sa.Text(), server_default="", nullable=False),
            sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
        )
    op.create_table(
        "districts",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_districts")),
    )
    op.create_table(
        "removed_agents",
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("removed_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_removed_agents")),
    )


def _drop_registry() -> None:
    for table in ("removed_agents", "districts", "microdaos", "nodes"):
        op.drop_table(table)
    op.drop_column("ghosts", "role_field")
    for name in _SAID_OF_AGENTS:
        op.drop_column("agents", name)


def _make_answers() -> None:
    op.create_table(
        "answers",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("question_id", sa.String(length=26), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("room_id", sa.String(length=80), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("asker", sa.String(length=255), nullable=False),
        sa.Column("asked_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), server_default="owed", nullable=False),
        sa.Column("message_id", sa.String(length=26), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("no_answer", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(
            ["question_id"], ["messages.id"], name=op.f("fk_answers_question_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answers")),
        sa.UniqueConstraint("question_id", "agent", name=op.f("uq_answers_question_id_agent")),
    )
    op.create_index(op.f("ix_answers_state_id"), "answers", ["state", "id"])
    op.create_index(op.f("ix_answers_room_id_asked_at_ms"), "answers", ["room_id", "asked_at_ms"])
    op.create_index(op.f("ix_answers_asker_asked_at_ms"), "answers", ["asker", "asked_at_ms"])
