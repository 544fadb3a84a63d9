"""Adds Open Graph tags (https://ogp.me) to the pages, because crawlers that preview a link run no scripts.

The tags contain only what an anonymous reader may know: the pages of a private and of a missing room are identical.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from html import escape, unescape
from typing import Final
from urllib.parse import quote

from aiohttp import hdrs, web

from ..city.agents import AgentDirectory
from ..city.history_visibility import is_listed
from ..city.identity import Identities
from ..city.places import Place, PlaceDirectory, PlaceKind
from ..city.text_sanitizing import one_line
from ..config import Settings
from ..errors import CityError
from .agent_avatars import AgentAvatars
from .compressed_file import CompressedFile
from .content_coding import gzip
from .database_errors import translate_database_errors
from .media_urls import media_path
from .room_responses import CachedRoomResponses
from .validation import check_text

IMAGE: Final = "/link-preview.png"
"""The city's image, 1200 × 630 pixels, in ``web/public``: crawlers do not accept SVG."""
_MAX_DESCRIPTION_CHARS: Final = 300
"""Crawlers display fewer characters."""
_TIMEOUT_S: Final = 2.0
"""A page is served without tags when the database does not respond in time."""
_CACHED_DOCUMENTS: Final = 256
"""About 5 kB each."""
_PLACE_KINDS: Final = {"nodes": PlaceKind.NODE, "microdao": PlaceKind.MICRODAO}
_GZIP_LEVEL: Final = 9
_TITLE: Final = re.compile(r"<title>.*?</title>", re.DOTALL)
_DESCRIPTION: Final = re.compile(r'<meta name="description" content="([^"]*)"')


@dataclass(frozen=True, slots=True)
class LinkPreview:
    """The metadata of a page. Texts are plain, not HTML; ``path`` and ``image`` are paths below the city's URL."""

    path: str
    """The page's canonical path."""
    title: str = ""
    """Empty for the city's name."""
    description: str = ""
    """Empty for the city's description."""
    image: str = ""
    """Empty for the city's image."""
    kind: str = "website"
    """``og:type``."""


class LinkPreviews:
    """Finds the preview of a page. Without ``api.anonymous_read`` only the preview of the city itself exists."""

    def __init__(
        self,
        settings: Settings,
        rooms: CachedRoomResponses,
        agents: AgentDirectory,
        places: PlaceDirectory,
        avatars: AgentAvatars,
        identities: Identities,
    ) -> None:
        self._city_name = settings.city.name
        self._public_url = settings.api.public_url.rstrip("/")
        self._anonymous_read = settings.api.anonymous_read
        self._rooms = rooms
        self._agents = agents
        self._places = places
        self._avatars = avatars
        self._identities = identities

    async def document(self, request: web.Request, document: CompressedFile) -> CompressedFile:
        """Return ``document`` with the tags of the requested page, or unchanged if the page has no preview."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                with translate_database_errors():
                    preview = await self._find(request.path)
        except (CityError, TimeoutError):
            # Not found, or the database does not respond: the page itself shows the error.
            return document
        if preview is None:
            return document
        return _with_tags(document, preview, self._city_name, self._origin(request))

    async def _find(self, path: str) -> LinkPreview | None:
        check_text(path)
        section, _, name = path.removeprefix("/").partition("/")
        if not name:
            return LinkPreview(path)
        if not self._anonymous_read:
            return None
        if section == "city":
            # The page of a message has the preview of its room: the text of a message is for its readers.
            return await self._room(name.partition("/")[0])
        if section == "agents":
            return await self._agent(name)
        return _place(section, self._places.find(_PLACE_KINDS[section], name))

    async def _room(self, id_or_slug: str) -> LinkPreview | None:
        room = await self._rooms.room_without_messages(id_or_slug)
        if not is_listed(room):
            return None
        return LinkPreview(
            f"/city/{quote(room.slug, safe='')}", room.name, room.description, media_path(room.avatar_url) or ""
        )

    async def _agent(self, id_or_slug: str) -> LinkPreview:
        agent = self._agents.find(id_or_slug)
        image = (await self._avatars.all()).get(self._identities.agent(agent.slug)) or ""
        return LinkPreview(
            f"/agents/{quote(agent.slug, safe='')}", agent.display_name, agent.title, image, kind="profile"
        )

    def _origin(self, request: web.Request) -> str:
        """Return the public origin of the city; empty without a configured URL and a Host header."""
        is_named = hdrs.HOST in request.headers
        return self._public_url or (f"{request.scheme}://{request.host}" if is_named else "")


def _place(section: str, place: Place) -> LinkPreview:
    return LinkPreview(f"/{section}/{quote(place.id, safe='')}", place.name, place.description)


@lru_cache(_CACHED_DOCUMENTS)
def _with_tags(document: CompressedFile, preview: LinkPreview, city_name: str, origin: str) -> CompressedFile:
    """Replace the title by the tags. The ETag begins with that of ``document``, by which the service worker compares builds."""
    html = document.content.decode()
    match = _DESCRIPTION.search(html)
    head = _head(preview, city_name, unescape(match[1]) if match else "", origin)
    content = _TITLE.sub(lambda _: head, html, count=1).encode()
    compressed = {"gzip": gzip(content, _GZIP_LEVEL)}
    return replace(
        document, content=content, compressed=compressed, etag=f"{document.etag}-{sha256(content).hexdigest()[:16]}"
    )


def _head(preview: LinkPreview, city_name: str, city_description: str, origin: str) -> str:
    title = one_line(preview.title) or city_name
    is_city = title == city_name
    tags = {
        "og:site_name": city_name,
        "og:title": title,
        "og:description": one_line(preview.description, _MAX_DESCRIPTION_CHARS) or city_description,
        "og:type": preview.kind,
        # Open Graph URLs must be absolute.
        "og:url": origin and origin + preview.path,
        "og:image": origin and origin + (preview.image or IMAGE),
    }
    if not preview.image:
        tags |= {"og:image:width": "1200", "og:image:height": "630"}
    card_type = "summary" if preview.image else "summary_large_image"
    return "\n    ".join(
        (
            f"<title>{escape(title if is_city else f'{title} · {city_name}')}</title>",
            *(f'<meta property="{name}" content="{escape(text)}" />' for name, text in tags.items() if text),
            f'<meta name="twitter:card" content="{card_type}" />',
        )
    )
