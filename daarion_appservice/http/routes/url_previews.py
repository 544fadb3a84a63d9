"""The routes ``/city/preview``: previews of links in messages, and the pictures of these previews.

client ─► public URL? ─► cache ─► homeserver /media/preview_url ─► the page
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from ...city.media import nearest_thumbnail
from ...city.url_previews import MAX_URL_CHARS, UrlPreview, public_url
from ...config import MediaSettings
from ...errors import CityError, HomeserverRefused, NotFound
from ...matrix.client.url_previews import UrlPreviews
from ...matrix.ghosts.media import HomeserverMedia
from .. import schemas
from ..auth.authenticator import CityAuthenticator
from ..auth.principals import Access, Principal, author_of, check
from ..media_sending import FILE_HEADERS, MediaSender
from ..media_transfers import (
    TRANSFER_ERRORS,
    MediaTransfers,
    is_server_fault,
    media_unavailable,
    translate_transfer_errors,
)
from ..routing import Call, EndpointDescription, NoBody, Query, described, endpoint, read_query

PATH: Final = "/city/preview"
IMAGE: Final = PATH + "/image"
_ERRORS: Final = ("no_preview", "url_not_public", "media_busy", "too_many_requests", "homeserver_unavailable")
_CACHE: Final = "private, max-age=3600"
THUMBNAIL: Final = nearest_thumbnail(640, 480, "scale")
"""The picture that is served: the homeserver makes it, so its size is bounded."""

_Bytes = Annotated[bytes, Field(description="The picture.", examples=["…"], json_schema_extra={"format": "binary"})]


class PreviewQuery(Query):
    url: str = Field(
        min_length=1,
        max_length=MAX_URL_CHARS,
        description="The URL of the page, `http` or `https`, with a public host name and the default port.",
        examples=["https://uk.wikipedia.org/wiki/Фунікулер"],
    )


@dataclass(frozen=True, slots=True)
class FoundPreviews:
    """The previews that principals may have."""

    previews: UrlPreviews
    settings: MediaSettings

    async def find(self, principal: Principal, url: str) -> UrlPreview:
        """Return the preview of a page.

        Args:
            principal: a citizen or an agent.
            url: a URL of ``public_url``.

        Raises:
            NotFound: the page has no preview, or ``media.url_previews`` is off.
            CityError: the homeserver does not respond, or is busy.
        """
        author = author_of(principal)
        assert author is not None
        if not self.settings.url_previews:
            raise NotFound("no_preview", "media.url_previews is off in this city")
        with translate_transfer_errors(_refused):
            preview = await self.previews.find(url, author.subject)
        if preview is None:
            raise NotFound("no_preview", "this page has no preview")
        return preview


@dataclass(frozen=True, slots=True)
class UrlPreviewRoutes:
    found: FoundPreviews

    @endpoint(
        "GET",
        PATH,
        access=Access.ACTORS,
        query=PreviewQuery,
        summary="Get the preview of a link",
        response=schemas.UrlPreview,
        errors=_ERRORS,
    )
    async def get_preview(self, call: Call[NoBody, PreviewQuery]) -> schemas.UrlPreview:
        """Returns the Open Graph data of a page. The homeserver fetches the page, within 10 seconds; found previews are cached
        for an hour, absent ones for ten minutes. IP addresses, names of local networks, credentials and other ports are refused.

        The setting `media.url_previews` is off by default: then every response is 404.
        """
        url = public_url(call.query.url)
        preview = await self.found.find(call.principal, url)
        return {
            "url": url,
            "title": preview.title,
            "description": preview.description,
            "site_name": preview.site_name,
            "image_url": f"{IMAGE}?url={quote(url, safe='')}" if preview.image_mxc else None,
        }


@dataclass(frozen=True, slots=True)
class UrlPreviewImage:
    found: FoundPreviews
    repository: HomeserverMedia
    transfers: MediaTransfers
    authenticator: CityAuthenticator
    sender: MediaSender

    def install(self, app: web.Application) -> None:
        app.router.add_get(IMAGE, self._get_image, allow_head=False)

    @described(
        EndpointDescription(
            Access.ACTORS,
            query=PreviewQuery,
            summary="Download the picture of a preview",
            response=_Bytes,
            other_statuses={304: "`If-None-Match` contains the `ETag` of the picture."},
            errors=("no_preview", "no_thumbnail", "url_not_public", *TRANSFER_ERRORS),
            response_type="image/*",
        )
    )
    async def _get_image(self, request: web.Request) -> web.StreamResponse:
        """Returns a thumbnail, at most 640×480 pixels, of the picture in the preview of a page. It may be cached for an hour."""
        principal = await self.authenticator.principal(request)
        check(Access.ACTORS, principal, anonymous_read=False)
        url = public_url(read_query(request, PreviewQuery).url)
        mxc = (await self.found.find(principal, url)).image_mxc
        if mxc is None:
            raise NotFound("no_preview", "the preview of this page has no picture")
        etag = hashlib.sha256(mxc.encode()).hexdigest()[:32]
        headers = FILE_HEADERS | {"Cache-Control": _CACHE, "ETag": f'"{etag}"'}
        if any(each.value in {etag, "*"} for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        async with self.transfers.slot(request, principal):
            with translate_transfer_errors(_image_refused):
                async with self.repository.download(mxc, THUMBNAIL) as incoming:
                    return await self.sender.send(request, incoming, headers, is_thumbnail=True)


def _refused(_error: HomeserverRefused) -> CityError:
    return NotFound("no_preview", "this page has no preview")


def _image_refused(error: HomeserverRefused) -> CityError:
    if is_server_fault(error):
        return media_unavailable(error)
    return NotFound("no_preview", "the homeserver has no such picture")
