"""The route ``POST /city/media``: uploads of files through the city to the homeserver.

    client ─► permission, size, type ─► homeserver, as the ghost of the author

Declared media types are not trusted; the first bytes decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from pydantic import Field

from ...city.file_types import HEAD_BYTES, image_size, stored_type
from ...city.identity import Identities
from ...city.media import is_allowed, sanitize_filename
from ...city.ports import NowMs
from ...city.types import Author, Media
from ...config import MediaSettings
from ...errors import CityError, Forbidden, HomeserverRefused, InvalidInput, Unavailable
from ...matrix.ghosts.media import HomeserverMedia
from ...storage.database import Database
from .. import schemas
from ..auth.actors import ActorDirectory
from ..auth.authenticator import CityAuthenticator
from ..auth.principals import Access, check
from ..limits.tcp_connection import connection_of
from ..media_transfers import (
    TRANSFER_ERRORS,
    MediaTransfers,
    is_server_fault,
    media_too_large,
    media_unavailable,
    translate_transfer_errors,
)
from ..media_urls import PATH
from ..message_views import media_view
from ..routing import EndpointDescription, Query, described, json_response, read_query

_CHUNK_BYTES: Final = 64 * 1024
_MAX_PAUSE_S: Final = 30.0
"""How long an upload may pause."""


class NewFile(Query):
    filename: str | None = Field(
        None, max_length=255, description="The file name, without a path.", examples=["фунікулер.jpg"]
    )


@dataclass(frozen=True, slots=True)
class MediaUpload:
    database: Database
    repository: HomeserverMedia
    transfers: MediaTransfers
    authors: ActorDirectory
    identities: Identities
    authenticator: CityAuthenticator
    now_ms: NowMs
    settings: MediaSettings

    def install(self, app: web.Application) -> None:
        app.router.add_post(PATH, self._upload_media)

    @described(
        EndpointDescription(
            Access.ACTORS,
            query=NewFile,
            status=201,
            summary="Upload a file",
            response=schemas.Media,
            errors=(
                *TRANSFER_ERRORS,
                "media_size_unknown",
                "media_empty",
                "media_type_mismatch",
                "media_type_not_allowed",
                "media_too_slow",
                "media_refused",
                "no_such_agent",
            ),
            request_type="*/*",
        )
    )
    async def _upload_media(self, request: web.Request) -> web.Response:
        """The body is the file itself, with its `Content-Type` and `Content-Length`. Posting a message with the returned `mxc` as
        `media` publishes it; only the uploader can do so, and until then nobody else can download it.

        The size is limited by `media.max_upload_bytes` and by the homeserver, the types by `media.allowed_types`. The type of
        images (PNG, JPEG, GIF, WebP, AVIF), audio and video (MP3, AAC, WAV, FLAC, Ogg, MP4, QuickTime, WebM), PDF and ZIP files
        is detected from their first bytes: a declared type that differs is 415, and a generic one is replaced. Files that a
        browser would execute (HTML, SVG, XML, scripts), and images, audio and video of other formats, are stored as
        `application/octet-stream`. The `msgtype` of the message follows from the type.
        """
        principal = await self.authenticator.principal(request)
        check(Access.ACTORS, principal, anonymous_read=False)
        author, query = self.authors.of(principal), read_query(request, NewFile)
        async with self.transfers.slot(request, principal):
            media = await self._store(request, author, query.filename)
        async with self.database.transaction() as tx:
            await tx.media.add_upload(author, media, now_ms=self.now_ms())
        return json_response(media_view(media), status=201)

    async def _store(self, request: web.Request, author: Author, filename: str | None) -> Media:
        with translate_transfer_errors(_upload_refused):
            size = await self._checked_size(request)
        body = UploadBody(request)
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                head = await body.beginning(min(size, HEAD_BYTES))
                mimetype = stored_type(request.headers.get("Content-Type", ""), head)
                if not is_allowed(mimetype, self.settings.allowed_types):
                    raise InvalidInput(
                        "media_type_not_allowed", f"files of the type {mimetype} are not accepted", status=415
                    )
                filename = sanitize_filename(filename, mimetype)
                width, height = image_size(head) or (None, None)
                with translate_transfer_errors(_upload_refused):
                    mxc = await self.repository.upload(
                        body, size=size, mimetype=mimetype, filename=filename, by=self.identities.author(author)
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
        limit = self.settings.max_upload_bytes
        if size <= limit:
            limit = await self.repository.upload_limit() or limit
        if size > limit:
            raise media_too_large(f"the file has {size} bytes; the limit is {limit}")
        return size


class UploadBody:
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
        while len(self._beginning) < size and (chunk := await self._read(size - len(self._beginning))):
            self._beginning += chunk
        return self._beginning

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._beginning
        while chunk := await self._read(_CHUNK_BYTES):
            yield chunk

    async def _read(self, size: int) -> bytes:
        try:
            async with asyncio.timeout(_MAX_PAUSE_S):
                chunk = await self._content.read(size)
        except TimeoutError:
            self.failure = _too_slow()
            raise self.failure from None
        except Exception as error:
            self.failure = error
            raise
        if self._connection is not None:
            self._connection.body_forwarded(len(chunk))
        return chunk


def _too_slow() -> InvalidInput:
    return InvalidInput("media_too_slow", "the file did not arrive in time", status=408)


def _upload_refused(error: HomeserverRefused) -> CityError:
    if error.status == 413:
        return media_too_large("the file exceeds the limit of the homeserver")
    if is_server_fault(error):
        return media_unavailable(error)
    return Forbidden("media_refused", f"the homeserver refuses the file: {error.message}")
