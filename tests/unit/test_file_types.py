"""Detection of file types by the first bytes."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from daarion_appservice.city.file_types import (
    DISPLAYED_TYPES,
    HEAD_BYTES,
    UNKNOWN,
    detect_types,
    image_size,
    is_executable,
    normalize_type,
    served_type,
    stored_type,
)
from daarion_appservice.errors import InvalidInput

HTML = b"<!doctype html><script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def picture(kind: str, width: int = 40, height: int = 30, **options: object) -> bytes:
    """A real one, as the encoder that everybody uses writes it."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, kind, **options)
    return file.getvalue()


def box(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + b"\0\0\0\0isom" + b"\0" * 100


PICTURES = {
    "image/png": picture("PNG"),
    "image/jpeg": picture("JPEG"),
    "image/gif": picture("GIF"),
    "image/webp": picture("WEBP"),
    "image/avif": picture("AVIF"),
}
OTHERS = {
    "video/mp4": box(b"isom"),
    "video/quicktime": box(b"qt  "),
    "audio/mp4": box(b"M4A "),
    "video/webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm",
    "audio/ogg": b"OggS\0\x02" + b"\0" * 20 + b"\x01\x13OpusHead",
    "video/ogg": b"OggS\0\x02" + b"\0" * 20 + b"\x01*\x80theora",
    "audio/wav": b"RIFF\x24\0\0\0WAVEfmt ",
    "audio/flac": b"fLaC\0\0\0\x22",
    "audio/mpeg": b"\xff\xfb\x90\x64" + b"\0" * 100,
    "audio/aac": b"\xff\xf1\x50\x80\x02",
    "application/pdf": b"%PDF-1.7\n",
    "application/zip": b"PK\x03\x04\x14\0",
}
EVERYTHING = PICTURES | OTHERS


@pytest.mark.parametrize("mimetype", EVERYTHING)
def test_type_is_detected_from_first_bytes(mimetype: str) -> None:
    head = EVERYTHING[mimetype]
    assert detect_types(head)[0] == mimetype
    assert stored_type(mimetype, head) == mimetype
    assert stored_type("application/octet-stream", head) == mimetype, "a type that says nothing becomes what it is"
    assert stored_type("", head) == mimetype


@pytest.mark.parametrize("mimetype", EVERYTHING)
def test_a_file_that_is_something_else_is_refused(mimetype: str) -> None:
    for other, head in {**EVERYTHING, "text/html": HTML, "image/svg+xml": SVG}.items():
        if mimetype not in detect_types(head):
            with pytest.raises(InvalidInput) as refused:
                stored_type(mimetype, head)
            assert (refused.value.status, refused.value.code) == (415, "media_type_mismatch"), other


@pytest.mark.parametrize(
    ("declared", "head", "kept"),
    [
        ("audio/mp4", box(b"isom"), "audio/mp4"),
        ("video/mp4", box(b"M4A "), "video/mp4"),
        ("audio/webm", OTHERS["video/webm"], "audio/webm"),
        ("Image/JPG; charset=binary", PICTURES["image/jpeg"], "image/jpeg"),
        ("audio/x-wav", OTHERS["audio/wav"], "audio/wav"),
        ("audio/x-m4b", box(b"M4B "), "audio/mp4"),
        ("audio/mpeg", b"ID3\x04\0\0" + b"\0" * 100, "audio/mpeg"),
        ("video/3gpp2", box(b"3gp4"), "video/mp4"),
        ("text/plain", "Добрий день".encode("utf-16"), "text/plain"),
        ("text/plain", b"ID3 is what stands before a song", "text/plain"),
        (
            "application/vnd.oasis.opendocument.text",
            OTHERS["application/zip"],
            "application/vnd.oasis.opendocument.text",
        ),
        ("text/plain; charset=utf-8", "Добрий день".encode(), "text/plain"),
        ("application/json", b"{}", "application/json"),
        ("not a type", b"anything", UNKNOWN),
        ("text/html\r\nX-Header: 1", b"anything", UNKNOWN),
    ],
)
def test_type_aliases_are_normalized(declared: str, head: bytes, kept: str) -> None:
    assert stored_type(declared, head) == kept


@pytest.mark.parametrize(
    "declared",
    [
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "application/atom+xml",
        "text/javascript",
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "application/wasm",
        "multipart/related",
        "message/rfc822",
        "application/x-shockwave-flash",
    ],
)
def test_executable_type_is_served_as_download(declared: str) -> None:
    assert is_executable(normalize_type(declared))
    assert stored_type(declared, HTML) == UNKNOWN
    assert served_type(declared, HTML) == UNKNOWN


def test_undetected_picture_is_served_as_download() -> None:
    assert stored_type("image/tiff", b"II*\0anything") == UNKNOWN
    assert served_type("image/tiff", b"II*\0anything") == UNKNOWN


@pytest.mark.parametrize("declared", ["text/plain", "text/html", "audio/x-new", "application/x-thing"])
def test_picture_with_wrong_type_is_refused(declared: str) -> None:
    with pytest.raises(InvalidInput):
        stored_type(declared, PICTURES["image/png"])


@pytest.mark.parametrize("declared", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_form_upload_is_refused(declared: str) -> None:
    with pytest.raises(InvalidInput, match="not a form"):
        stored_type(declared, b"--x\r\n")


@given(declared=st.text(max_size=40) | st.sampled_from(sorted(EVERYTHING)), head=st.binary(max_size=200))
def test_served_type_matches_detected_type(declared: str, head: bytes) -> None:
    """Any declared type with any content."""
    shown = served_type(declared, head)
    assert not is_executable(shown)
    assert shown not in DISPLAYED_TYPES or shown in detect_types(head)
    assert not shown.startswith(("image/", "audio/", "video/")) or shown in DISPLAYED_TYPES


@pytest.mark.parametrize("declared", ["text/html", "image/png", "video/mp4", "text/plain", "x", ""])
def test_detected_picture_is_served_as_picture(declared: str) -> None:
    assert served_type(declared, PICTURES["image/jpeg"]) == "image/jpeg"


@pytest.mark.parametrize("mimetype", PICTURES)
def test_a_picture_has_a_size(mimetype: str) -> None:
    assert image_size(PICTURES[mimetype]) == (40, 30)


def test_photograph_size_respects_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert image_size(picture("JPEG", exif=exif)) == (30, 40)


def test_photograph_size_is_found_after_long_metadata() -> None:
    comment = b"\xff\xfe" + struct.pack(">H", 60_000) + b"x" * 59_998
    head = PICTURES["image/jpeg"][:2] + comment + PICTURES["image/jpeg"][2:]
    assert image_size(head[:HEAD_BYTES]) == (40, 30)


def test_other_file_has_no_size() -> None:
    assert [image_size(head) for head in (*OTHERS.values(), SVG, HTML, b"")] == [None] * (len(OTHERS) + 3)


@given(st.data())
def test_a_broken_picture_breaks_nothing(data: st.DataObject) -> None:
    head = bytearray(data.draw(st.sampled_from(list(PICTURES.values()))))
    for _ in range(data.draw(st.integers(0, 8))):
        head[data.draw(st.integers(0, len(head) - 1))] = data.draw(st.integers(0, 255))
    size = image_size(bytes(head[: data.draw(st.integers(0, len(head)))]))
    assert size is None or all(0 < side <= 1_000_000 for side in size)
