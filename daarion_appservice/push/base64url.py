"""Base64 with the URL-safe alphabet and without padding, as Web Push uses it."""

from __future__ import annotations

import base64
import binascii
import re


def encode_base64url(octets: bytes) -> str:
    """Return bytes as text."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode_base64url(text: str, length: int) -> bytes:
    """Return the bytes of a text, which may have padding.

    Args:
        length: The number of bytes that it must have.

    Raises:
        ValueError: The text has other characters or another length.
    """
    unpadded = text.rstrip("=")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", unpadded):
        raise ValueError("is not base64url")
    try:
        octets = base64.urlsafe_b64decode(unpadded + "=" * (-len(unpadded) % 4))
    except binascii.Error:
        raise ValueError("is not base64url") from None
    if len(octets) != length:
        raise ValueError(f"has {len(octets)} bytes, and must have {length}")
    return octets
