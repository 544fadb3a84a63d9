"""Tables of erasures: of data subjects whose personal data is deleted, or was."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from .metadata import metadata

# Erasures. data_subject (JSON) has the ids of the data subject until the erasure is done.
erasures = Table(
    "erasures",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("data_subject", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("requested_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    Column("retry_at_ms", BigInteger, nullable=False, server_default="0"),
    Column("error", Text),
    # What is still to be done on Matrix, what was done, and what the service cannot delete (JSON).
    Column("plan", Text, nullable=False, server_default="{}"),
    Column("counts", Text, nullable=False, server_default="{}"),
    Column("remains", Text, nullable=False, server_default="[]"),
)

# SHA-256 digests of the subjects and Matrix users of erasures. What they did before erased_at_ms has no effect any more; it is
# NULL while the erasure runs, and until then for all that they do.
erased_ids = Table(
    "erased_ids",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("erasure_id", String(26), nullable=False, index=True),
    Column("erased_at_ms", BigInteger),
    # The number of erasures of a citizen, which the name of the ghost has. 0 for a ghost: its name is not used again.
    Column("generation", Integer, nullable=False),
)

# Matrix events of erased persons that are to be redacted.
erasure_redactions = Table(
    "erasure_redactions",
    metadata,
    Column("event_id", String(255), primary_key=True),
    Column("erasure_id", String(26), nullable=False),
    Column("matrix_room_id", String(255), nullable=False),
    Column("sender", String(255), nullable=False),
    Index(None, "erasure_id", "event_id"),
)
