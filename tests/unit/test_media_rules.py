"""Media: addresses, thumbnails, file names, and the message types of files."""

from __future__ import annotations

import pytest

from daarion_appservice.city.html_sanitizing import sanitize_html
from daarion_appservice.city.media import (
    MAX_INLINE,
    Thumbnail,
    is_allowed,
    is_mxc,
    media_uris,
    msgtype_of,
    mxc_uri,
    nearest_thumbnail,
    sanitize_filename,
)
from daarion_appservice.city.types import Media
from daarion_appservice.http.media_urls import MediaUrls

GOOD = ["mxc://example.org/AbC_-9", "mxc://example.org:8448/x", "mxc://[2001:db8::1]:8448/x", "mxc://1.2.3.4/x"]
BAD = [
    "",
    "https://example.org/x",
    "mxc://example.org",
    "mxc://example.org/",
    "mxc:///x",
    "mxc://../x",
    "mxc://./x",
    "mxc://example.org/..",
    "mxc://example.org/a/b",
    "mxc://example.org/a%2fb",
    "mxc://example.org%2f../x",
    "mxc://example.org/a?b",
    "mxc://example.org/a#b",
    "mxc://example.org/a b",
    "mxc://example.org/a\n",
    "mxc://user@example.org/a",
    "mxc://example.org:/a",
    "mxc://example.org:123456/a",
    "mxc://приклад.укр/a",
    f"mxc://{'a' * 300}/x",
    f"mxc://a/{'x' * 300}",
]


@pytest.mark.parametrize("mxc", GOOD)
def test_an_address_is_a_server_and_an_id(mxc: str) -> None:
    assert is_mxc(mxc)
    server, media_id = mxc.removeprefix("mxc://").split("/")
    assert mxc_uri(server, media_id) == mxc


@pytest.mark.parametrize("mxc", BAD)
def test_invalid_mxc_is_refused(mxc: str) -> None:
    assert not is_mxc(mxc)
    assert MediaUrls().url(mxc) is None
    server, _, media_id = mxc.removeprefix("mxc://").partition("/")
    assert not mxc.startswith("mxc://") or mxc_uri(server, media_id) is None


def test_the_city_has_a_path_for_each_address() -> None:
    assert MediaUrls().url("mxc://[2001:db8::1]:8448/x_Y-9") == "/city/media/%5B2001%3Adb8%3A%3A1%5D%3A8448/x_Y-9"
    assert MediaUrls().url(None) is None


@pytest.mark.parametrize(
    ("mimetype", "thumbnail_mxc", "url"),
    [
        ("image/png", None, "/city/media/a/x/thumbnail?width=800&height=600&method=scale"),
        ("video/mp4", "mxc://a/t", "/city/media/a/t/thumbnail?width=800&height=600&method=scale"),
        ("video/mp4", None, None),
        ("image/svg+xml", None, None),
    ],
)
def test_thumbnail_url_depends_on_type(mimetype: str, thumbnail_mxc: str | None, url: str | None) -> None:
    assert MediaUrls().thumbnail_url(Media("mxc://a/x", mimetype, "f", thumbnail_mxc=thumbnail_mxc)) == url


def test_html_images_get_media_urls() -> None:
    html = sanitize_html(
        'src="mxc://a/text" <img alt="1 > 0" height="9" src="mxc://a.b:1/pic"> '
        '<a href="https://c/?mxc://a/b">mxc://a/link</a> <img src="mxc://a_b/x">'
    )
    shown = MediaUrls().html(html)
    assert shown is not None
    assert '<img src="/city/media/a.b%3A1/pic" alt="1 &gt; 0" height="9">' in shown
    assert 'src="mxc://a/text"' in shown
    assert "?mxc://a/b" in shown
    assert ">mxc://a/link<" in shown
    assert '<img src="">' in shown
    assert MediaUrls().html(None) is None


def test_media_uris_are_listed_once() -> None:
    media = Media("mxc://a/x", "video/mp4", "f", thumbnail_mxc="mxc://a/t")
    html = '<img src="mxc://a/x"><img src="mxc://a/e" alt="e"> src="mxc://a/text" <img src="mxc://../x">'
    assert media_uris(media, html) == ["mxc://a/x", "mxc://a/t", "mxc://a/e"]
    assert media_uris(None, "nothing") == media_uris(None, None) == []


def test_media_uris_of_message_are_limited() -> None:
    assert len(media_uris(None, "".join(f'<img src="mxc://a/{number}">' for number in range(500)))) == MAX_INLINE


@pytest.mark.parametrize(
    ("width", "height", "method", "size"),
    [
        (1, 1, "crop", (32, 32)),
        (32, 33, "crop", (96, 96)),
        (4096, 1, "crop", (96, 96)),
        (1, 1, "scale", (320, 240)),
        (320, 241, "scale", (640, 480)),
        (641, 1, "scale", (800, 600)),
        (4096, 4096, "scale", (800, 600)),
    ],
)
def test_thumbnails_have_fixed_sizes(width: int, height: int, method: str, size: tuple[int, int]) -> None:
    assert nearest_thumbnail(width, height, method) == Thumbnail(*size, method)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "tidy"),
    [
        ("фунікулер.jpg", "фунікулер.jpg"),
        ("👩‍🚀 space.png", "👩‍🚀 space.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\звіт.pdf", "звіт.pdf"),
        ("annual\u202egpj.exe", "annualgpj.exe"),
        ("a\r\nSet-Cookie: b\x00.txt", "aSet-Cookie: b.txt"),
        (" .hidden. ", "hidden"),
        ("..", "file.png"),
        ("", "file.png"),
        (None, "file.png"),
    ],
)
def test_filename_is_sanitized(name: str | None, tidy: str) -> None:
    assert sanitize_filename(name, "image/png") == tidy


def test_long_filename_keeps_extension() -> None:
    name = sanitize_filename("я" * 400 + ".jpeg", "image/jpeg")
    assert len(name) == 255
    assert name.endswith("я.jpeg")
    assert len(sanitize_filename("x" * 300 + "." + "y" * 300, "image/jpeg")) == 255


def test_msgtype_follows_mimetype() -> None:
    types = ["image/png", "audio/ogg", "video/mp4", "application/pdf", "application/octet-stream", "text/plain"]
    assert [msgtype_of(each) for each in types] == ["m.image", "m.audio", "m.video", "m.file", "m.file", "m.file"]


def test_upload_types_follow_setting() -> None:
    assert is_allowed("image/png", ["*/*"])
    assert is_allowed("image/png", ["image/*"])
    assert is_allowed("image/png", ["audio/ogg", "image/png"])
    assert not is_allowed("application/pdf", ["image/*", "audio/ogg"])
