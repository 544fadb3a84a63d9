"""Sends files of the homeserver to clients, with headers by which a browser executes none of them.

Declared media types are not trusted; the first bytes decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import structlog
from aiohttp import hdrs, web

from ..city.file_types import DISPLAYED_TYPES, HEAD_BYTES, served_type
from ..city.media import sanitize_filename
from ..config import MediaSettings
from ..errors import HomeserverUnavailable, NotFound
from ..matrix.ghosts.media import Incoming
from .byte_ranges import RangeNotSatisfiable, requested_range, slice_chunks
from .media_transfers import media_too_large

_POLICY: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; object-src 'none'"
FILE_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
    # The CORS headers of the response depend on the origin.
    "Vary": "Origin",
    "Accept-Ranges": "bytes",
}
"""The headers of each response with a file."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class MediaSender:
    settings: MediaSettings

    async def send(
        self, request: web.Request, incoming: Incoming, headers: dict[str, str], *, is_thumbnail: bool
    ) -> web.StreamResponse:
        """Send a file of the homeserver, or the requested range of it.

        Args:
            request: the request to respond to.
            incoming: the file.
            headers: the caching headers of the response, with its ``ETag``.
            is_thumbnail: whether only an image is acceptable.

        Raises:
            InvalidInput: the file is larger than ``media.max_download_bytes`` (status 413).
            NotFound: the file is not an image, and must be one.
        """
        limit = self.settings.max_download_bytes
        if incoming.size is not None and incoming.size > limit:
            raise media_too_large(f"the file has {incoming.size} bytes; the limit is {limit}")
        head = await incoming.beginning(HEAD_BYTES)
        mimetype = served_type(incoming.content_type, head)
        if is_thumbnail and not mimetype.startswith("image/"):
            raise NotFound("no_thumbnail", "this file has no thumbnail")
        headers = headers | _content_headers(mimetype, incoming.filename)
        is_short = len(head) < HEAD_BYTES
        size = len(head) if is_short else incoming.size
        try:
            wanted = None if size is None else requested_range(request, size, headers["ETag"])
        except RangeNotSatisfiable:
            return web.Response(status=416, headers=FILE_HEADERS | {hdrs.CONTENT_RANGE: f"bytes */{size}"})
        if wanted is not None:
            headers[hdrs.CONTENT_RANGE] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
        status, part = (200, slice(None)) if wanted is None else (206, slice(wanted.start, wanted.stop))
        if is_short:
            # The whole file is in memory: a slow client occupies no connection to the homeserver.
            return web.Response(body=head[part], headers=headers, status=status)
        response = web.StreamResponse(headers=headers, status=status)
        response.content_length = size if wanted is None else len(wanted)
        await response.prepare(request)
        chunks = _chunks(head, incoming.rest(), limit)
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                await _write_all(response, chunks if wanted is None else slice_chunks(chunks, wanted))
        except (HomeserverUnavailable, TimeoutError) as error:
            log.warning("media_cut_short", path=request.path, error=str(error) or "too slow")
            _abort(request)
        return response


async def _chunks(head: bytes, rest: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Yield a file in chunks. Raises HomeserverUnavailable if it has more than ``limit`` bytes."""
    size = len(head)
    yield head
    async for chunk in rest:
        size += len(chunk)
        if size > limit:
            raise HomeserverUnavailable(f"the file has more than {limit} bytes")
        yield chunk


async def _write_all(response: web.StreamResponse, chunks: AsyncIterator[bytes]) -> None:
    """Write all chunks; exceptions of ``chunks`` pass. ``TcpConnections`` aborts the connection of a peer that stops reading."""
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()


def _abort(request: web.Request) -> None:
    """Abort the connection, so that the client does not take a partial response for the whole."""
    if request.transport is not None:
        request.transport.abort()


def _content_headers(mimetype: str, filename: str | None) -> dict[str, str]:
    is_text = mimetype.startswith("text/")
    disposition = "inline" if mimetype in DISPLAYED_TYPES else "attachment"
    name = sanitize_filename(filename, mimetype)
    return {
        "Content-Type": f"{mimetype}; charset=utf-8" if is_text else mimetype,
        # RFC 6266 §4.3: the ASCII `filename` is for clients that do not know `filename*`.
        "Content-Disposition": f"{disposition}; filename=\"{_ascii(name)}\"; filename*=UTF-8''{quote(name, safe='')}",
    }


def _ascii(name: str) -> str:
    return "".join(each if each.isascii() and each not in '"\\%;' else "_" for each in name)
