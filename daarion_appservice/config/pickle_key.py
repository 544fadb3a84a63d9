"""The text form of ``encryption.pickle_key``: 32 random bytes in base64."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Final

KEY_BYTES: Final = 32
"""The length that vodozemac requires."""
_HOW: Final = "`openssl rand -base64 32` makes one"


def new_pickle_key() -> str:
    """Return a random key as text."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def decode_pickle_key(text: str) -> bytes:
    """Return the 32 bytes of a key.

    Args:
        text: The key in base64, in either alphabet, with or without padding.

    Raises:
        ValueError: The text is not base64, has another length, or repeats one byte; the sentence contains none of it.
    """
    unpadded = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        octets = base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"must be {KEY_BYTES} random bytes in base64: {_HOW}") from None
    if len(octets) != KEY_BYTES:
        raise ValueError(f"has {len(octets)} bytes in base64, and must have {KEY_BYTES}: {_HOW}")
    if len(set(octets)) == 1:
        raise ValueError(f"is one byte {KEY_BYTES} times, and must be random: {_HOW}")
    return octets
