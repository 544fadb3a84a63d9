"""URL previews: which links may be previewed, and the Open Graph data (https://ogp.me) of a page as the city shows it.

The homeserver requests the pages, so only public host names are accepted: no IP address in any notation, no name of a local
network, no credentials and no port of its own. Synapse's ``url_preview_ip_range_blacklist`` checks what a name resolves to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from yarl import URL

from ..errors import InvalidInput
from .media import is_mxc
from .text_sanitizing import one_line

MAX_URL_CHARS: Final = 2000
_MAX_TITLE_CHARS: Final = 200
_MAX_DESCRIPTION_CHARS: Final = 400
_MAX_SITE_NAME_CHARS: Final = 100

_LOCAL_DOMAINS: Final = (
    *("localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "localdomain"),
    *("home.arpa", "test", "invalid", "onion"),
)
"""Domains without public hosts: RFC 6761, RFC 6762 appendix G, RFC 7686, RFC 8375, and ICANN's ``internal``."""
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_TOP_LABEL: Final = re.compile(r"[a-z][a-z0-9-]*[a-z0-9]")
"""A top-level domain. URL parsers take a name whose last label is a number, such as ``127.1``, for an IPv4 address."""
_MAX_HOST_CHARS: Final = 253


@dataclass(frozen=True, slots=True)
class UrlPreview:
    """The preview of a page. Texts are one line each, and empty if the page has none."""

    title: str
    description: str
    site_name: str
    image_mxc: str | None
    """The copy of the page's picture in the media repository of the homeserver."""


def public_url(text: str) -> str:
    """Return a URL in a normal form without its fragment, which the request of a page does not contain.

    Args:
        text: the URL, at most ``MAX_URL_CHARS`` characters.

    Raises:
        InvalidInput: it is not an ``http`` or ``https`` URL of a public host name (status 422).
    """
    try:
        url = URL(text).with_fragment(None)
        is_public = len(text) <= MAX_URL_CHARS and _is_public(url)
    except ValueError as error:
        raise _not_public() from error
    if not is_public:
        raise _not_public()
    return str(url)


def read_preview(content: Mapping[str, Any]) -> UrlPreview | None:
    """Return the preview in a response of the homeserver, or None if the page has no title and no description."""
    preview = UrlPreview(
        _text(content, "og:title", _MAX_TITLE_CHARS),
        _text(content, "og:description", _MAX_DESCRIPTION_CHARS),
        _text(content, "og:site_name", _MAX_SITE_NAME_CHARS),
        _image(content),
    )
    return preview if preview.title or preview.description else None


def _not_public() -> InvalidInput:
    return InvalidInput("url_not_public", "url: must be an http or https URL of a public host name", status=422)


def _is_public(url: URL) -> bool:
    """Return whether the URL is one of a public host; raise ValueError if its host or port is not valid."""
    return (
        url.scheme in {"http", "https"}
        and "@" not in url.raw_authority
        and url.is_default_port()
        and _is_public_host((url.raw_host or "").removesuffix("."))
    )


def _is_public_host(host: str) -> bool:
    host = host.lower()
    labels = host.split(".")
    return (
        len(host) <= _MAX_HOST_CHARS
        and len(labels) > 1
        and all(_LABEL.fullmatch(label) for label in labels)
        and _TOP_LABEL.fullmatch(labels[-1]) is not None
        and not any(host == domain or host.endswith(f".{domain}") for domain in _LOCAL_DOMAINS)
    )


def _text(content: Mapping[str, Any], key: str, most_chars: int) -> str:
    value = content.get(key)
    return one_line(value, most_chars) if isinstance(value, str) else ""


def _image(content: Mapping[str, Any]) -> str | None:
    value = content.get("og:image")
    return value if isinstance(value, str) and is_mxc(value) else None
