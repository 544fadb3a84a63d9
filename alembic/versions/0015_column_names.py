"""Rename columns, a stored key and an index to the terms of `docs/glossary.md`.

`agent_replies` is copied: SQLite cannot rename a constraint.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("restrictions", "standing", "kind"),
    ("rooms", "told_name", "applied_name"),
    ("rooms", "told_topic", "applied_topic"),
    ("rooms", "told_archived", "applied_archived"),
    ("rooms", "in_company", "is_group"),
)
_REPLIES = {"question_id": "request_id", "asker": "requester", "asked_at_ms": "requested_at_ms"}
_REPLY_COLUMNS = (
    "id",
    "question_id",
    "agent",
    "room_id",
    "depth",
    "asker",
    "asked_at_ms",
    "state",
    "message_id",
    "attempts",
    "retry_at_ms",
    "error",
    "failure",
)
_KEY_LENGTH = 64


def upgrade() -> None:
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    _copy_replies({name: name for name in _REPLIES}, _REPLIES)
    _rename_json_key("standing", "kind")
    _rename_keys("presence_held_ms:", "presence_timeout_ms:")
    _rename_reaction_index("ix_reactions_given", "ix_reactions_active")


def downgrade() -> None:
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
    _copy_replies(_REPLIES, {name: name for name in _REPLIES})
    _rename_json_key("kind", "standing")
    _rename_keys("presence_timeout_ms:", "presence_held_ms:")
    _rename_reaction_index("ix_reactions_active", "ix_reactions_given")


def _copy_replies(old: dict[str, str], new: dict[str, str]) -> None:
    """Copy `agent_replies` with renamed columns; both arguments map the names of 0014 to actual ones."""
    op.execute("ALTER TABLE agent_replies RENAME TO old_agent_replies")
    if op.get_bind().dialect.name == "postgresql":
        # PostgreSQL has one namespace for the indexes of all tables, those of constraints included.
        op.execute("ALTER TABLE old_agent_replies RENAME CONSTRAINT pk_agent_replies TO pk_old_agent_replies")
    for index in (f"state_id room_id_{old['asked_at_ms']} {old['asker']}_{old['asked_at_ms']}").split():
        op.drop_index(op.f(f"ix_agent_replies_{index}"), "old_agent_replies")
    request, requester, requested_at_ms = new["question_id"], new["asker"], new["asked_at_ms"]
    op.create_table(
        "agent_replies",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column(request, sa.String(26), nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("room_id", sa.String(80), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column(requester, sa.String(255), nullable=False),
        sa.Column(requested_at_ms, sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), server_default="pending", nullable=False),
        sa.Column("message_id", sa.String(26)),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("failure", sa.String(16)),
        sa.ForeignKeyConstraint(
            [request], ["messages.id"], name=op.f(f"fk_agent_replies_{request}"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_replies")),
        sa.UniqueConstraint(request, "agent", name=op.f(f"uq_agent_replies_{request}_agent")),
    )
    source, target = (_names(names) for names in (old, new))
    op.execute(f"INSERT INTO agent_replies ({target}) SELECT {source} FROM old_agent_replies")  # noqa: S608  # names of this module
    op.drop_table("old_agent_replies")
    op.create_index(op.f("ix_agent_replies_state_id"), "agent_replies", ["state", "id"])
    for columns in (["room_id", requested_at_ms], [requester, requested_at_ms]):
        op.create_index(op.f(f"ix_agent_replies_{'_'.join(columns)}"), "agent_replies", columns)


def _names(names: dict[str, str]) -> str:
    return ", ".join(names.get(column, column) for column in _REPLY_COLUMNS)


def _rename_json_key(old: str, new: str) -> None:
    # In a string value, the quotation mark before the colon would have a backslash before it.
    op.execute(
        sa.text("UPDATE room_events SET removal = REPLACE(removal, :old, :new) WHERE removal IS NOT NULL").bindparams(
            old=f'"{old}":', new=f'"{new}":'
        )
    )


def _rename_keys(old: str, new: str) -> None:
    op.execute(
        sa.text(
            "UPDATE key_values SET key = SUBSTR(:new || SUBSTR(key, :after), 1, :length) WHERE key LIKE :pattern"
        ).bindparams(new=new, after=len(old) + 1, length=_KEY_LENGTH, pattern=f"{old}%")
    )


def _rename_reaction_index(old: str, new: str) -> None:
    op.drop_index(old, "reactions")
    where = sa.text("NOT removed")
    op.create_index(
        new,
        "reactions",
        ["message_id", "author_kind", "author_id", "key"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
