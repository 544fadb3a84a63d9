"""Range requests (RFC 9110 §14) of a single range, as media players send them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from aiohttp import hdrs, web


class NotSatisfiable(Exception):
    """The range begins after the end of the file."""


def wanted_range(request: web.Request, size: int, etag: str) -> range | None:
    """Return the requested range of a file.

    Args:
        request: the request with its headers ``Range`` and ``If-Range``.
        size: the size of the file in bytes.
        etag: the ETag of the file, with quotes.

    Returns:
        The range, or None for the whole file: without a range, for several or an invalid one, or if ``If-Range`` has
        another ETag.

    Raises:
        NotSatisfiable: the range begins after the end of the file.
    """
    if hdrs.RANGE not in request.headers or request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return None
    try:
        asked = request.http_range
    except ValueError:
        return None
    if (
        (asked.start is not None and asked.start >= size)
        or (asked.start is None and asked.stop is not None)
        or size == 0
    ):
        raise NotSatisfiable
    begin, end, _ = asked.indices(size)
    return range(begin, end)


async def part_of(pieces: Any, wanted: range) -> AsyncIterator[bytes]:
    """Yield the bytes of ``wanted`` from a file in pieces, and read no piece after its end."""
    at = 0
    async with aclosing(pieces):
        async for piece in pieces:
            part = piece[max(wanted.start - at, 0) : max(wanted.stop - at, 0)]
            at += len(piece)
            if part:
                yield part
            if at >= wanted.stop:
                return
