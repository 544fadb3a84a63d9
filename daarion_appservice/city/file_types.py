"""File types by content: a file's first bytes decide what it is, not its declared type.

Images, audio and video that browsers can show are detected, because pages show no other files. Every other file is a
download, whatever its name.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Final

import imagesize

from ..errors import InvalidInput

HEAD_BYTES: Final = 64 * 1024
"""Bytes of a file that detection reads; the size of a photograph follows its camera metadata."""

UNKNOWN: Final = "application/octet-stream"

_PREFIXES: Final[tuple[tuple[bytes, tuple[str, ...]], ...]] = (
    (b"\x89PNG\r\n\x1a\n", ("image/png",)),
    (b"\xff\xd8\xff", ("image/jpeg",)),
    (b"GIF87a", ("image/gif",)),
    (b"GIF89a", ("image/gif",)),
    (b"fLaC", ("audio/flac",)),
    (b"ID3\x02", ("audio/mpeg", "audio/aac")),
    (b"ID3\x03", ("audio/mpeg", "audio/aac")),
    (b"ID3\x04", ("audio/mpeg", "audio/aac")),
    (b"%PDF-", ("application/pdf",)),
    (b"PK\x03\x04", ("application/zip",)),
)
_RIFF: Final = {b"WEBP": ("image/webp",), b"WAVE": ("audio/wav",)}
# ISO base media: the brand names the format inside the container.
_BRANDS: Final = {
    b"avif": ("image/avif",),
    b"avis": ("image/avif",),
    b"qt  ": ("video/quicktime",),
    b"M4A ": ("audio/mp4", "video/mp4"),
    b"M4B ": ("audio/mp4", "video/mp4"),
}
_MP4_BRANDS: Final = (b"iso", b"mp4", b"M4V", b"avc1", b"dash", b"msdh", b"f4v", b"mmp4", b"3gp", b"MSNV")

_ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/apng": "image/png",
    "image/vnd.mozilla.apng": "image/png",
    "image/x-png": "image/png",
    "audio/mp3": "audio/mpeg",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-pn-wav": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/x-aac": "audio/aac",
    "audio/aacp": "audio/aac",
    "audio/opus": "audio/ogg",
    "application/ogg": "audio/ogg",
    "video/x-m4v": "video/mp4",
    "video/3gpp": "video/mp4",
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": "application/zip",
    "": UNKNOWN,
    "binary/octet-stream": UNKNOWN,
}
"""Aliases of types."""

DISPLAYED_TYPES: Final = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"),
        *("audio/mpeg", "audio/aac", "audio/wav", "audio/flac", "audio/ogg", "audio/mp4", "audio/webm"),
        *("video/mp4", "video/quicktime", "video/webm", "video/ogg"),
    }
)
"""Types that a browser may show instead of saving; all of them can be detected."""

_DETECTABLE_TYPES: Final = DISPLAYED_TYPES | {"application/pdf", "application/zip"}
_MEDIA: Final = ("image/", "audio/", "video/")
_FORM_TYPES: Final = frozenset({"multipart/form-data", "application/x-www-form-urlencoded"})


def stored_type(declared: str, head: bytes) -> str:
    """Return the type under which to store an uploaded file.

    A generic declared type is replaced by the detected one. Types that a browser executes, and images, audio and video
    that cannot be detected, are stored as UNKNOWN, which browsers save.

    Args:
        declared: The declared ``Content-Type``.
        head: The first HEAD_BYTES of the file.

    Raises:
        InvalidInput: The file is not what ``declared`` claims (status 415).
    """
    declared = normalize_type(declared)
    if declared in _FORM_TYPES:
        raise InvalidInput("media_type_mismatch", "send the file itself as the body, not a form with it", status=415)
    detected = detect_types(head)
    if declared == UNKNOWN:
        return detected[0] if detected else UNKNOWN
    if declared in detected:
        return declared
    if same_kind := _same_media_kind(declared, detected):
        return same_kind
    if declared in _DETECTABLE_TYPES or _contradicts(declared, detected):
        what = (
            f"its first bytes are those of {detected[0]}" if detected else "its first bytes are not those of this type"
        )
        raise InvalidInput("media_type_mismatch", f"the file is not of the type {declared}: {what}", status=415)
    return UNKNOWN if declared.startswith(_MEDIA) or is_executable(declared) else declared


def served_type(declared: str, head: bytes) -> str:
    """Return the ``Content-Type`` for a download: of DISPLAYED_TYPES only if the content matches, never executable."""
    declared, detected = normalize_type(declared), detect_types(head)
    if detected and detected[0] in DISPLAYED_TYPES:
        return declared if declared in detected else detected[0]
    if declared in detected:
        return declared
    is_unsafe = declared in _DETECTABLE_TYPES or declared.startswith(_MEDIA) or is_executable(declared)
    return UNKNOWN if is_unsafe else declared


def detect_types(head: bytes) -> tuple[str, ...]:
    """Return the types that a file with this start may have, the likeliest first; empty if unknown."""
    for prefix, types in _PREFIXES:
        if head.startswith(prefix):
            return types
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], ())
    if head[4:8] == b"ftyp":
        return _iso_media(head[8:12])
    if head[:4] == b"OggS":
        is_video = b"\x80theora" in head[:512]
        return ("video/ogg",) if is_video else ("audio/ogg", "video/ogg")
    if head[:4] == b"\x1aE\xdf\xa3" and b"webm" in head[:64]:
        return ("video/webm", "audio/webm")
    return _mpeg_audio(head)


def image_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels after the EXIF rotation of photographs; None if they cannot be read."""
    types = detect_types(head)
    if not types or not types[0].startswith("image/"):
        return None
    try:
        image = imagesize.get_info(BytesIO(head), dpi=False, colors=False, channels=False)
    except (ValueError, struct.error, IndexError, TypeError, OverflowError):
        # The file may be malformed. Its first bytes identified an image, which is accepted without a size.
        return None
    width, height = int(image.width), int(image.height)
    return (width, height) if 0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE else None


