"""Signed links to media files: a browser sends no token when a page shows an image.

    a reader of a message receives  /city/media/<server>/<id>?expires=<s>&signature=<hmac>  ─► the file, without a token

A link is valid for one file and for 12 to 24 hours. All links to a file made within the same 12 hours are equal, so
that responses with links can be cached for every permitted reader. A file that no message shows any more is not served,
even by a link.
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
    """Signs links to media, and checks them.

    All processes of the city share ``secret``. With ``all_are_private``, every file requires signing in.
    """

    def __init__(self, secret: str, now_ms: NowMs, *, all_are_private: bool) -> None:
        self._key = hmac.digest(secret.encode(), b"daarion media links", sha256)
        self._now_ms = now_ms
        self._all_are_private = all_are_private

    @property
    def expires_s(self) -> int:
        """The expiry time of links made now, in seconds since 1970."""
        return (self._now_ms() // 1000 // _PERIOD_S + 2) * _PERIOD_S

    def query(self, mxc: str, *, is_private: bool) -> str:
        """Return the query string of a file's URL; empty for a public file."""
        if not (is_private or self._all_are_private):
            return ""
        expires = str(self.expires_s)
        return f"expires={expires}&signature={self._signature(mxc, expires)}"

    def is_good(self, mxc: str, expires: str, signature: str) -> bool:
        """Return whether `query` made this signature for the file, and it has not expired."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= len(str(1 << 53))):
            return False
        expected = self._signature(mxc, expires)
        is_ours = hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass"))
        return is_ours and int(expires) * 1000 > self._now_ms()

    def _signature(self, mxc: str, expires: str) -> str:
        digest = hmac.digest(self._key, f"{expires} {mxc}".encode(), sha256)
        return urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).decode().rstrip("=")
