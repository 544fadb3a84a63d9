"""Unit tests of signed media URLs: HMAC, expiry and equality within a period."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from daarion_appservice.city.media_links import MediaLinks
from tests.parts.clock import MillisecondsClock

MXC = "mxc://city.localhost/abc"
HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000 // (12 * HOUR_MS) * 12 * HOUR_MS


@pytest.fixture
def clock() -> MillisecondsClock:
    return MillisecondsClock(START_MS)


def links(clock: MillisecondsClock, secret: str = "secret", *, all_are_private: bool = False) -> MediaLinks:
    return MediaLinks(secret, clock, all_are_private=all_are_private)


def signed(made_by: MediaLinks) -> tuple[str, str]:
    fields = parse_qs(made_by.query(MXC, is_private=True))
    return fields["expires"][0], fields["signature"][0]


def test_public_file_has_no_query(clock: MillisecondsClock) -> None:
    assert links(clock).query(MXC, is_private=False) == ""
    assert links(clock, all_are_private=True).query(MXC, is_private=False) != ""


def test_signature_is_valid_for_one_file_and_secret(clock: MillisecondsClock) -> None:
    expires, signature = signed(links(clock))
    assert links(clock).is_good(MXC, expires, signature)
    assert not links(clock).is_good(MXC + "d", expires, signature)
    assert not links(clock, "another").is_good(MXC, expires, signature)
    assert not links(clock).is_good(MXC, str(int(expires) + 1), signature)


def test_link_expires_after_12_to_24_hours(clock: MillisecondsClock) -> None:
    expires, signature = first = signed(links(clock))
    clock.now_ms = START_MS + 12 * HOUR_MS - 1
    assert signed(links(clock)) == first
    clock.now_ms += 1
    assert signed(links(clock)) != first
    clock.now_ms = START_MS + 24 * HOUR_MS - 1
    assert links(clock).is_good(MXC, expires, signature)
    clock.now_ms += 1
    assert not links(clock).is_good(MXC, expires, signature)


@pytest.mark.parametrize("expires", ["", "-1", "1.5", "x", "١٧", "9" * 5_000])
def test_malformed_expiry_is_refused(clock: MillisecondsClock, expires: str) -> None:
    assert not links(clock).is_good(MXC, expires, signed(links(clock))[1])


@pytest.mark.parametrize("signature", ["", "я", "\ud800", "x" * 5_000])
def test_malformed_signature_is_refused(clock: MillisecondsClock, signature: str) -> None:
    assert not links(clock).is_good(MXC, signed(links(clock))[0], signature)
