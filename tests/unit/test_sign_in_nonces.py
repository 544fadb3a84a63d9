"""Unit tests of the nonces of sign-ins: signature and expiry."""

from __future__ import annotations

import pytest

from daarion_appservice.city.sign_in_nonces import NONCE_LIFETIME_S, SignInNonces
from daarion_appservice.errors import Forbidden

NOW_MS = 1_795_317_512_345


def nonces(now_ms: int = NOW_MS, *, secret: str = "secret", is_required: bool = True) -> SignInNonces:
    return SignInNonces(secret, lambda: now_ms, is_required=is_required)


def test_issued_nonces_are_valid_and_differ() -> None:
    first, second = nonces().issue(), nonces().issue()
    assert first.text != second.text
    for nonce in (first, second):
        nonces().check(nonce.text)


def test_nonce_is_invalid_after_lifetime() -> None:
    nonce = nonces().issue()
    assert NOW_MS < nonce.expires_at_ms <= NOW_MS + NONCE_LIFETIME_S * 1000
    nonces(nonce.expires_at_ms - 1).check(nonce.text)
    with pytest.raises(Forbidden) as refused:
        nonces(nonce.expires_at_ms).check(nonce.text)
    assert refused.value.code == "nonce_invalid"


def test_changed_nonce_is_invalid() -> None:
    expiry, random, signature = nonces().issue().text.split(".")
    later = str(int(expiry) + 1)
    for changed in (f"{later}.{random}.{signature}", f"{expiry}.x{random}.{signature}", f"{expiry}.{random}.", expiry):
        with pytest.raises(Forbidden):
            nonces().check(changed)


@pytest.mark.parametrize("text", ["", ".", "..", "\ud800.x.y", "9" * 255, "\u0661.a.b", "1e9.a.b"])
def test_text_that_is_no_nonce_is_invalid(text: str) -> None:
    for is_required in (True, False):
        with pytest.raises(Forbidden):
            nonces(is_required=is_required).check(text)


def test_nonce_of_other_secret_is_invalid() -> None:
    with pytest.raises(Forbidden):
        nonces(secret="another").check(nonces().issue().text)


def test_missing_nonce_is_valid_unless_required() -> None:
    nonces(is_required=False).check(None)
    with pytest.raises(Forbidden):
        nonces().check(None)
