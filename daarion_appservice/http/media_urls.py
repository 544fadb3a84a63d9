"""Where the city shows files: Matrix says ``mxc://server/id``, which no browser can load."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from ..city.media import THUMBNAILED, USUAL, Thumbnail, parts_of, with_image_sources
from ..city.media_links import MediaLinks
from ..city.types import Media

PATH: Final = "/city/media"
ONE: Final = PATH + "/{server}/{media_id}"
THUMBNAIL: Final = ONE + "/thumbnail"


@dataclass(frozen=True, slots=True)
class MediaUrls:
    """How the files of one message, or of the city, are linked to: signed where not everybody may have them."""

    links: MediaLinks | None = None
    is_private: bool = False

    def url(self, mxc: str | None) -> str | None:
        """The address of a file; None for what is no file's."""
        path = media_path(mxc)
        query = self._query(mxc) if path and mxc else ""
        return f"{path}?{query}" if query else path

    def thumbnail_url(self, media: Media) -> str | None:
        """That of a smaller picture of a file, or of the one that came with it; None when there is none."""
        if media.thumbnail_mxc is None and media.mimetype not in THUMBNAILED:
            return None
        mxc = media.thumbnail_mxc or media.mxc
        path = media_path(mxc)
        if path is None:
            return None
        query = self._query(mxc)
        return f"{path}/thumbnail?{_query(USUAL)}" + (f"&{query}" if query else "")

    def html(self, html: str | None) -> str | None:
        """HTML of a message whose pictures a browser can load."""
        return with_image_sources(html, lambda mxc: self.url(mxc) or "") if html else html

    def _query(self, mxc: str) -> str:
        return self.links.query(mxc, is_private=self.is_private) if self.links else ""


@lru_cache(4096)
def media_path(mxc: str | None) -> str | None:
    """The path of a file; None for what is no file's address."""
    parts = parts_of(mxc) if mxc else None
    return f"{PATH}/{quote(parts[0], safe='')}/{parts[1]}" if parts else None


def _query(size: Thumbnail) -> str:
    return f"width={size.width}&height={size.height}&method={size.method}"
