"""The content coding of a response, chosen by ``Accept-Encoding``."""

from __future__ import annotations

import pytest

from daarion_appservice.http.content_coding import choose_coding

BOTH = {"br": b"", "gzip": b""}


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),  # browsers over TLS
        ("gzip, deflate", "gzip"),  # browsers without TLS
        ("GZIP", "gzip"),
        ("br;q=0.1, gzip;q=1.0", "br"),  # the smallest, not the preferred one
        ("br;q=0, gzip", "gzip"),
        ("br ; q=0.0,*", "gzip"),
        ("*", "br"),
        ("*;q=0", None),
        ("identity", None),
        ("", None),
        ("br;q=a lot", None),
        ("brotli, gzipped", None),
    ],
)
def test_coding_is_the_smallest_accepted(accepted: str, coding: str | None) -> None:
    assert choose_coding(accepted, BOTH) == coding


def test_coding_unavailable_is_not_chosen() -> None:
    assert choose_coding("br, gzip", {}) is None
    assert choose_coding("br, gzip", {"gzip": b""}) == "gzip"
