"""A file that is answered as it is, packed in the best way that whoever asks can unpack."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import ETag, hdrs, web

PACKINGS: Final = {"br": ".br", "gzip": ".gz"}
"""By how much they pack, the best first: what HTTP calls each, and how a file that is packed so ends."""

_TYPES: Final = {".js": "text/javascript", ".webmanifest": "application/manifest+json", ".woff2": "font/woff2"}
"""Where machines differ in what they call them, or know nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class CompressedFile:
    content: bytes
    packed: Mapping[str, bytes]
    """By what HTTP calls the packing; none where that would not make it smaller."""
    content_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> CompressedFile:
        """With those beside it that are packed. Raises OSError."""
        content = path.read_bytes()
        beside = {packing: path.with_name(path.name + suffix) for packing, suffix in PACKINGS.items()}
        packed = {packing: file.read_bytes() for packing, file in beside.items() if file.exists()}
        return cls(content, packed, _type_of(path), hashlib.sha256(content).hexdigest()[:32])

    def answer(self, request: web.Request, headers: Mapping[str, str], *, status: int = 200) -> web.Response:
        """304 for whoever has it, in place of 200."""
        if status == 200 and any(each.value in {self.etag, "*"} for each in request.if_none_match or ()):
            response = web.Response(status=304)
        else:
            response = self._whole(best_packing(request.headers.get(hdrs.ACCEPT_ENCODING, ""), self.packed), status)
        # Weak, as it is the same however it is packed.
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
    """The best of those there are that ``accepted``, an ``Accept-Encoding``, takes (RFC 9110 §12.5.3); None: as it is."""
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
