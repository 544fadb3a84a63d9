"""Reads request bodies with or without a ``Content-Encoding`` (RFC 9110 §8.4), with limits of time and decompressed size.

aiohttp itself decompresses every body as it arrives, even if no handler reads it or the request is refused: 200 kB block the
event loop for a second. The listeners therefore disable that (``auto_decompress=False``), and handlers use this module.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import hdrs, web

from .errors import InvalidInput

_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The window bits of zlib by content coding."""


async def read_unpacked(request: web.Request, max_bytes: int, *, within_s: float) -> bytes:
    """Return the decompressed body of a request.

    Args:
        request: the request; its application has ``client_max_size``, the limit before decompression.
        max_bytes: the limit of the decompressed body in bytes.
        within_s: the time limit for the whole body in seconds.

    Raises:
        InvalidInput: the body is too slow, has an unknown encoding, or does not match its headers.
        web.HTTPRequestEntityTooLarge: the body is too large.
    """
    body = await _read(request, within_s)
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    if not body or encoding in {"", "identity"}:
        return body
    if (window_bits := _WINDOW_BITS.get(encoding)) is None:
        raise InvalidInput("bad_request", "the Content-Encoding of a body is gzip, deflate or none")
    unpacking = zlib.decompressobj(window_bits)
    try:
        unpacked = unpacking.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise _not_packed() from error
    if len(unpacked) > max_bytes:
        raise web.HTTPRequestEntityTooLarge(max_size=max_bytes, actual_size=len(unpacked))
    if not unpacking.eof or unpacking.unused_data:
        raise _not_packed()
    return unpacked


async def _read(request: web.Request, within_s: float) -> bytes:
    try:
        if request.content.is_eof():
            # Most bodies arrive together with their heads, and need no time limit.
            return await request.read()
        async with asyncio.timeout(within_s):
            return await request.read()
    except TimeoutError:
        raise InvalidInput("body_too_slow", "the body did not come in time", status=408) from None
    # The traceback holds the frame of aiohttp's `read`, with the received part of the body, and that frame's future holds the
    # error: a reference cycle. Without the traceback the body is freed now, not by a full garbage collection.
    except web.RequestPayloadError as error:
        cause = error.with_traceback(None)
        raise InvalidInput("bad_request", "the body is not sent as its Transfer-Encoding says") from cause
    except ConnectionError as error:
        raise error.with_traceback(None) from None


def _not_packed() -> InvalidInput:
    return InvalidInput("bad_request", "the body does not match its Content-Encoding")
