"""The web resource: ``/_synapse/client/daarion/presence``. The protocol stands in the README."""

from __future__ import annotations

import dataclasses
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from synapse.appservice import ApplicationService
from synapse.module_api import DirectServeJsonResource, JsonDict, ModuleApi, SynapseRequest
from synapse.module_api import parse_json_object_from_request as json_object
from synapse.module_api.errors import InvalidClientCredentialsError

from . import wishes
from .keeper import Keeper
from .settings import Settings
from .version import __version__

if TYPE_CHECKING:
    from synapse.storage import DataStore

PATH: Final = "/_synapse/client/daarion/presence"


class PresenceResource(DirectServeJsonResource):
    def __init__(self, settings: Settings, keeper: Keeper, api: ModuleApi, store: DataStore) -> None:
        super().__init__()
        self._settings = settings
        self._keeper = keeper
        self._api = api
        self._store = store

    async def _async_render_GET(self, request: SynapseRequest) -> tuple[int, JsonDict]:  # noqa: N802
        """Says what is here, and changes nothing."""
        self._asking(request)
        return HTTPStatus.OK, {
            "module": "daarion_presence",
            "version": __version__,
            "max_users": self._settings.max_users,
            "timeout_s": self._settings.timeout_s,
        }

    async def _async_render_POST(self, request: SynapseRequest) -> tuple[int, JsonDict]:  # noqa: N802
        """Shows users as they are wished to be shown, and renews the lease."""
        service = self._asking(request)
        wanted = wishes.parse(json_object(request), self._settings.max_users)
        granted, refused = wishes.sort_out(
            wanted, lambda user_id: self._api.is_mine(user_id) and service.is_exclusive_user(user_id)
        )
        lease = await self._keeper.show(service.id, granted)
        return HTTPStatus.OK, {
            "ok": len(wanted) - len(refused),
            "refused": [dataclasses.asdict(refusal) for refusal in refused],
            "lease": lease.id,
            "up": len(lease.users),
        }

    async def _async_render_DELETE(self, request: SynapseRequest) -> tuple[int, JsonDict]:  # noqa: N802
        """Ends the lease: everybody under it goes offline."""
        return HTTPStatus.OK, {"ok": await self._keeper.give_up(self._asking(request).id)}

    def _asking(self, request: SynapseRequest) -> ApplicationService:
        """Whose token it is. Raises InvalidClientCredentialsError (401) if it is no application service's."""
        token = _bearer_token(request)
        if token is None:
            raise InvalidClientCredentialsError("Missing access token", "M_MISSING_TOKEN")
        # All are compared, and each in constant time: how long it takes tells nothing of any token.
        found = [each for each in self._store.get_app_services() if hmac.compare_digest(each.token.encode(), token)]
        if not found or not _may_come_from_there(found[0], request):
            raise InvalidClientCredentialsError("Not the as_token of an application service", "M_UNKNOWN_TOKEN")
        return found[0]


def _bearer_token(request: SynapseRequest) -> bytes | None:
    headers = request.requestHeaders.getRawHeaders(b"Authorization") or []
    scheme, _, token = headers[0].partition(b" ") if len(headers) == 1 else (b"", b"", b"")
    return token if scheme == b"Bearer" and token else None


def _may_come_from_there(service: ApplicationService, request: SynapseRequest) -> bool:
    # As Synapse itself does it for its client API.
    allowed = service.ip_range_whitelist
    return not allowed or request.getClientAddress().host in allowed  # type: ignore[no-untyped-call]
