"""Base64 as Matrix writes it: without padding, in the standard or the URL-safe alphabet."""

from __future__ import annotations

import base64
import binascii

from .errors import InvalidContent


def encode_base64(octets: bytes, *, url_safe: bool = False) -> str:
    """Encode bytes as base64 without padding."""
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    return encode(octets).decode("ascii").rstrip("=")


def decode_base64(text: object, *, what: str, url_safe: bool = False) -> bytes:
    """Decode base64 with or without padding.

    Args:
        text: Any JSON value.
        what: The name of the value for the error.
        url_safe: Whether the text is in the URL-safe alphabet.

    Returns:
        The decoded bytes.

    Raises:
        InvalidContent: The value is not base64.
    """
    if not isinstance(text, str) or not text.isascii():
        raise InvalidContent(f"{what} is not base64")
    unpadded = text.rstrip("=")
    try:
        padded = unpadded + "=" * (-len(unpadded) % 4)
        return base64.b64decode(padded, altchars=b"-_" if url_safe else None, validate=True)
    except binascii.Error as error:
        raise InvalidContent(f"{what} is not base64") from error


def normalized_key(text: object, *, what: str = "the key") -> str:
    """Return a public key of 32 bytes in its one canonical form.

    Keys name rows: without this, a device could appear under as many names as base64 has ways to write its key.

    Raises:
        InvalidContent: The value is not base64 of 32 bytes.
    """
    octets = decode_base64(text, what=what)
    if len(octets) != 32:
        raise InvalidContent(f"{what} has {len(octets)} bytes, 32 are needed")
    return encode_base64(octets)
