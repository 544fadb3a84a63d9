"""Media: names, ``mxc://`` URIs and thumbnails of images, audio, video and other files."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

from .text_sanitizing import strip_bidi_controls
from .types import Media

MAX_FILENAME_CHARS: Final = 255
MAX_INLINE: Final = 50
"""Images in one message's HTML that the city fetches at most."""

# Matrix spec, "Server Name" and "Matrix Content (mxc://) URIs": other characters could change the path of a URL.
_MXC: Final = re.compile(
    r"mxc://((?:\[[0-9A-Fa-f:.]{2,45}\]|(?=[A-Za-z0-9.-]*[A-Za-z0-9])[A-Za-z0-9.-]{1,230})(?::[0-9]{1,5})?)/([A-Za-z0-9_-]{1,255})"
)
_IMAGE_SOURCE: Final = re.compile(r'(<img(?: [a-z-]+="[^"]*+")*? src=")(mxc://[^"]*+)"')

Method = Literal["crop", "scale"]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A thumbnail: at most this size (scale), or exactly these proportions (crop)."""

    width: int
    height: int
    method: Method


_SIZES: Final = (
    Thumbnail(32, 32, "crop"),
    Thumbnail(96, 96, "crop"),
    Thumbnail(320, 240, "scale"),
    Thumbnail(640, 480, "scale"),
    Thumbnail(800, 600, "scale"),
)
"""The sizes that Synapse makes of every image by default: it would return one of these, stored twice, for another."""

MESSAGE_THUMBNAIL: Final = _SIZES[4]
"""The thumbnail of an image in a message."""

THUMBNAIL_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Types of which homeservers make thumbnails."""


def nearest_thumbnail(width: int, height: int, method: Method) -> Thumbnail:
    """Return the smallest existing thumbnail for a requested size."""
    sizes = [size for size in _SIZES if size.method == method]
    return next((size for size in sizes if size.width >= width and size.height >= height), sizes[-1])


def mxc_uri(server: str, media_id: str) -> str | None:
    """Return the ``mxc://`` URI of a file; None if the server name or media id is not valid."""
    mxc = f"mxc://{server}/{media_id}"
    return mxc if is_mxc(mxc) else None


def is_mxc(address: str) -> bool:
    return _MXC.fullmatch(address) is not None


def split_mxc(mxc: str) -> tuple[str, str] | None:
    """Return server name and media id of an ``mxc://`` URI; None if it is not valid."""
    found = _MXC.fullmatch(mxc)
    return (found[1], found[2]) if found else None


def media_uris(media: Media | None, formatted_body: str | None) -> list[str]:
    """Return the ``mxc://`` URIs of all files that a message with this content shows, each once; no encrypted ones."""
    own = [media.mxc, media.thumbnail_mxc] if media and media.encrypted_file is None else []
    return list(dict.fromkeys(mxc for mxc in [*own, *_inline_images(formatted_body)] if mxc and is_mxc(mxc)))


def with_image_sources(html: str, source: Callable[[str], str]) -> str:
    """Return HTML from `html_sanitizing` with other URLs of its images.

    Args:
        html: Sanitized HTML.
        source: Maps an image's ``mxc://`` URI to its new URL.
    """
    if "mxc://" not in html:
        return html
    return _IMAGE_SOURCE.sub(lambda found: f'{found[1]}{escape(source(found[2]))}"', html)


def _inline_images(html: str | None) -> list[str]:
    if html is None or "mxc://" not in html:
        return []
    return [found[2] for found in _IMAGE_SOURCE.finditer(html)][:MAX_INLINE]


def msgtype_of(mimetype: str) -> str:
    """Return the ``msgtype`` of a message with a file of this type."""
    kind = mimetype.partition("/")[0]
    return f"m.{kind}" if kind in {"image", "audio", "video"} else "m.file"


def sanitize_filename(name: str | None, mimetype: str) -> str:
    """Return a safe file name: without a path, and without invisible characters that disguise its extension."""
    last = re.split(r"[/\\]", name or "")[-1]
    kept = "".join(each for each in last if unicodedata.category(each) not in _INVISIBLE_CATEGORIES)
    kept = strip_bidi_controls(kept).replace("\ufeff", "")
    kept = kept.strip().strip(".").strip()
    if not kept:
        return "file" + (mimetypes.guess_extension(mimetype, strict=True) or "")
    if len(kept) <= MAX_FILENAME_CHARS:
        return kept
    stem, dot, extension = kept.rpartition(".")
    extension = dot + extension if stem and len(extension) <= _MAX_EXTENSION_CHARS else ""
    return kept[: MAX_FILENAME_CHARS - len(extension)] + extension


_MAX_EXTENSION_CHARS: Final = 16
_INVISIBLE_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Controls, surrogates and line separators."""


def is_allowed(mimetype: str, allowed: Iterable[str]) -> bool:
    """Return whether a type matches one of ``allowed``: types, ``image/*`` and ``*/*``."""
    return not {mimetype, mimetype.partition("/")[0] + "/*", "*/*"}.isdisjoint(allowed)
