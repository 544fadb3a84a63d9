"""Redirects the pages of rooms whose slug became a path of the API with an upgrade: their pages have the room's id instead.

browser: GET /city/push ─► counted for its address ─► is there a room with this slug? ─► 302 /city/city_push
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from ..city.history_visibility import is_listed
from ..city.slugs import RESERVED
from ..errors import NotFound
from .limits.request_limits import RequestLimits
from .room_responses import CachedRoomResponses

_SECTION: Final = "/city/"


@dataclass(frozen=True, slots=True)
class ReservedRooms:
    """Redirects requests for such a page (``Accept: text/html``); requests of API clients pass unchanged."""

    rooms: CachedRoomResponses
    limits: RequestLimits

    @web.middleware
    async def redirect(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a browser's request for the page of such a room, or of a message in it; pass on any other request."""
        path = request.rel_url.raw_path
        slug, slash, rest = path.removeprefix(_SECTION).partition("/")
        is_page = request.method == hdrs.METH_GET and "text/html" in request.headers.get(hdrs.ACCEPT, "")
        if is_page and slug in RESERVED and path.startswith(_SECTION):
            await self.limits.count_address(request)
            try:
                room = await self.rooms.room_without_messages(slug)
            except NotFound:
                return await handler(request)
            if room.slug == slug and (is_listed(room) or room.was_public):
                raise web.HTTPFound(f"{_SECTION}{room.id}{slash}{rest}")
        return await handler(request)
