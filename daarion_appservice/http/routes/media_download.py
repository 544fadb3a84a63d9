"""The routes ``GET /city/media/…``: downloads of files and thumbnails from the homeserver through the city.

    client ◄─ type, range ◄─ homeserver      only files in a message of the city, or of an avatar

Other media of the homeserver, and of servers that it can reach, are not accessible.
"""

from __future__ import annotations

import hashlib
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from ...city.identity import Identities
from ...city.media import Method, Thumbnail, mxc_uri, nearest_thumbnail
from ...city.reader_memberships import ReaderMemberships
from ...errors import CityError, HomeserverRefused, NotFound
from ...matrix.ghosts.media import HomeserverMedia
from ...storage.database import Database
from ..auth.actors import ActorDirectory
from ..auth.authenticator import CityAuthenticator
from ..auth.principals import Access, AgentPrincipal, Citizen, Principal, author_of, check
from ..media_sending import FILE_HEADERS, MediaSender
from ..media_transfers import (
    TRANSFER_ERRORS,
    MediaTransfers,
    is_server_fault,
    media_unavailable,
    translate_transfer_errors,
)
from ..media_urls import ONE, THUMBNAIL
from ..routing import EndpointDescription, Query, described, read_query
from ..validation import check_text

_CACHE_S: Final = 600
"""How long clients cache a file. Its content never changes, but a deleted file should disappear soon."""

_Bytes = Annotated[bytes, Field(description="The file.", examples=["…"], json_schema_extra={"format": "binary"})]
_NOT_MODIFIED: Final = {304: "`If-None-Match` contains the `ETag` of the file."}


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
    repository: HomeserverMedia
    transfers: MediaTransfers
    authors: ActorDirectory
    identities: Identities
    readers: ReaderMemberships
    authenticator: CityAuthenticator
    sender: MediaSender
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
        headers = FILE_HEADERS | {
            "Cache-Control": f"{'public' if file.is_public else 'private'}, max-age={_CACHE_S}, immutable",
            "ETag": f'"{_etag(file.mxc, thumbnail)}"',
        }
        if any(each.value in {_etag(file.mxc, thumbnail), "*"} for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        async with self.transfers.slot(request, principal):
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has disconnected")
            with translate_transfer_errors(_download_refused):
                async with self.repository.download(file.mxc, thumbnail) as incoming:
                    return await self.sender.send(request, incoming, headers, is_thumbnail=thumbnail is not None)

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


@dataclass(frozen=True, slots=True)
class _File:
    mxc: str
    is_public: bool
    """Whether every client may have the file."""


def _etag(mxc: str, thumbnail: Thumbnail | None) -> str:
    """Return an ETag made of the URI alone: the content of an ``mxc://`` URI never changes."""
    return hashlib.sha256(f"{mxc} {thumbnail}".encode()).hexdigest()[:32]


def _download_refused(error: HomeserverRefused) -> CityError:
    if error.status == 400:
        return NotFound("no_thumbnail", "this file has no thumbnail")
    if is_server_fault(error):
        return media_unavailable(error)
    return NotFound("no_such_media", "the homeserver no longer has this file")
