"""Links to files that carry their own permission: a browser sends no token when a page shows a picture.

    whoever may read a message is told  /city/media/<server>/<id>?expires=<s>&signature=<hmac>  ─► the file, without a token

A link is good for one file, and for 12 to 24 hours. All that are made within 12 hours are equal, so that what holds them can be
kept and given to every reader who may have it. A file that is shown no more is gone for a link, too.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final

from .ports import NowMs

_PERIOD_S: Final = 12 * 3600
_SIGNATURE_BYTES: Final = 16


class MediaLinks:
    """``secret`` is known to all processes of the city; ``all_are_private``: whether nothing is read without signing in."""

    def __init__(self, secret: str, now_ms: NowMs, *, all_are_private: bool) -> None:
        self._key = hmac.digest(secret.encode(), b"daarion media links", sha256)
        self._now_ms = now_ms
        self._all_are_private = all_are_private

    @property
    def expires_s(self) -> int:
        """When the links end that are made now, in seconds since 1970."""
        return (self._now_ms() // 1000 // _PERIOD_S + 2) * _PERIOD_S

    def query(self, mxc: str, *, is_private: bool) -> str:
        """What to append to the address of a file; nothing for one that everybody may have."""
        if not (is_private or self._all_are_private):
            return ""
        expires = str(self.expires_s)
        return f"expires={expires}&signature={self._signature(mxc, expires)}"

    def is_good(self, mxc: str, expires: str, signature: str) -> bool:
        """Whether ``query`` made this for the file, and it has not ended yet."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= len(str(1 << 53))):
            return False
        expected = self._signature(mxc, expires)
        is_ours = hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass"))
        return is_ours and int(expires) * 1000 > self._now_ms()

    def _signature(self, mxc: str, expires: str) -> str:
        digest = hmac.digest(self._key, f"{expires} {mxc}".encode(), sha256)
        return urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).decode().rstrip("=")
