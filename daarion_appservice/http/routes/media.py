"""The routes ``/city/media``: upload and download of files between the city's clients and the homeserver.

    client ─► POST: permission? size? type? ─► homeserver, as the ghost of the author
    client ◄─ GET:  in a message or avatar? ◄─ type? ◄─ homeserver

A file that is in no message of the city and no avatar is not fetched: the routes give no access to the other media of the
homeserver, or of those that it can reach. Declared media types are not trusted; the first bytes decide.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import quote

import structlog
from aiohttp import hdrs, web
from pydantic import Field

from ...city.file_types import HEAD_BYTES, SHOWN, served_type, size_of_picture, stored_type
from ...city.identity import Identities
from ...city.media import Method, Thumbnail, is_allowed, mxc_of, snapped, tidy_filename
from ...city.ports import NowMs
from ...city.reader_memberships import ReaderMemberships
from ...city.types import Author, Media
from ...concurrency import ConcurrencyLimit, LimitReached
from ...config import MediaSettings
from ...errors import (
    CityError,
    Forbidden,
    HomeserverRateLimited,
    HomeserverRefused,
    HomeserverUnavailable,
    InvalidInput,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from ...matrix.ghosts.media import Incoming, MediaRepository
from ...storage.database import Database
from .. import schemas
from ..auth.authenticator import CityAuthenticator
from ..auth.authors import ActorDirectory
from ..auth.principals import Access, AgentPrincipal, Citizen, Principal, check, reader
from ..byte_ranges import NotSatisfiable, part_of, wanted_range
from ..limits.tcp_connection import connection_of
from ..media_urls import ONE, PATH, THUMBNAIL
from ..routing import EndpointDescription, Query, check_text, described, json_response, read_query
from ..views import media_view

_PIECE_BYTES: Final = 64 * 1024
_STILL_S: Final = 30.0
"""How long an upload may pause."""
_FRESH_S: Final = 600
"""How long clients cache a file. Its content never changes, but a deleted file should disappear soon."""
_RETRY_S: Final = 5.0
_SHARE: Final = 4
"""One client may have at most a quarter of the concurrent transfers."""
_PATIENCE_S: Final = 15.0
"""How long a request waits for its turn."""

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
_READ_ERRORS: Final = (
    "no_such_media",
    "media_too_large",
    "too_many_requests",
    "media_busy",
    "homeserver_away",
    "media_unavailable",
)

log = structlog.get_logger()


class NewFile(Query):
    filename: str | None = Field(
        None, max_length=255, description="The file name, without a path.", examples=["фунікулер.jpg"]
    )


class Size(Query):
    width: int = Field(320, ge=1, le=4096, description="The minimum width in pixels.", examples=[320])
    height: int = Field(240, ge=1, le=4096, description="The minimum height in pixels.", examples=[240])
    method: Method = Field(
        "scale",
        description="`crop`: cropped to these proportions; `scale`: scaled, with its own proportions.",
        examples=["scale"],
    )


class MediaRoutes:
    def __init__(
        self,
        database: Database,
        repository: MediaRepository,
        authors: ActorDirectory,
        identities: Identities,
        door: CityAuthenticator,
        now_ms: NowMs,
        settings: MediaSettings,
        *,
        anonymous_read: bool,
    ) -> None:
        self._database = database
        self._repository = repository
        self._authors = authors
        self._identities = identities
        self._readers = ReaderMemberships(identities)
        self._door = door
        self._now_ms = now_ms
        self._settings = settings
        self._anonymous_read = anonymous_read
        self._transfers = ConcurrencyLimit(
            in_all=settings.transfers, of_one=max(1, settings.transfers // _SHARE), patience_s=_PATIENCE_S
        )

    def install(self, app: web.Application) -> None:
        app.router.add_post(PATH, self._upload)
        app.router.add_get(ONE, self._download, allow_head=False)
        app.router.add_get(THUMBNAIL, self._thumbnail, allow_head=False)

    # --- upload ---------------------------------------------------------------------------------------

    @described(
        EndpointDescription(
            Access.INHABITANTS,
            query=NewFile,
            status=201,
            summary="Upload a file",
            answer=schemas.Media,
            errors=(
                "media_size_unknown",
                "media_too_large",
                "media_empty",
                "media_type_wrong",
                "media_type_not_allowed",
                "media_too_slow",
                "media_refused",
                "too_many_requests",
                "media_busy",
                "homeserver_away",
                "media_unavailable",
                "no_such_agent",
            ),
            takes="*/*",
        )
    )
    async def _upload(self, request: web.Request) -> web.Response:
        """The body is the file itself, with its `Content-Type` and `Content-Length`. Posting a message with the returned `mxc` as
        `media` publishes it; only the uploader can do so, and until then nobody else can download it.

        The size is limited by `media.max_upload_bytes` and by the homeserver, the types by `media.allowed_types`. The type of
        images (PNG, JPEG, GIF, WebP, AVIF), audio and video (MP3, AAC, WAV, FLAC, Ogg, MP4, QuickTime, WebM), PDF and ZIP files
        is detected from their first bytes: a declared type that differs is 415, and a generic one is replaced. Files that a
        browser would execute (HTML, SVG, XML, scripts), and images, audio and video of other formats, are stored as
        `application/octet-stream`. The `msgtype` of the message follows from the type.
        """
        principal = await self._door.principal(request)
        check(Access.INHABITANTS, principal, anonymous_read=self._anonymous_read)
        author, query = self._authors.of(principal), read_query(request, NewFile)
        async with self._turn(request, principal):
            media = await self._take_in(request, author, query.filename)
        async with self._database.transaction() as tx:
            await tx.media.add_upload(author, media, now_ms=self._now_ms())
        return json_response(media_view(media), status=201)

    @asynccontextmanager
    async def _turn(self, request: web.Request, principal: Principal) -> AsyncIterator[None]:
        """Hold a slot for one transfer. Raises Unavailable."""
        try:
            async with self._transfers.taken(self._door.limits.asker(request, principal)):
                yield
        except LimitReached as error:
            raise Unavailable(
                "media_busy", "too many concurrent transfers of files; try again", retry_after_s=_RETRY_S
            ) from error

    async def _take_in(self, request: web.Request, author: Author, filename: str | None) -> Media:
        with _homeserver_in_words(_not_taken):
            size = await self._checked_size(request)
        body = _Body(request)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                head = await body.beginning(min(size, HEAD_BYTES))
                mimetype = stored_type(request.headers.get("Content-Type", ""), head)
                if not is_allowed(mimetype, self._settings.allowed_types):
                    raise InvalidInput(
                        "media_type_not_allowed", f"files of the type {mimetype} are not accepted", status=415
                    )
                filename = tidy_filename(filename, mimetype)
                width, height = size_of_picture(head) or (None, None)
                with _homeserver_in_words(_not_taken):
                    mxc = await self._repository.upload(
                        body, size=size, mimetype=mimetype, filename=filename, by=self._identities.author(author)
                    )
        except TimeoutError:
            raise _too_slow() from None
        except Unavailable:
            # The homeserver client does not distinguish which side of the transfer failed; the body knows.
            if body.failure is not None:
                raise body.failure from None
            raise
        return Media(mxc, mimetype, filename, size, width, height)

    async def _checked_size(self, request: web.Request) -> int:
        """Return the Content-Length, after a check against the limits."""
        size = request.content_length
        if size is None or "Content-Encoding" in request.headers:
            raise InvalidInput(
                "media_size_unknown", "send the file without Content-Encoding, and with Content-Length", status=411
            )
        if size == 0:
            raise InvalidInput("media_empty", "the file is empty", status=422)
        limit = self._settings.max_upload_bytes
        if size <= limit:
            limit = await self._repository.upload_limit() or limit
        if size > limit:
            raise _too_large(f"the file has {size} bytes; the limit is {limit}")
        return size

    # --- download -------------------------------------------------------------------------------------

    @described(
        EndpointDescription(
            Access.READERS,
            summary="Download a file",
            answer=_Bytes,
            also=_NOT_MODIFIED,
            errors=_READ_ERRORS,
            gives="*/*",
        )
    )
    async def _download(self, request: web.Request) -> web.StreamResponse:
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
        return await self._give(request, None)

    @described(
        EndpointDescription(
            Access.READERS,
            query=Size,
            summary="Download a thumbnail of an image",
            answer=_Bytes,
            also=_NOT_MODIFIED,
            errors=(*_READ_ERRORS, "no_thumbnail"),
            gives="image/*",
        )
    )
    async def _thumbnail(self, request: web.Request) -> web.StreamResponse:
        """Returns the smallest thumbnail of at least this size: 32×32 or 96×96 cropped; 320×240, 640×480 or 800×600 scaled.
        Access and caching are those of the file.
        """
        size = read_query(request, Size)
        return await self._give(request, snapped(size.width, size.height, size.method))

    async def _give(self, request: web.Request, thumbnail: Thumbnail | None) -> web.StreamResponse:
        principal = await self._door.principal(request)
        file = await self._linked_file(request)
        if file is None:
            check(Access.READERS, principal, anonymous_read=self._anonymous_read)
            file = await self._shown_file(request, principal)
        headers = _HEADERS | {
            "Cache-Control": f"{'public' if file.is_public else 'private'}, max-age={_FRESH_S}, immutable",
            "ETag": f'"{_etag(file.mxc, thumbnail)}"',
        }
        if any(each.value in {_etag(file.mxc, thumbnail), "*"} for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        async with self._turn(request, principal):
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has disconnected")
            with _homeserver_in_words(_not_given):
                async with self._repository.download(file.mxc, thumbnail) as incoming:
                    return await self._pass_on(request, incoming, headers, is_thumbnail=thumbnail is not None)

    async def _linked_file(self, request: web.Request) -> _ShownFile | None:
        """Return the file of a signed link while it is in use: the link was issued to a reader who may have the file."""
        links, query = self._identities.media_links, request.query
        if links is None or "signature" not in query:
            return None
        check_text(dict(request.match_info))
        mxc = mxc_of(request.match_info["server"], request.match_info["media_id"])
        if mxc is None or not links.is_good(mxc, query.get("expires", ""), query["signature"]):
            return None
        async with self._database.reading() as tx:
            return _ShownFile(mxc, is_public=False) if await tx.media.is_in_use(mxc) else None

    async def _shown_file(self, request: web.Request, principal: Principal) -> _ShownFile:
        """Return the requested file if the principal may have it, without asking the homeserver. Raises NotFound."""
        check_text(dict(request.match_info))
        mxc = mxc_of(request.match_info["server"], request.match_info["media_id"])
        if mxc is not None:
            async with self._database.reading() as tx:
                if await tx.media.is_shown(mxc):
                    return _ShownFile(mxc, is_public=self._anonymous_read)
                readings = await self._readers.readings(tx, reader(principal))
                if readings and await tx.media.is_shown(mxc, readings):
                    return _ShownFile(mxc, is_public=False)
                if isinstance(principal, Citizen | AgentPrincipal) and await tx.media.upload_of(
                    self._authors.of(principal), mxc
                ):
                    return _ShownFile(mxc, is_public=False)
        raise NotFound("no_such_media", "the city shows no such file")

    async def _pass_on(
        self, request: web.Request, incoming: Incoming, headers: dict[str, str], *, is_thumbnail: bool
    ) -> web.StreamResponse:
        limit = self._settings.max_download_bytes
        if incoming.size is not None and incoming.size > limit:
            raise _too_large(f"the file has {incoming.size} bytes; the limit is {limit}")
        head = await incoming.beginning(HEAD_BYTES)
        mimetype = served_type(incoming.content_type, head)
        if is_thumbnail and not mimetype.startswith("image/"):
            raise NotFound("no_thumbnail", "this file has no thumbnail")
        headers = headers | _content_headers(mimetype, incoming.filename)
        is_short = len(head) < HEAD_BYTES
        size = len(head) if is_short else incoming.size
        try:
            wanted = None if size is None else wanted_range(request, size, headers["ETag"])
        except NotSatisfiable:
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
        pieces = _pieces(head, incoming.rest(), limit)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await _write_all(response, pieces if wanted is None else part_of(pieces, wanted))
        except (HomeserverUnavailable, TimeoutError) as error:
            log.warning("media_cut_short", path=request.path, error=str(error) or "too slow")
            _cut(request)
        return response


@dataclass(frozen=True, slots=True)
class _ShownFile:
    mxc: str
    is_public: bool
    """Whether every client may have the file."""


class _Body:
    """The body of an upload: its beginning is examined first, then all of it is forwarded."""

    def __init__(self, request: web.Request) -> None:
        self._content = request.content
        self._connection = connection_of(request)
        self._beginning = b""
        self.failure: Exception | None = None
        """The exception that ended reading early."""

    async def beginning(self, size: int) -> bytes:
        """Return the first ``size`` bytes, or the whole body if it is shorter.

        Raises:
            InvalidInput: the bytes do not arrive in time.
            ConnectionError: the client disconnects.
        """
        while len(self._beginning) < size and (piece := await self._read(size - len(self._beginning))):
            self._beginning += piece
        return self._beginning

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._beginning
        while piece := await self._read(_PIECE_BYTES):
            yield piece

    async def _read(self, size: int) -> bytes:
        try:
            async with asyncio.timeout(_STILL_S):
                piece = await self._content.read(size)
        except TimeoutError:
            self.failure = _too_slow()
            raise self.failure from None
        except Exception as error:
            self.failure = error
            raise
        if self._connection is not None:
            self._connection.body_forwarded(len(piece))
        return piece


async def _pieces(head: bytes, rest: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Yield a file in pieces. Raises HomeserverUnavailable if it has more than ``limit`` bytes."""
    size = len(head)
    yield head
    async for piece in rest:
        size += len(piece)
        if size > limit:
            raise HomeserverUnavailable(f"the file has more than {limit} bytes")
        yield piece