_MAX_SIDE: Final = 1_000_000


def normalize_type(text: str) -> str:
    """Normalize ``Image/JPG; charset=…`` to ``image/jpeg``; return UNKNOWN for an invalid type."""
    name = text.partition(";")[0].strip().lower()
    name = _ALIASES.get(name, name)
    kind, slash, subtype = name.partition("/")
    is_type = bool(slash) and all(_is_token(part) for part in (kind, subtype)) and len(name) <= 127
    return name if is_type else UNKNOWN


def is_executable(mimetype: str) -> bool:
    """Return whether a browser that opens a file of this type may run scripts in it or show it as a page."""
    return (
        mimetype.endswith(("html", "xml", "javascript", "ecmascript", "/wasm", "/jscript", "/livescript", "/hta"))
        or mimetype.startswith(("multipart/", "message/", "text/xsl", "text/css", "text/cache-manifest"))
        or "flash" in mimetype
    )


def _same_media_kind(declared: str, detected: tuple[str, ...]) -> str | None:
    """Return the detected type for a declared alias of audio or video that is not in the table (``audio/x-m4b``)."""
    if declared in _DETECTABLE_TYPES or not declared.startswith(_MEDIA):
        return None
    kind = declared.partition("/")[0] + "/"
    return next((each for each in detected if each.startswith(kind)), None)


def _contradicts(declared: str, detected: tuple[str, ...]) -> bool:
    """Return whether the declared type contradicts a detected one. Many document formats are archives inside."""
    return bool(detected) and (detected[0] in DISPLAYED_TYPES or declared.startswith(("text/", *_MEDIA)))


def _iso_media(brand: bytes) -> tuple[str, ...]:
    if brand in _BRANDS:
        return _BRANDS[brand]
    return ("video/mp4", "audio/mp4") if brand.startswith(_MP4_BRANDS) else ()


def _mpeg_audio(head: bytes) -> tuple[str, ...]:
    """Detect MPEG audio: frames begin with eleven set bits, and their rates must not be the forbidden values.

    Only layers II and III count: what begins like layer I is text in UTF-16.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return ()
    layer = head[1] & 0x06
    if layer == 0:
        return ("audio/aac",) if head[1] & 0xF0 == 0xF0 else ()
    is_frame = (
        layer != 0x06 and head[1] & 0x18 != 0x08 and head[2] & 0xF0 not in {0x00, 0xF0} and head[2] & 0x0C != 0x0C
    )
    return ("audio/mpeg",) if is_frame else ()


def _is_token(part: str) -> bool:
    return bool(part) and part.isascii() and all(each.isalnum() or each in "!#$&^_.+-" for each in part)
