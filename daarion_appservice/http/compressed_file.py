"""Serves files from memory, in the best precompressed form that the client accepts."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import ETag, hdrs, web

PACKINGS: Final = {"br": ".br", "gzip": ".gz"}
"""The file suffix of each content coding of HTTP, the best compression first."""

_TYPES: Final = {".js": "text/javascript", ".webmanifest": "application/manifest+json", ".woff2": "font/woff2"}
"""The media types for which ``mimetypes`` depends on the machine, or has none."""


@dataclass(frozen=True, slots=True, eq=False)
class CompressedFile:
    content: bytes
    packed: Mapping[str, bytes]
    """The compressed contents by content coding; empty where compression would not make the file smaller."""
    content_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> CompressedFile:
        """Read a file and the precompressed files beside it. Raises OSError."""
        content = path.read_bytes()
        beside = {packing: path.with_name(path.name + suffix) for packing, suffix in PACKINGS.items()}
        packed = {packing: file.read_bytes() for packing, file in beside.items() if file.exists()}
        return cls(content, packed, _type_of(path), hashlib.sha256(content).hexdigest()[:32])

    def answer(self, request: web.Request, headers: Mapping[str, str], *, status: int = 200) -> web.Response:
        """Return the response with this file.

        Args:
            request: the request, whose ``Accept-Encoding`` and ``If-None-Match`` count.
            headers: additional headers.
            status: the status; 200 becomes 304 if the client has the file.
        """
        if status == 200 and any(each.value in {self.etag, "*"} for each in request.if_none_match or ()):
            response = web.Response(status=304)
        else:
            response = self._whole(best_packing(request.headers.get(hdrs.ACCEPT_ENCODING, ""), self.packed), status)
        # Weak, because the tag is the same for all content codings.
        response.etag = ETag(self.etag, is_weak=True)
        response.headers.update(headers)
        if self.packed:
            response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        return response

    def _whole(self, packing: str | None, status: int) -> web.Response:
        content = self.packed[packing] if packing else self.content
        response = web.Response(status=status, body=content, headers={hdrs.CONTENT_TYPE: self.content_type})
        if packing:
            response.headers[hdrs.CONTENT_ENCODING] = packing
        return response


def best_packing(accepted: str, packed: Mapping[str, bytes]) -> str | None:
    """Return the best available content coding that an ``Accept-Encoding`` accepts (RFC 9110 §12.5.3).

    Args:
        accepted: the header ``Accept-Encoding``.
        packed: the available compressed contents by content coding.

    Returns:
        The content coding, or None for the uncompressed content.
    """
    weights = dict(_weights(accepted))
    wanted = weights.get("*", 0.0)
    return next((packing for packing in PACKINGS if packing in packed and weights.get(packing, wanted) > 0), None)


def _weights(accepted: str) -> list[tuple[str, float]]:
    return [_weight(each) for each in accepted.lower().split(",")]


def _weight(offer: str) -> tuple[str, float]:
    name, _, parameter = offer.partition(";")
    key, _, value = parameter.partition("=")
    try:
        weight = float(value) if key.strip() == "q" else 1.0
    except ValueError:
        weight = 0.0
    return name.strip(), weight


def _type_of(path: Path) -> str:
    found = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    is_text = found.startswith("text/")
    return f"{found}; charset=utf-8" if is_text else found
