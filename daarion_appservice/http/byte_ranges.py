"""Parts of a file (RFC 9110 §14): one range, as players of sound and film ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from aiohttp import hdrs, web


class NotSatisfiable(Exception):
    """The range begins after the end of the file."""


def wanted_range(request: web.Request, size: int, etag: str) -> range | None:
    """The bytes of the file that are asked for; None for the whole, which also answers several ranges and what is none.

    ``If-Range`` must name the file as it is. Raises NotSatisfiable.
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
    """Of a file in pieces the bytes that are wanted; no more is read than that."""
    at = 0
    async with aclosing(pieces):
        async for piece in pieces:
            part = piece[max(wanted.start - at, 0) : max(wanted.stop - at, 0)]
            at += len(piece)
            if part:
                yield part
            if at >= wanted.stop:
                return
