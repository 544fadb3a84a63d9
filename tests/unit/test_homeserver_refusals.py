"""Classification of the homeserver's error responses, and the retry delay of a 429 response."""

from __future__ import annotations

import pytest

from daarion_appservice.city.delivery_errors import DeliveryError
from daarion_appservice.errors import HomeserverRefused, HomeserverUnavailable, InvalidHomeserverResponse
from daarion_appservice.matrix.client.refusals import ACCOUNT_TAKEN, advice, delivery_error, is_blocked, is_transient
from daarion_appservice.matrix.client.transport import _rate_limit_error

BLOCKED = HomeserverRefused(403, "M_UNKNOWN", "This room has been blocked on this server")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (HomeserverRefused(401, "M_UNKNOWN_TOKEN", ""), True),
        (HomeserverRefused(429, "M_LIMIT_EXCEEDED", ""), True),
        (HomeserverRefused(500, "M_UNKNOWN", ""), True),
        (HomeserverRefused(403, "M_FORBIDDEN", ""), False),
        (HomeserverRefused(404, "M_NOT_FOUND", ""), False),
        (InvalidHomeserverResponse("no chunk"), False),
    ],
)
def test_transient_refusal_concerns_whole_service(error: HomeserverRefused, expected: bool) -> None:
    assert is_transient(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (HomeserverRefused(400, ACCOUNT_TAKEN, ""), DeliveryError.ACCOUNT_TAKEN),
        (HomeserverRefused(403, "M_FORBIDDEN", ""), DeliveryError.NOT_ALLOWED),
        (HomeserverRefused(413, "M_TOO_LARGE", ""), DeliveryError.TOO_LARGE),
        (HomeserverRefused(400, "M_BAD_JSON", ""), DeliveryError.REFUSED),
        (HomeserverUnavailable("no response"), DeliveryError.REFUSED),
    ],
)
def test_delivery_error_follows_status(error: Exception, expected: DeliveryError) -> None:
    assert delivery_error(error) is expected


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (HomeserverRefused(400, "M_EXCLUSIVE", ""), "namespaces overlap"),
        (HomeserverRefused(401, "M_UNKNOWN_TOKEN", ""), "registration check"),
        (HomeserverRefused(400, ACCOUNT_TAKEN, "an account of a person"), "an account of a person"),
        (BLOCKED, "unblock"),
    ],
)
def test_advice_names_correction(error: HomeserverRefused, words: str) -> None:
    assert words in (advice(error) or "")


def test_other_errors_have_no_advice() -> None:
    assert advice(HomeserverRefused(403, "M_FORBIDDEN", "")) is None
    assert advice(HomeserverUnavailable("no response")) is None


def test_blocked_room_is_recognized_by_message() -> None:
    assert is_blocked(BLOCKED)
    assert not is_blocked(HomeserverRefused(403, "M_FORBIDDEN", "You are not invited"))


@pytest.mark.parametrize(
    ("body", "retry_after", "delay_ms"),
    [
        (b'{"retry_after_ms": 250}', "", 250),
        (b'{"retry_after_ms": 250}', "9", 250),
        (b"{}", "9", 9_000),
        (b"<html>", "9", 9_000),
        (b"[]", "", 1_000),
        (b'{"retry_after_ms": true}', "soon", 1_000),
        (b'{"retry_after_ms": -5}', "", 0),
        (b"{}", "86400", 300_000),
    ],
)
def test_retry_delay_is_read_from_body_or_header(body: bytes, retry_after: str, delay_ms: int) -> None:
    assert _rate_limit_error(body, retry_after).retry_after_ms == delay_ms


def test_rate_limit_keeps_errcode_and_message() -> None:
    error = _rate_limit_error(b'{"errcode": "M_LIMIT_EXCEEDED", "error": "slow down"}', "")
    assert (error.status, error.errcode, error.message) == (429, "M_LIMIT_EXCEEDED", "slow down")
