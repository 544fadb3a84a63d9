"""Which URLs may be previewed, and what a preview contains of a page's own words."""

from __future__ import annotations

import pytest

from daarion_appservice.city.url_previews import UrlPreview, public_url, read_preview
from daarion_appservice.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.org", "https://example.org"),
        ("http://Example.org:80/a?b=c#d", "http://example.org/a?b=c"),
        ("https://uk.wikipedia.org/wiki/Київ", "https://uk.wikipedia.org/wiki/%D0%9A%D0%B8%D1%97%D0%B2"),
        ("https://дія.укр/", "https://xn--d1a8cua.xn--j1amh/"),
        ("https://example.org./", "https://example.org./"),
        ("https://1.example.org/@user", "https://1.example.org/@user"),
    ],
)
def test_public_url_is_normalized(text: str, url: str) -> None:
    assert public_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "//example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https://localhost/",
        "https://synapse/",
        "https://synapse./",
        "https://printer.local/",
        "https://db.internal/",
        "https://db.internal./",
        "https://DB.INTERNAL/",
        "https://router.home.arpa/",
        "https://app.localhost/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0x1/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.01/",
        "http://example.1/",
        "http://１２７.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "https://example.org:8008/",
        "https://example.org:22/",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "https://-a.example.org/",
        "https://a..example.org/",
        "https://" + "a." * 130 + "org/",
        "https://example.org/" + "a" * 2000,
        "https://example.org\\@127.0.0.1/",
        "https://example.org%2f.internal/",
    ],
)
def test_other_url_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        public_url(text)
    assert (raised.value.code, raised.value.status) == ("url_not_public", 422)


def test_preview_has_bounded_lines() -> None:
    preview = read_preview(
        {
            "og:title": "  Фунікулер\n\0\u202e" + "а" * 500,
            "og:description": "б" * 5000,
            "og:site_name": ["no text"],
            "og:image": "https://example.org/tracker.png",
        }
    )
    assert preview is not None
    assert preview.title.startswith("Фунікулер ")
    assert not {"\n", "\0", "\u202e"} & set(preview.title)
    assert (len(preview.title), len(preview.description)) == (200, 400)
    assert (preview.site_name, preview.image_mxc) == ("", None)


@pytest.mark.parametrize(
    "content", [{}, {"og:image": "mxc://city.localhost/a"}, {"og:title": " \u200b", "og:description": 1}]
)
def test_page_without_text_has_no_preview(content: dict[str, object]) -> None:
    assert read_preview(content) is None


def test_preview_has_picture_of_homeserver() -> None:
    content = {"og:title": "A", "og:image": "mxc://city.localhost/2026-11-30_abc"}
    assert read_preview(content) == UrlPreview("A", "", "", "mxc://city.localhost/2026-11-30_abc")
