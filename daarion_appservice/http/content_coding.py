"""Content codings of responses: which one a client accepts (RFC 9110 §12.5.3), and whether it has the content already."""

from __future__ import annotations

import zlib
from collections.abc import Container
from typing import Final

from aiohttp import web

CODING_SUFFIXES: Final = {"br": ".br", "gzip": ".gz"}
"""The file suffix of each content coding, the best compression first."""

_GZIP_WINDOW: Final = 31


def choose_coding(accept_encoding: str, available: Container[str]) -> str | None:
    """Return the best available content coding that a client accepts.

    Args:
        accept_encoding: the header ``Accept-Encoding``.
        available: the content codings that the server has.

    Returns:
        The content coding, or None for the uncompressed content.
    """
    weights = dict(_weight(each) for each in accept_encoding.lower().split(","))
    default = weights.get("*", 0.0)
    return next(
        (coding for coding in CODING_SUFFIXES if coding in available and weights.get(coding, default) > 0), None
    )


def gzip(content: bytes, level: int) -> bytes:
    """Compress ``content``; unlike ``gzip.compress`` without the time, so that equal contents have equal results."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(content) + compressor.flush()


def is_cached(request: web.Request, etag: str) -> bool:
    """Return whether ``If-None-Match`` contains an ETag, so that the response is 304 (RFC 9110 §13.1.2)."""
    return any(each.value in {etag, "*"} for each in request.if_none_match or ())


def _weight(offer: str) -> tuple[str, float]:
    coding, _, parameter = offer.partition(";")
    key, _, value = parameter.partition("=")
    try:
        weight = float(value) if key.strip() == "q" else 1.0
    except ValueError:
        weight = 0.0
    return coding.strip(), weight
