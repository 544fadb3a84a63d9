"""Unit tests of the size limits of a message's body, counted in bytes of JSON."""

from __future__ import annotations

import json

import pytest

from daarion_appservice.city.message_size import MAX_BODY_BYTES, check_body_size, check_content, truncate_body
from daarion_appservice.city.types import Content
from daarion_appservice.errors import InvalidInput

LARGEST = "x" * (MAX_BODY_BYTES - len('""'))


def json_bytes(body: str) -> int:
    return len(json.dumps(body, ensure_ascii=False).encode())


@pytest.mark.parametrize("body", ["", " ", "\n\t"])
def test_blank_body_is_422(body: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        check_content(Content(body))
    assert (raised.value.code, raised.value.status) == ("message_empty", 422)


@pytest.mark.parametrize("body", [LARGEST, "\n" * (len(LARGEST) // 2), "я" * (len(LARGEST) // 2)])
def test_largest_body_is_accepted(body: str) -> None:
    assert json_bytes(body) == MAX_BODY_BYTES
    check_body_size(body)
    assert truncate_body(body) == body


@pytest.mark.parametrize("sign", ["x", "\n", "я", "😀"])
def test_larger_body_is_413_and_truncated_to_the_limit(sign: str) -> None:
    body = sign * (len(LARGEST) + 1)
    with pytest.raises(InvalidInput) as raised:
        check_body_size(body)
    assert (raised.value.code, raised.value.status) == ("message_too_long", 413)
    truncated = truncate_body(body)
    check_body_size(truncated)
    assert truncated[-1] == "…"
    assert body.startswith(truncated[:-1])
    # The quotes and the ellipsis are counted twice; one more character would not fit.
    assert json_bytes(truncated[:-1] + sign) > MAX_BODY_BYTES - json_bytes("…")
