"""Unit tests of reading fields of Matrix events, whose JSON may have any types."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.event_fields import (
    content_of,
    has_sender_and_id,
    inner,
    name_text,
    optional_text,
    text,
    time_ms,
    topic_text,
)
from daarion_appservice.city.text_sanitizing import MAX_TOPIC_CHARS

NO_TEXTS: list[Any] = [None, 1, True, [], ["x"], {}, {"x": "y"}]


@pytest.mark.parametrize("value", NO_TEXTS)
def test_field_that_is_no_string_is_missing(value: object) -> None:
    event = {"key": value}
    assert text(event, "key") == text({}, "key") == ""
    for read in (optional_text, name_text, topic_text):
        assert read(event, "key") is read({}, "key") is None


@pytest.mark.parametrize("value", [None, 1, "x", ["x"]])
def test_field_that_is_no_object_is_empty(value: object) -> None:
    assert inner({"key": value}, "key") == content_of({"content": value}) == content_of({}) == {}


@pytest.mark.parametrize("value", ["a\0b", "a\ud800b"])
def test_text_of_event_can_be_stored(value: str) -> None:
    stored = text({"key": value}, "key")
    assert "\0" not in stored
    assert stored.encode().decode() == optional_text({"key": value}, "key")


def test_topic_is_cut_to_limit() -> None:
    assert topic_text({"topic": "x" * 60_000}, "topic") == "x" * MAX_TOPIC_CHARS


@pytest.mark.parametrize(
    ("sender", "event_id", "expected"),
    [
        ("@alice:city.localhost", "$1", True),
        ("@alice:city.localhost", "$" + "1" * 254, True),
        ("@alice:city.localhost", "$" + "1" * 255, False),
        ("@alice:city.localhost", "", False),
        ("@alice:city.localhost", None, False),
        ("alice", "$1", False),
        (None, "$1", False),
    ],
)
def test_event_is_signed_with_sender_and_id(sender: object, event_id: object, expected: bool) -> None:
    assert has_sender_and_id({"sender": sender, "event_id": event_id}) is expected


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        (1_700_000_000_000, 1_700_000_000_000),
        (-1, 0),
        (1 << 80, 253_402_300_799_000),
        (True, 0),
        (1.5, 0),
        ("1", 0),
        (None, 0),
    ],
)
def test_timestamp_of_event_is_limited(value: object, expected_ms: int) -> None:
    assert time_ms({"origin_server_ts": value}) == expected_ms
