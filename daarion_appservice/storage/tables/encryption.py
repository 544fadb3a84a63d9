"""Tables of end-to-end encryption.

Columns named ``…pickle`` are encrypted under a key that is not in the database. Message indexes reach 4,294,967,295.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from .metadata import GeneratedId, metadata

# The device of each ghost with its secret keys, and the token up to which its to-device queue was processed.
encryption_accounts = Table(
    "encryption_accounts",
    metadata,
    Column("ghost", String(255), primary_key=True),
    Column("device_id", String(255), nullable=False),
    Column("curve25519", String(64), nullable=False),
    Column("ed25519", String(64), nullable=False),
    Column("pickle", Text, nullable=False),
    Column("master_pickle", Text, nullable=False),
    Column("self_signing_pickle", Text, nullable=False),
    Column("since", Text),
    Column("is_uploaded", Boolean, nullable=False, server_default=text("false")),
    Column("is_reset_requested", Boolean, nullable=False, server_default=text("false")),
)

# Users whose devices are stored. A change of the device list during a query is found by its number.
encryption_tracked_users = Table(
    "encryption_tracked_users",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("is_stale", Boolean, nullable=False),
    Column("changes", BigInteger, nullable=False, server_default="0"),
)

encryption_devices = Table(
    "encryption_devices",
    metadata,
    Column("user_id", String(255), primary_key=True),
    Column("device_id", String(255), primary_key=True),
    Column("curve25519", String(64), nullable=False),
    Column("ed25519", String(64), nullable=False),
    Column("is_cross_signed", Boolean, nullable=False),
)

encryption_olm_sessions = Table(
    "encryption_olm_sessions",
    metadata,
    Column("ghost", String(255), primary_key=True),
    Column("curve25519", String(64), primary_key=True),
    Column("session_id", String(255), primary_key=True),
    Column("pickle", Text, nullable=False),
    Column("used_at_ms", BigInteger, nullable=False),
)

# When a ghost last started a new Olm session with a device whose messages it was not able to decrypt.
encryption_olm_recoveries = Table(
    "encryption_olm_recoveries",
    metadata,
    Column("ghost", String(255), primary_key=True),
    Column("curve25519", String(64), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
)

# Megolm sessions that decrypt; all ghosts share them.
encryption_inbound_sessions = Table(
    "encryption_inbound_sessions",
    metadata,
    Column("matrix_room_id", String(255), primary_key=True),
    Column("session_id", String(255), primary_key=True),
    Column("curve25519", String(64), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("first_index", BigInteger, nullable=False),
    Column("pickle", Text, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("ghost", String(255), nullable=False),
)

# The event to which each index of a Megolm session belongs: no other event with the index is processed.
encryption_message_indexes = Table(
    "encryption_message_indexes",
    metadata,
    Column("matrix_room_id", String(255), primary_key=True),
    Column("session_id", String(255), primary_key=True),
    Column("owner", String(255), primary_key=True),
    Column("message_index", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", String(255), nullable=False),
)

encryption_outbound_sessions = Table(
    "encryption_outbound_sessions",
    metadata,
    Column("ghost", String(255), primary_key=True),
    Column("matrix_room_id", String(255), primary_key=True, index=True),
    Column("session_id", String(255), nullable=False, index=True),
    Column("pickle", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
)

# Devices that got the key of an outbound session, or a withheld code in its place.
encryption_shared_keys = Table(
    "encryption_shared_keys",
    metadata,
    Column("session_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("device_id", String(255), primary_key=True),
    Column("curve25519", String(64), nullable=False),
    Column("message_index", BigInteger, nullable=False),
    Column("withheld", String(255)),
)

# Requests of ghosts for keys that they lack.
encryption_key_requests = Table(
    "encryption_key_requests",
    metadata,
    Column("ghost", String(255), primary_key=True),
    Column("matrix_room_id", String(255), primary_key=True),
    Column("session_id", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("request_id", String(255), nullable=False),
    Column("device_id", String(255), nullable=False),
    Column("sent_at_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Index(None, "matrix_room_id", "session_id"),
)

# When a ghost last answered the key request of a device for a session.
encryption_key_answers = Table(
    "encryption_key_answers",
    metadata,
    Column("ghost", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("device_id", String(255), primary_key=True),
    Column("session_id", String(255), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
)

# The codes of `m.room_key.withheld` that ghosts received. The room and the session are empty if a code concerns every session.
encryption_withheld_keys = Table(
    "encryption_withheld_keys",
    metadata,
    Column("number", GeneratedId, primary_key=True, autoincrement=True),
    Column("user_id", String(255), nullable=False),
    Column("matrix_room_id", String(255), nullable=False),
    Column("session_id", String(255), nullable=False),
    Column("curve25519", String(64), nullable=False),
    Column("code", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("user_id", "matrix_room_id", "session_id", "curve25519", name="uq_encryption_withheld_keys"),
    Index(None, "user_id", "number"),
)

# To-device messages that wait to be sent, in the order of each ghost. Ids are never reused.
encryption_to_device_outbox = Table(
    "encryption_to_device_outbox",
    metadata,
    Column("id", GeneratedId, primary_key=True, autoincrement=True),
    Column("ghost", String(255), nullable=False),
    Column("event_type", String(255), nullable=False),
    Column("txn_id", String(255), nullable=False),
    Column("messages", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("ghost", "event_type", "txn_id"),
    Index(None, "ghost", "id"),
    sqlite_autoincrement=True,
)

# Encrypted room events that wait for their key, in the order in which they came.
encryption_undecrypted = Table(
    "encryption_undecrypted",
    metadata,
    Column("number", GeneratedId, primary_key=True, autoincrement=True),
    Column("event_id", String(255), nullable=False, unique=True),
    Column("matrix_room_id", String(255), nullable=False),
    Column("session_id", String(255), nullable=False),
    Column("sender", String(255), nullable=False),
    Column("event", LargeBinary, nullable=False),
    Column("after_message", String(26)),
    Column("received_at_ms", BigInteger, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("next_try_ms", BigInteger, nullable=False),
    Column("is_announced", Boolean, nullable=False),
    Index(None, "next_try_ms", "number"),
    Index(None, "matrix_room_id", "session_id"),
    Index(None, "sender"),
)

# The ciphertexts of events between their encryption and their delivery, by Matrix transaction id.
encryption_entries = Table(
    "encryption_entries",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("ghost", String(255), nullable=False),
    Column("matrix_room_id", String(255), nullable=False),
    Column("session_id", String(255), nullable=False),
    Column("content", LargeBinary, nullable=False),
)
