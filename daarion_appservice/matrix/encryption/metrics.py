"""Prometheus metrics of encrypted chats: events, keys, sessions, to-device requests and devices.

All counters are those of this process; only the leader reads and writes encrypted chats. `EncryptionMetrics` registers every
label value at the start, so that a rate of zero differs from a metric that does not exist.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from ...encryption.errors import (
    EncryptionError,
    InvalidPickle,
    ReplayedMessage,
    Undecryptable,
    UnknownSession,
    WrongContext,
)
from ...encryption.outbound_sessions import Rotation


class ReadAt(StrEnum):
    """The attempt that decrypted a room event, with the value of the metric's label."""

    FIRST = "first"
    """The key was stored before the event came."""
    PULL = "pull"
    """The key was in the ghost's to-device queue."""
    RETRY = "retry"
    """The key came while the event was waiting."""


class GivenUp(StrEnum):
    """The reason why a room event was not decrypted and is not tried again, with the value of the metric's label."""

    NO_KEY = "no_key"
    """No key came within a day."""
    WITHHELD = "withheld"
    """No key came, and the sender's device sent a withheld code."""
    REPLAYED = "replayed"
    """The ciphertext belongs to another event."""
    WRONG_CONTEXT = "wrong_context"
    """The session is another user's, or the event was encrypted for another room."""
    UNDECRYPTABLE = "undecryptable"
    """The ciphertext does not fit its session."""
    PICKLE_KEY = "pickle_key"
    """The stored session cannot be read with `encryption.pickle_key`."""
    INVALID = "invalid"
    """The event is malformed, or encrypted with another algorithm."""

    @classmethod
    def of(cls, error: EncryptionError) -> GivenUp:
        """Return the reason that an error of the engine stands for; `NO_KEY` for an unknown session."""
        return next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), cls.INVALID)


_REASONS: Final[dict[type[EncryptionError], GivenUp]] = {
    UnknownSession: GivenUp.NO_KEY,
    ReplayedMessage: GivenUp.REPLAYED,
    WrongContext: GivenUp.WRONG_CONTEXT,
    Undecryptable: GivenUp.UNDECRYPTABLE,
    InvalidPickle: GivenUp.PICKLE_KEY,
}


class KeyRequest(StrEnum):
    """A step of a request for the key of a session, with the value of the metric's label."""

    SENT = "sent"
    """A ghost asked another device; every attempt counts."""
    FULFILLED = "fulfilled"
    """The other device forwarded the key."""
    RECEIVED = "received"
    """Another device asked a ghost."""
    ANSWERED = "answered"
    """The ghost forwarded the key."""


class ToDevice(StrEnum):
    """The type of a to-device event that ghosts send, which is the value of the metric's label."""

    ENCRYPTED = "m.room.encrypted"
    KEY_REQUEST = "m.room_key_request"
    WITHHELD = "m.room_key.withheld"
    VERIFICATION_CANCEL = "m.key.verification.cancel"


class Pull(StrEnum):
    """The result of one ``GET /sync`` for the to-device queue of a ghost, with the value of the metric's label."""

    EMPTY = "empty"
    EVENTS = "events"
    FAILED = "failed"


class DeviceSetUp(StrEnum):
    """The reason for a new device of a ghost, with the value of the metric's label."""

    NEW = "new"
    """The ghost had no device."""
    LOST = "lost"
    """The homeserver has other keys for the device than the database, as after a restored backup."""
    RESET = "reset"
    """An admin asked for it (`encryption reset`)."""


