"""Which packing of a file goes to whom."""

from __future__ import annotations

import pytest

from daarion_appservice.http.content_coding import choose_coding

BOTH = {"br": b"", "gzip": b""}


@pytest.mark.parametrize(
    ("accepted", "packing"),
    [
        ("gzip, deflate, br, zstd", "br"),  # as browsers say it over TLS
        ("gzip, deflate", "gzip"),  # and without
        ("GZIP", "gzip"),
        ("br;q=0.1, gzip;q=1.0", "br"),  # of what is taken the smallest, whatever is preferred
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
def test_the_smallest_goes_out_that_whoever_asks_takes(accepted: str, packing: str | None) -> None:
    assert choose_coding(accepted, BOTH) == packing


def test_what_did_not_get_smaller_goes_as_it_is() -> None:
    assert choose_coding("br, gzip", {}) is None
    assert choose_coding("br, gzip", {"gzip": b""}) == "gzip"
