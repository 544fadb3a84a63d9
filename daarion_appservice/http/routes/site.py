"""The route ``/city/site``: the settings that the city's pages load first."""

from __future__ import annotations

from ...config import Settings
from .. import schemas_site as schemas
from ..auth.principals import Access
from ..routing import Call, NoBody, NoQuery, endpoint
from ..views import JSON


class SiteRoutes:
    def __init__(self, settings: Settings) -> None:
        sign_in, web = settings.sign_in, settings.web
        self._site: JSON = {
            "city_name": settings.city.name,
            "sign_in": {"url": sign_in.url or None, "name": sign_in.name, "matrix": sign_in.matrix},
            "matrix": {
                "server_name": settings.homeserver.domain,
                "homeserver_url": web.homeserver_url or None,
                "client_url": web.client_url or None,
            },
            "heartbeat_ms": int(settings.presence.heartbeat_s * 1000),
            "away_after_ms": int(web.away_after_s * 1000),
        }

    @endpoint(
        "GET", "/city/site", who=Access.EVERYBODY, summary="What pages of the city need to know", answer=schemas.Site
    )
    async def site(self, _call: Call[NoBody, NoQuery]) -> JSON:
        """What it is called, how people come in, and how often a heartbeat is due. Told to everybody, whoever may read."""
        return self._site
