"""Translates ``mxc://server/id`` URIs of Matrix, which browsers cannot load, into paths of the city's media routes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from ..city.media import MESSAGE_THUMBNAIL, THUMBNAIL_TYPES, Thumbnail, split_mxc, with_image_sources
from ..city.media_links import MediaLinks
from ..city.types import Media

PATH: Final = "/city/media"
ONE: Final = PATH + "/{server}/{media_id}"
THUMBNAIL: Final = ONE + "/thumbnail"


@dataclass(frozen=True, slots=True)
class MediaUrls:
    """The media URLs of one message, or of the city: signed if the message is not readable for all.

    Attributes:
        links: signs URLs; None for a city without signed links.
        is_private: whether the files belong to a message that is not public.
    """

    links: MediaLinks | None = None
    is_private: bool = False

    def url(self, mxc: str | None) -> str | None:
        """Return the URL of a file, or None if ``mxc`` is not a valid ``mxc://`` URI."""
        path = media_path(mxc)
        query = self._query(mxc) if path and mxc else ""
        return f"{path}?{query}" if query else path

    def thumbnail_url(self, media: Media) -> str | None:
        """Return the URL of a thumbnail of ``media``, or of the thumbnail sent with it; None if it has none."""
        if media.thumbnail_mxc is None and media.mimetype not in THUMBNAIL_TYPES:
            return None
        mxc = media.thumbnail_mxc or media.mxc
        path = media_path(mxc)
        if path is None:
            return None
        query = self._query(mxc)
        return f"{path}/thumbnail?{_query(MESSAGE_THUMBNAIL)}" + (f"&{query}" if query else "")

    def html(self, html: str | None) -> str | None:
        """Return the HTML of a message with image URLs that a browser can load."""
        return with_image_sources(html, lambda mxc: self.url(mxc) or "") if html else html

    def _query(self, mxc: str) -> str:
        return self.links.query(mxc, is_private=self.is_private) if self.links else ""


@lru_cache(4096)
def media_path(mxc: str | None) -> str | None:
    """Return the path of a file, or None if ``mxc`` is not a valid ``mxc://`` URI."""
    parts = split_mxc(mxc) if mxc else None
    return f"{PATH}/{quote(parts[0], safe='')}/{parts[1]}" if parts else None


def _query(size: Thumbnail) -> str:
    return f"width={size.width}&height={size.height}&method={size.method}"
