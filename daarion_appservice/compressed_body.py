"""Request bodies, with a ``Content-Encoding`` (RFC 9110 §8.4) or without, read within a time and decompressed up to a size.

aiohttp's own way decompresses whatever comes, also what nobody reads or what is refused: 200 kB hold up the event loop for a
second. The listeners therefore leave bodies as they come (``auto_decompress=False``), and who reads one asks here.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import hdrs, web

from .errors import InvalidInput

_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Of zlib, by content coding."""


async def read_unpacked(request: web.Request, max_bytes: int, *, within_s: float) -> bytes:
    """Return the body.

    Raises InvalidInput when it does not come within ``within_s`` seconds, or is not sent or packed as its headers say;
    HTTPRequestEntityTooLarge when it is too long.
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
        async with asyncio.timeout(within_s):
            return await request.read()
    except TimeoutError:
        raise InvalidInput("body_too_slow", "the body did not come in time", status=408) from None
    except web.RequestPayloadError as error:
        raise InvalidInput("bad_request", "the body is not sent as its Transfer-Encoding says") from error


def _not_packed() -> InvalidInput:
    return InvalidInput("bad_request", "the body is not packed as its Content-Encoding says")
