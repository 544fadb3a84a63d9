"""Serves files from memory, in the best precompressed form that the client accepts."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import ETag, hdrs, web

from .content_coding import CODING_SUFFIXES, choose_coding, is_cached

_MEDIA_TYPES: Final = {".js": "text/javascript", ".webmanifest": "application/manifest+json", ".woff2": "font/woff2"}
"""The media types for which ``mimetypes`` depends on the machine, or has none."""


@dataclass(frozen=True, slots=True, eq=False)
class CompressedFile:
    """A file with its precompressed forms."""

    content: bytes
    compressed: Mapping[str, bytes]
    """The compressed contents by content coding; empty where compression would not make the file smaller."""
    content_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> CompressedFile:
        """Read a file and the precompressed files beside it. Raises OSError."""
        content = path.read_bytes()
        files = {coding: path.with_name(path.name + suffix) for coding, suffix in CODING_SUFFIXES.items()}
        compressed = {coding: file.read_bytes() for coding, file in files.items() if file.exists()}
        return cls(content, compressed, _media_type(path), hashlib.sha256(content).hexdigest()[:32])

    def response(self, request: web.Request, headers: Mapping[str, str], *, status: int = 200) -> web.Response:
        """Return the response with this file.

        Args:
            request: the request, whose ``Accept-Encoding`` and ``If-None-Match`` count.
            headers: additional headers.
            status: the status; 200 becomes 304 if the client has the file.
        """
        if status == 200 and is_cached(request, self.etag):
            response = web.Response(status=304)
        else:
            response = self._full_response(request, status)
        # Weak, because the tag is the same for all content codings.
        response.etag = ETag(self.etag, is_weak=True)
        response.headers.update(headers)
        if self.compressed:
            response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        return response

    def _full_response(self, request: web.Request, status: int) -> web.Response:
        coding = choose_coding(request.headers.get(hdrs.ACCEPT_ENCODING, ""), self.compressed)
        content = self.compressed[coding] if coding else self.content
        response = web.Response(status=status, body=content, headers={hdrs.CONTENT_TYPE: self.content_type})
        if coding:
            response.headers[hdrs.CONTENT_ENCODING] = coding
        return response


def _media_type(path: Path) -> str:
    media_type = _MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    is_text = media_type.startswith("text/")
    return f"{media_type}; charset=utf-8" if is_text else media_type
