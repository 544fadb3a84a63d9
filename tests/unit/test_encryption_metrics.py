"""The metrics of encrypted chats: every value of a label is exported from the start, and each method counts its own."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from daarion_appservice.encryption.errors import (
    EncryptionError,
    InvalidAttachment,
    InvalidContent,
    InvalidPickle,
    InvalidSignature,
    ReplayedMessage,
    Undecryptable,
    UnknownSession,
    WrongContext,
)
from daarion_appservice.encryption.outbound_sessions import Rotation
from daarion_appservice.matrix.encryption.metrics import (
    DeviceSetUp,
    EncryptionMetrics,
    GivenUp,
    KeyRequest,
    Pull,
    ReadAt,
    ToDevice,
)


def _values(registry: CollectorRegistry) -> dict[str, float]:
    """Return the samples by metric and label value, without the times of creation."""
    return {
        "/".join([sample.name.removeprefix("daarion_encryption_"), *sample.labels.values()]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_every_label_is_exported_from_the_start() -> None:
    registry = CollectorRegistry()
    EncryptionMetrics(registry)
    expected = {"events_waiting", "events_encrypted_total"}
    expected |= {f"events_read_total/{each}" for each in ReadAt}
    expected |= {f"events_given_up_total/{each}" for each in GivenUp}
    expected |= {f"key_requests_total/{each}" for each in KeyRequest}
    expected |= {f"sessions_started_total/{each}" for each in Rotation}
    expected |= {f"devices_set_up_total/{each}" for each in DeviceSetUp}
    expected |= {f"to_device_sent_total/{each}" for each in ToDevice}
    expected |= {f"pulls_total/{each}" for each in Pull}
    assert _values(registry) == dict.fromkeys(expected, 0)


def test_each_method_counts_its_own_metric() -> None:
    registry = CollectorRegistry()
    metrics = EncryptionMetrics(registry)
    metrics.count_read(ReadAt.PULL)
    metrics.set_waiting(7)
    metrics.count_given_up(GivenUp.WITHHELD)
    metrics.count_encrypted()
    metrics.count_key_request(KeyRequest.ANSWERED)
    metrics.count_session(Rotation.AGE)
    metrics.count_device(DeviceSetUp.LOST)
    metrics.count_to_device("m.room_key_request")
    metrics.count_pull(Pull.FAILED)
    assert {name: value for name, value in _values(registry).items() if value} == {
        "events_read_total/pull": 1,
        "events_waiting": 7,
        "events_given_up_total/withheld": 1,
        "events_encrypted_total": 1,
        "key_requests_total/answered": 1,
        "sessions_started_total/age": 1,
        "devices_set_up_total/lost": 1,
        "to_device_sent_total/m.room_key_request": 1,
        "pulls_total/failed": 1,
    }


def test_unknown_to_device_type_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a valid ToDevice"):
        EncryptionMetrics(CollectorRegistry()).count_to_device("org.example")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnknownSession("?"), GivenUp.NO_KEY),
        (ReplayedMessage("?"), GivenUp.REPLAYED),
        (WrongContext("?"), GivenUp.WRONG_CONTEXT),
        (Undecryptable("?"), GivenUp.UNDECRYPTABLE),
        (InvalidPickle("?"), GivenUp.PICKLE_KEY),
        (InvalidContent("?"), GivenUp.INVALID),
        (InvalidSignature("?"), GivenUp.INVALID),
        (InvalidAttachment("?"), GivenUp.INVALID),
    ],
)
def test_each_error_has_its_reason(error: EncryptionError, reason: GivenUp) -> None:
    assert GivenUp.of(error) is reason
