"""Sanitizing of text from outside for storage, JSON and display."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.presence import Heartbeat
from daarion_appservice.city.text_sanitizing import MAX_NAME_CHARS, one_line, storable, strip_bidi_controls
from daarion_appservice.city.types import SubjectId
from daarion_appservice.json_encoding import encode_json

BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Оксана", "Оксана"),
        ("N\u202egpj.exe", "Ngpj.exe"),
        (f"a{BIDI_CONTROLS}b", "ab"),
        ("  two\r\nlines\u2028three ", "two lines three"),
        ("nul\0 half\ud800", "nul\N{REPLACEMENT CHARACTER} half\N{REPLACEMENT CHARACTER}"),
        ("👩‍🌾", "👩‍🌾"),
        (BIDI_CONTROLS, ""),
        ("\u200b\u3164 \u2800\ufe0f", ""),
        ("a\u200bb ", "a\u200bb"),
        ("я" * 5000, "я" * MAX_NAME_CHARS),
        ("x" * 254 + " y", "x" * 254),
    ],
)
def test_outside_name_is_one_bounded_line(given: str, shown: str) -> None:
    assert one_line(given) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_storable_and_short(text: str) -> None:
    for fit in (storable(text), one_line(text)):
        assert "\0" not in fit
        fit.encode()
    assert len(one_line(text, 10)) <= 10
    assert strip_bidi_controls(one_line(text)) == one_line(text)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=1 << 64)
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner),
    max_leaves=8,
)


@given(ANYTHING)
def test_any_content_can_be_encoded(content: object) -> None:
    orjson.loads(encode_json(content))


def test_lone_surrogate_becomes_replacement_character() -> None:
    assert (
        encode_json({"detail": ["a\ud800"], "big": 1 << 80})
        == '{"detail":["a\ufffd"],"big":1.2089258196146292e+24}'.encode()
    )


@pytest.mark.parametrize(("sent", "kept"), [("слу\u202eхаю\nмісто", "слухаю місто"), ("\u2066", ""), ("", "")])
def test_heartbeat_status_text_is_one_line(sent: str, kept: str) -> None:
    assert Heartbeat(SubjectId("u_123"), status_msg=sent).status_msg == kept
