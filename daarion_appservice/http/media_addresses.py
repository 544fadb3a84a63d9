"""Where the city shows files: Matrix says ``mxc://server/id``, which no browser can load."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import quote

from ..city.media import THUMBNAILED, USUAL, Thumbnail, parts_of, with_image_sources
from ..city.types import Media

PATH: Final = "/city/media"
ONE: Final = PATH + "/{server}/{media_id}"
THUMBNAIL: Final = ONE + "/thumbnail"


@lru_cache(4096)
def media_url(mxc: str | None) -> str | None:
    """The path of a file; None for what is no file's address."""
    parts = parts_of(mxc) if mxc else None
    return f"{PATH}/{quote(parts[0], safe='')}/{parts[1]}" if parts else None


def thumbnail_url(media: Media) -> str | None:
    """The path of a smaller picture of a file, or of the one that came with it; None when there is none."""
    if media.thumbnail_mxc is None and media.mimetype not in THUMBNAILED:
        return None
    url = media_url(media.thumbnail_mxc or media.mxc)
    return None if url is None else f"{url}/thumbnail?{_query(USUAL)}"


def with_city_addresses(html: str | None) -> str | None:
    """HTML of a message whose pictures a browser can load."""
    return with_image_sources(html, lambda mxc: media_url(mxc) or "") if html else html


def _query(size: Thumbnail) -> str:
    return f"width={size.width}&height={size.height}&method={size.method}"
