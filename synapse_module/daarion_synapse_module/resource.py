"""The HTTP resource ``/_synapse/client/daarion/presence``. The README describes the protocol."""

from __future__ import annotations

import dataclasses
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from synapse.appservice import ApplicationService
from synapse.module_api import DirectServeJsonResource, JsonDict, ModuleApi, SynapseRequest
from synapse.module_api import parse_json_object_from_request as json_object
from synapse.module_api.errors import InvalidClientCredentialsError

from . import presence_updates
from .lease_worker import LeaseWorker
from .settings import Settings
from .version import __version__

if TYPE_CHECKING:
    from synapse.storage import DataStore

PATH: Final = "/_synapse/client/daarion/presence"


class PresenceResource(DirectServeJsonResource):
    """Authenticates application services and serves GET, POST and DELETE."""

    def __init__(self, settings: Settings, worker: LeaseWorker, api: ModuleApi, store: DataStore) -> None:
        super().__init__()
        self._settings = settings
        self._worker = worker
        self._api = api
        self._store = store

    async def _async_render_GET(self, request: SynapseRequest) -> tuple[int, JsonDict]:  # noqa: N802
        """Return the version and the limits; change nothing."""
        self._authenticate(request)
        return HTTPStatus.OK, {
            "module": "daarion_presence",
            "version": __version__,
            "max_users": self._settings.max_users,
            "timeout_s": self._settings.timeout_s,
        }

    async def _async_render_POST(self, request: SynapseRequest) -> tuple[int, JsonDict]:  # noqa: N802
        """Set the presence of users, and renew the lease."""
        service = self._authenticate(request)
        updates = presence_updates.parse(json_object(request), self._settings.max_users)
        accepted, refused = presence_updates.check_updates(
            updates, lambda user_id: self._api.is_mine(user_id) and service.is_exclusive_user(user_id)
        )
        lease = await self._worker.update(service.id, accepted)
        return HTTPStatus.OK, {
            "ok": len(updates) - len(refused),
            "refused": [dataclasses.asdict(refusal) for refusal in refused],
            "lease": lease.id,
            "up": len(lease.users),
        }

    async def _async_render_DELETE(self, request: SynapseRequest) -> tuple[int, JsonDict]:  # noqa: N802
        """End the lease, and set its users offline."""
        return HTTPStatus.OK, {"ok": await self._worker.release(self._authenticate(request).id)}

    def _authenticate(self, request: SynapseRequest) -> ApplicationService:
        """Return the application service with this token. Raises InvalidClientCredentialsError (401)."""
        token = _bearer_token(request)
        if token is None:
            raise InvalidClientCredentialsError("Missing access token", "M_MISSING_TOKEN")
        # All tokens are compared, each in constant time, so that the duration discloses nothing.
        found = [each for each in self._store.get_app_services() if hmac.compare_digest(each.token.encode(), token)]
        if not found or not _is_allowed_address(found[0], request):
            raise InvalidClientCredentialsError("Not the as_token of an application service", "M_UNKNOWN_TOKEN")
        return found[0]


def _bearer_token(request: SynapseRequest) -> bytes | None:
    headers = request.requestHeaders.getRawHeaders(b"Authorization") or []
    scheme, _, token = headers[0].partition(b" ") if len(headers) == 1 else (b"", b"", b"")
    return token if scheme == b"Bearer" and token else None


def _is_allowed_address(service: ApplicationService, request: SynapseRequest) -> bool:
    # The same check as in Synapse's client API.
    allowed = service.ip_range_whitelist
    return not allowed or request.getClientAddress().host in allowed  # type: ignore[no-untyped-call]