class EncryptionMetrics:
    """Counters and gauges of encrypted chats."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._register_events(registry)
        self._register_keys(registry)
        self._register_requests(registry)

    def _register_events(self, registry: CollectorRegistry) -> None:
        self._read = Counter(
            "daarion_encryption_events_read",
            "Decrypted room events, by `attempt`: `first` (the key was stored), `pull` (the key was in the ghost's "
            "to-device queue), `retry` (the key came while the event was waiting).",
            ("attempt",),
            registry=registry,
        )
        self._waiting = Gauge(
            "daarion_encryption_events_waiting",
            "Encrypted room events that wait for their key.",
            registry=registry,
        )
        self._given_up = Counter(
            "daarion_encryption_events_given_up",
            "Encrypted room events that are not tried again, by `reason`: `no_key` (none came within a day), `withheld` "
            "(the sender's device sends none), `replayed`, `wrong_context` (another user's session, or another room), "
            "`undecryptable`, `pickle_key` (the stored session has another pickle key), `invalid`.",
            ("reason",),
            registry=registry,
        )
        self._encrypted = Counter(
            "daarion_encryption_events_encrypted",
            "Room events of ghosts that were encrypted; an edit is an event of its own.",
            registry=registry,
        )
        for attempt in ReadAt:
            self._read.labels(attempt)
        for reason in GivenUp:
            self._given_up.labels(reason)

    def _register_keys(self, registry: CollectorRegistry) -> None:
        self._key_requests = Counter(
            "daarion_encryption_key_requests",
            "Requests for the key of a session, by `step`: `sent` (by a ghost), `fulfilled` (the key came), `received` "
            "(from a device of a person), `answered` (the key was forwarded).",
            ("step",),
            registry=registry,
        )
        self._sessions = Counter(
            "daarion_encryption_sessions_started",
            "Megolm sessions of ghosts, by `reason`: `first` (of the ghost in the room), `restart` (of the service), "
            "`messages` and `age` (as the room allows), `device_gone` (a device that had the key).",
            ("reason",),
            registry=registry,
        )
        self._devices = Counter(
            "daarion_encryption_devices_set_up",
            "Devices of ghosts whose keys were uploaded, by `reason`: `new`, `lost` (the homeserver has other keys than the "
            "database), `reset` (by an admin).",
            ("reason",),
            registry=registry,
        )
        for step in KeyRequest:
            self._key_requests.labels(step)
        for rotation in Rotation:
            self._sessions.labels(rotation)
        for set_up in DeviceSetUp:
            self._devices.labels(set_up)

    def _register_requests(self, registry: CollectorRegistry) -> None:
        self._to_device = Counter(
            "daarion_encryption_to_device_sent",
            "To-device requests to the homeserver, by `type` of the event: `m.room.encrypted` (keys of sessions, and "
            "repaired Olm sessions), `m.room_key_request`, `m.room_key.withheld`, `m.key.verification.cancel` (requests to "
            "verify an agent are declined).",
            ("type",),
            registry=registry,
        )
        self._pulls = Counter(
            "daarion_encryption_pulls",
            "Requests for the to-device queue of a ghost, by `result`: `empty`, `events`, `failed`.",
            ("result",),
            registry=registry,
        )
        for event_type in ToDevice:
            self._to_device.labels(event_type)
        for result in Pull:
            self._pulls.labels(result)

    def count_read(self, attempt: ReadAt) -> None:
        """Count one decrypted room event."""
        self._read.labels(attempt).inc()

    def set_waiting(self, count: int) -> None:
        """Set the number of room events that wait for their key."""
        self._waiting.set(count)

    def count_given_up(self, reason: GivenUp) -> None:
        """Count one room event that is not tried again."""
        self._given_up.labels(reason).inc()

    def count_encrypted(self) -> None:
        """Count one encrypted room event of a ghost."""
        self._encrypted.inc()

    def count_key_request(self, step: KeyRequest) -> None:
        """Count one step of a key request."""
        self._key_requests.labels(step).inc()

    def count_session(self, reason: Rotation) -> None:
        """Count one new Megolm session of a ghost."""
        self._sessions.labels(reason).inc()

    def count_device(self, reason: DeviceSetUp) -> None:
        """Count one device of a ghost whose keys were uploaded."""
        self._devices.labels(reason).inc()

    def count_to_device(self, event_type: str) -> None:
        """Count one to-device request.

        Args:
            event_type: The type of its events, one of `ToDevice`.

        Raises:
            ValueError: The type is none of `ToDevice`; a new label value needs a description.
        """
        self._to_device.labels(ToDevice(event_type)).inc()

    def count_pull(self, result: Pull) -> None:
        """Count one request for the to-device queue of a ghost."""
        self._pulls.labels(result).inc()
