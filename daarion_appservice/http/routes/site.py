"""The route ``/city/site``: the settings that the city's pages load first."""

from __future__ import annotations

from ...config import Settings
from .. import schemas
from ..auth.principals import Access
from ..routing import Call, NoBody, NoQuery, endpoint


class SiteRoutes:
    def __init__(self, settings: Settings) -> None:
        sign_in, web = settings.sign_in, settings.web
        self._site: schemas.SiteSettings = {
            "city_name": settings.city.name,
            "sign_in": {"url": sign_in.url or None, "name": sign_in.name, "matrix": sign_in.matrix},
            "matrix": {
                "server_name": settings.homeserver.domain,
                "homeserver_url": web.homeserver_url or None,
                "client_url": web.client_url or None,
            },
            "heartbeat_ms": int(settings.presence.heartbeat_s * 1000),
            "away_after_ms": int(web.away_after_s * 1000),
            "url_previews": settings.media.url_previews,
        }

    @endpoint("GET", "/city/site", access=Access.PUBLIC, summary="Get the site settings", response=schemas.SiteSettings)
    async def get_site(self, _call: Call[NoBody, NoQuery]) -> schemas.SiteSettings:
        """The settings that pages load first. They are public, also where reading needs a token."""
        return self._site