async def _write_all(response: web.StreamResponse, pieces: AsyncIterator[bytes]) -> None:
    """Write all pieces; exceptions of ``pieces`` pass. ``TcpConnections`` aborts the connection of a peer that stops reading."""
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()


def _cut(request: web.Request) -> None:
    """Abort the connection, so that the client does not take a partial response for the whole."""
    if request.transport is not None:
        request.transport.abort()


def _content_headers(mimetype: str, filename: str | None) -> dict[str, str]:
    is_text = mimetype.startswith("text/")
    disposition = "inline" if mimetype in SHOWN else "attachment"
    name = tidy_filename(filename, mimetype)
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


def _too_large(detail: str) -> InvalidInput:
    return InvalidInput("media_too_large", detail, status=413)


def _too_slow() -> InvalidInput:
    return InvalidInput("media_too_slow", "the file did not arrive in time", status=408)


@contextmanager
def _homeserver_in_words(refusal: Callable[[HomeserverRefused], CityError]) -> Iterator[None]:
    """Translate errors of the homeserver into errors of the city."""
    try:
        yield
    except HomeserverUnavailable as error:
        raise Unavailable(
            "homeserver_away",
            "the homeserver, which stores the files, does not respond; try again",
            retry_after_s=_RETRY_S,
        ) from error
    except HomeserverRateLimited as error:
        raise TooManyRequests(
            "the homeserver limits the rate of file transfers", retry_after_s=error.retry_after_ms / 1000
        ) from error
    except HomeserverRefused as error:
        raise refusal(error) from error


def _not_taken(error: HomeserverRefused) -> CityError:
    if error.status == 413:
        return _too_large("the file exceeds the limit of the homeserver")
    if _is_its_own_fault(error):
        return _unavailable(error)
    return Forbidden("media_refused", f"the homeserver refuses the file: {error.message}")


def _not_given(error: HomeserverRefused) -> CityError:
    if error.status == 400:
        return NotFound("no_thumbnail", "this file has no thumbnail")
    if _is_its_own_fault(error):
        return _unavailable(error)
    return NotFound("no_such_media", "the homeserver no longer has this file")


def _is_its_own_fault(error: HomeserverRefused) -> bool:
    """Return whether the fault is on a server (this one, the homeserver or another one), not in the client's request."""
    return error.status == 401 or not 400 <= error.status < 500


def _unavailable(error: HomeserverRefused) -> CityError:
    log.warning("media_unavailable", error=str(error), help="Synapse's log says more")
    return Unavailable(
        "media_unavailable", "the homeserver cannot transfer the file at the moment; try again", retry_after_s=_RETRY_S
    )
