"""Range requests (RFC 9110 §14) of a single range, as media players send them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from aiohttp import hdrs, web


class RangeNotSatisfiable(Exception):
    """The range begins after the end of the file."""


def requested_range(request: web.Request, size: int, etag: str) -> range | None:
    """Return the requested range of a file.

    Args:
        request: the request with its headers ``Range`` and ``If-Range``.
        size: the size of the file in bytes.
        etag: the ETag of the file, with quotes.

    Returns:
        The range, or None for the whole file: without a range, for several or an invalid one, or if ``If-Range`` has
        another ETag.

    Raises:
        RangeNotSatisfiable: the range begins after the end of the file.
    """
    if hdrs.RANGE not in request.headers or request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return None
    try:
        requested = request.http_range
    except ValueError:
        return None
    if (
        (requested.start is not None and requested.start >= size)
        or (requested.start is None and requested.stop is not None)
        or size == 0
    ):
        raise RangeNotSatisfiable
    begin, end, _ = requested.indices(size)
    return range(begin, end)


async def slice_chunks(chunks: Any, wanted: range) -> AsyncIterator[bytes]:
    """Yield the bytes of ``wanted`` from the chunks of a file, and read no chunk after its end."""
    offset = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            part = chunk[max(wanted.start - offset, 0) : max(wanted.stop - offset, 0)]
            offset += len(chunk)
            if part:
                yield part
            if offset >= wanted.stop:
                return
