"""Rename the tables `standings`, `answers`, `kept` to `restrictions`, `agent_replies`, `key_values`, with their constraints.

Each table is copied: SQLite cannot rename a constraint.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_STATES = {"owed": "pending", "given": "posted", "dropped": "abandoned"}


def upgrade() -> None:
    _create_restrictions("restrictions")
    _copy("standings", "restrictions", ["room_id", "user_id", "standing", "reason", "at_ms"])
    _create_replies("agent_replies", "failure", "pending", state_length=16)
    _copy_replies("answers", "no_answer", "agent_replies", "failure", _STATES)
    _create_key_values("key_values")
    _copy("kept", "key_values", ["key", "value"])


def downgrade() -> None:
    _create_restrictions("standings")
    _copy("restrictions", "standings", ["room_id", "user_id", "standing", "reason", "at_ms"])
    _create_replies("answers", "no_answer", "owed", state_length=8)
    _copy_replies("agent_replies", "failure", "answers", "no_answer", {new: old for old, new in _STATES.items()})
    _create_key_values("kept")
    _copy("key_values", "kept", ["key", "value"])


def _copy(source: str, target: str, columns: list[str]) -> None:
    names = ", ".join(columns)
    op.execute(f"INSERT INTO {target} ({names}) SELECT {names} FROM {source}")  # noqa: S608  # names of this module
    op.drop_table(source)


def _copy_replies(source: str, source_failure: str, target: str, target_failure: str, states: dict[str, str]) -> None:
    names = "id, question_id, agent, room_id, depth, asker, asked_at_ms, message_id, attempts, retry_at_ms, error"
    cases = " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in states.items())
    op.execute(
        f"INSERT INTO {target} ({names}, {target_failure}, state) "  # noqa: S608  # names of this module
        f"SELECT {names}, {source_failure}, CASE state {cases} ELSE state END FROM {source}"
    )
    op.drop_table(source)
    op.create_index(op.f(f"ix_{target}_state_id"), target, ["state", "id"])
    op.create_index(op.f(f"ix_{target}_room_id_asked_at_ms"), target, ["room_id", "asked_at_ms"])
    op.create_index(op.f(f"ix_{target}_asker_asked_at_ms"), target, ["asker", "asked_at_ms"])


def _create_restrictions(name: str) -> None:
    op.create_table(
        name,
        sa.Column("room_id", sa.String(80), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("standing", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["room_id"], ["rooms.id"], name=op.f(f"fk_{name}_room_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("room_id", "user_id", name=op.f(f"pk_{name}")),
    )


def _create_replies(name: str, failure: str, first_state: str, *, state_length: int) -> None:
    op.create_table(
        name,
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("question_id", sa.String(26), nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("room_id", sa.String(80), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("asker", sa.String(255), nullable=False),
        sa.Column("asked_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(state_length), server_default=first_state, nullable=False),
        sa.Column("message_id", sa.String(26)),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column(failure, sa.String(16)),
        sa.ForeignKeyConstraint(
            ["question_id"], ["messages.id"], name=op.f(f"fk_{name}_question_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        sa.UniqueConstraint("question_id", "agent", name=op.f(f"uq_{name}_question_id_agent")),
    )


def _create_key_values(name: str) -> None:
    op.create_table(
        name,
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f(f"pk_{name}")),
    )
