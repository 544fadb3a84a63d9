"""Pictures, sounds, films and other files: how they are called, and what the city does with each kind."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

from .text_sanitizing import without_turning
from .types import Media

MAX_FILENAME_CHARS: Final = 255
MAX_INLINE: Final = 50
"""Pictures within one message's HTML that are fetched; more than that nobody means."""

# Spec, "Server Name" and "Matrix Content (mxc://) URIs": others could lead astray in a path.
_MXC: Final = re.compile(
    r"mxc://((?:\[[0-9A-Fa-f:.]{2,45}\]|(?=[A-Za-z0-9.-]*[A-Za-z0-9])[A-Za-z0-9.-]{1,230})(?::[0-9]{1,5})?)/([A-Za-z0-9_-]{1,255})"
)
_IMAGE_SOURCE: Final = re.compile(r'(<img(?: [a-z-]+="[^"]*+")*? src=")(mxc://[^"]*+)"')

Method = Literal["crop", "scale"]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A smaller picture of a picture: at most so large (scale), or of just these proportions (crop)."""

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
"""Those that Synapse makes of every picture by itself: another size would be one of these anyway, and be kept once more."""

USUAL: Final = _SIZES[4]
"""What a message's picture is shown as."""

THUMBNAILED: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What homeservers make thumbnails of."""


def snapped(width: int, height: int, method: Method) -> Thumbnail:
    """The smallest thumbnail that there is for somebody who wants one of this size."""
    sizes = [size for size in _SIZES if size.method == method]
    return next((size for size in sizes if size.width >= width and size.height >= height), sizes[-1])


def mxc_of(server: str, media_id: str) -> str | None:
    """The address of a file; None when there can be none of that name."""
    mxc = f"mxc://{server}/{media_id}"
    return mxc if is_mxc(mxc) else None


def is_mxc(address: str) -> bool:
    return _MXC.fullmatch(address) is not None


def parts_of(mxc: str) -> tuple[str, str] | None:
    """Server name and media id; None for what is no address."""
    found = _MXC.fullmatch(mxc)
    return (found[1], found[2]) if found else None


def addresses_in(media: Media | None, formatted_body: str | None) -> list[str]:
    """All files that are seen by whoever sees a message with these, each once."""
    own = [media.mxc, media.thumbnail_mxc] if media and not media.is_private else []
    return list(dict.fromkeys(mxc for mxc in [*own, *_inline(formatted_body)] if mxc and is_mxc(mxc)))


def with_image_sources(html: str, source: Callable[[str], str]) -> str:
    """HTML as ``markup`` leaves it, with other addresses of its pictures."""
    if "mxc://" not in html:
        return html
    return _IMAGE_SOURCE.sub(lambda found: f'{found[1]}{escape(source(found[2]))}"', html)


def _inline(html: str | None) -> list[str]:
    if html is None or "mxc://" not in html:
        return []
    return [found[2] for found in _IMAGE_SOURCE.finditer(html)][:MAX_INLINE]


def msgtype_of(mimetype: str) -> str:
    """What a message with such a file is on Matrix."""
    kind = mimetype.partition("/")[0]
    return f"m.{kind}" if kind in {"image", "audio", "video"} else "m.file"


def tidy_filename(name: str | None, mimetype: str) -> str:
    """A name to save a file under: no path, nothing invisible that makes it look like another one."""
    last = re.split(r"[/\\]", name or "")[-1]
    kept = "".join(each for each in last if unicodedata.category(each) not in _UNSEEN)
    kept = without_turning(kept).replace("\ufeff", "")
    kept = kept.strip().strip(".").strip()
    if not kept:
        return "file" + (mimetypes.guess_extension(mimetype, strict=True) or "")
    if len(kept) <= MAX_FILENAME_CHARS:
        return kept
    stem, dot, ending = kept.rpartition(".")
    ending = dot + ending if stem and len(ending) <= _MAX_ENDING else ""
    return kept[: MAX_FILENAME_CHARS - len(ending)] + ending


_MAX_ENDING: Final = 16
_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Controls, halves of characters, and what breaks a line."""


def is_allowed(mimetype: str, allowed: Iterable[str]) -> bool:
    """``allowed`` holds types, ``image/*`` and ``*/*``."""
    return not {mimetype, mimetype.partition("/")[0] + "/*", "*/*"}.isdisjoint(allowed)
