"""The routes ``GET /city/media/…``: downloads of files and thumbnails from the homeserver through the city.

    client ◄─ type, range ◄─ homeserver      only files in a message of the city, or of an avatar

Other media of the homeserver, and of servers that it can reach, are not accessible. Declared media types are not trusted; the
first bytes decide.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Final
from urllib.parse import quote

import structlog
from aiohttp import hdrs, web
from pydantic import Field

from ...city.file_types import DISPLAYED_TYPES, HEAD_BYTES, served_type
from ...city.identity import Identities
from ...city.media import Method, Thumbnail, mxc_uri, nearest_thumbnail, sanitize_filename
from ...city.reader_memberships import ReaderMemberships
from ...config import MediaSettings
from ...errors import CityError, HomeserverRefused, HomeserverUnavailable, NotFound
from ...matrix.ghosts.media import Incoming, MediaRepository
from ...storage.database import Database
from ..auth.actors import ActorDirectory
from ..auth.authenticator import CityAuthenticator
from ..auth.principals import Access, AgentPrincipal, Citizen, Principal, author_of, check
from ..byte_ranges import RangeNotSatisfiable, requested_range, slice_chunks
from ..media_transfers import (
    TRANSFER_ERRORS,
    MediaTransfers,
    is_server_fault,
    media_too_large,
    media_unavailable,
    translate_homeserver_errors,
)
from ..media_urls import ONE, THUMBNAIL
from ..routing import EndpointDescription, Query, described, read_query
from ..validation import check_text

_CACHE_S: Final = 600
"""How long clients cache a file. Its content never changes, but a deleted file should disappear soon."""

_POLICY: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; object-src 'none'"
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
    # The CORS headers of the response depend on the origin.
    "Vary": "Origin",
    "Accept-Ranges": "bytes",
}

_Bytes = Annotated[bytes, Field(description="The file.", examples=["…"], json_schema_extra={"format": "binary"})]
_NOT_MODIFIED: Final = {304: "`If-None-Match` contains the `ETag` of the file."}

log = structlog.get_logger()


class ThumbnailQuery(Query):
    width: int = Field(320, ge=1, le=4096, description="The minimum width in pixels.", examples=[320])
    height: int = Field(240, ge=1, le=4096, description="The minimum height in pixels.", examples=[240])
    method: Method = Field(
        "scale",
        description="`crop`: cropped to these proportions; `scale`: scaled, with its own proportions.",
        examples=["scale"],
    )


@dataclass(frozen=True, slots=True)
class MediaDownload:
    database: Database
    repository: MediaRepository
    transfers: MediaTransfers
    authors: ActorDirectory
    identities: Identities
    readers: ReaderMemberships
    authenticator: CityAuthenticator
    settings: MediaSettings
    _: KW_ONLY
    anonymous_read: bool

    def install(self, app: web.Application) -> None:
        app.router.add_get(ONE, self._get_media, allow_head=False)
        app.router.add_get(THUMBNAIL, self._get_thumbnail, allow_head=False)

    @described(
        EndpointDescription(
            Access.READERS,
            summary="Download a file",
            response=_Bytes,
            other_statuses=_NOT_MODIFIED,
            errors=("no_such_media", *TRANSFER_ERRORS),
            response_type="*/*",
        )
    )
    async def _get_media(self, request: web.Request) -> web.StreamResponse:
        """Only files that the city shows are fetched from the homeserver: files, thumbnails and inline images of messages that
        the client may read, avatars, and the client's own uploads. Everything else is 404, also the file of a deleted message.

        Images, audio and video are sent `inline` if their first bytes match their type, everything else as `attachment`, never
        with a type that a browser would execute. A file may be cached for ten minutes; after that `If-None-Match` is answered 304
        without a request to the homeserver. A single `Range` is answered 206 (`If-Range` by `ETag`), or 416 if it begins after
        the end; several ranges are answered with the whole file.

        Where not all readers may have a file, its paths in responses are signed links: `expires` and `signature` replace the
        token for 12 to 24 hours, as long as a message or member shows the file. `?token=` is not accepted.

        At most `media.transfers` transfers are concurrent, a quarter of them for one client; others wait up to 15 seconds.
        """
        return await self._respond(request, None)

    @described(
        EndpointDescription(
            Access.READERS,
            query=ThumbnailQuery,
            summary="Download a thumbnail of an image",
            response=_Bytes,
            other_statuses=_NOT_MODIFIED,
            errors=("no_such_media", "no_thumbnail", *TRANSFER_ERRORS),
            response_type="image/*",
        )
    )
    async def _get_thumbnail(self, request: web.Request) -> web.StreamResponse:
        """Returns the smallest thumbnail of at least this size: 32×32 or 96×96 cropped; 320×240, 640×480 or 800×600 scaled.
        Access and caching are those of the file.
        """
        size = read_query(request, ThumbnailQuery)
        return await self._respond(request, nearest_thumbnail(size.width, size.height, size.method))

    async def _respond(self, request: web.Request, thumbnail: Thumbnail | None) -> web.StreamResponse:
        principal = await self.authenticator.principal(request)
        file = await self._linked_file(request)
        if file is None:
            check(Access.READERS, principal, anonymous_read=self.anonymous_read)
            file = await self._readable_file(request, principal)
        headers = _HEADERS | {
            "Cache-Control": f"{'public' if file.is_public else 'private'}, max-age={_CACHE_S}, immutable",
            "ETag": f'"{_etag(file.mxc, thumbnail)}"',
        }
        if any(each.value in {_etag(file.mxc, thumbnail), "*"} for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        async with self.transfers.slot(request, principal):
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has disconnected")
            with translate_homeserver_errors(_download_refused):
                async with self.repository.download(file.mxc, thumbnail) as incoming:
                    return await self._send_file(request, incoming, headers, is_thumbnail=thumbnail is not None)

    async def _linked_file(self, request: web.Request) -> _File | None:
        """Return the file of a signed link while it is in use: the link was issued to a reader who may have the file."""
        links, query = self.identities.media_links, request.query
        if links is None or "signature" not in query:
            return None
        check_text(dict(request.match_info))
        mxc = mxc_uri(request.match_info["server"], request.match_info["media_id"])
        if mxc is None or not links.is_good(mxc, query.get("expires", ""), query["signature"]):
            return None
        async with self.database.read_only() as tx:
            return _File(mxc, is_public=False) if await tx.media.is_in_use(mxc) else None

    async def _readable_file(self, request: web.Request, principal: Principal) -> _File:
        """Return the requested file if the principal may have it, without asking the homeserver. Raises NotFound."""
        check_text(dict(request.match_info))
        mxc = mxc_uri(request.match_info["server"], request.match_info["media_id"])
        if mxc is not None:
            async with self.database.read_only() as tx:
                if await tx.media.is_shown(mxc):
                    return _File(mxc, is_public=self.anonymous_read)
                ranges_by_room = await self.readers.ranges_by_room(tx, author_of(principal))
                if ranges_by_room and await tx.media.is_shown(mxc, ranges_by_room):
                    return _File(mxc, is_public=False)
                if isinstance(principal, Citizen | AgentPrincipal) and await tx.media.upload_of(
                    self.authors.of(principal), mxc
                ):
                    return _File(mxc, is_public=False)
        raise NotFound("no_such_media", "the city shows no such file")

    async def _send_file(
        self, request: web.Request, incoming: Incoming, headers: dict[str, str], *, is_thumbnail: bool
    ) -> web.StreamResponse:
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
            return web.Response(status=416, headers=_HEADERS | {hdrs.CONTENT_RANGE: f"bytes */{size}"})
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


@dataclass(frozen=True, slots=True)
class _File:
    mxc: str
    is_public: bool
    """Whether every client may have the file."""


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


def _etag(mxc: str, thumbnail: Thumbnail | None) -> str:
    """Return an ETag made of the address alone: the content of an address never changes."""
    return hashlib.sha256(f"{mxc} {thumbnail}".encode()).hexdigest()[:32]


def _download_refused(error: HomeserverRefused) -> CityError:
    if error.status == 400:
        return NotFound("no_thumbnail", "this file has no thumbnail")
    if is_server_fault(error):
        return media_unavailable(error)
    return NotFound("no_such_media", "the homeserver no longer has this file")
