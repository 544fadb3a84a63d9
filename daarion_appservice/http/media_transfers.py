"""Limits the concurrent transfers of files, and translates the homeserver's errors of a transfer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final

import structlog
from aiohttp import web

from ..concurrency import ConcurrencyLimit, LimitReached
from ..errors import CityError, HomeserverRefused, InvalidInput, Unavailable
from ..matrix.client.error_translation import RETRY_S, translate_homeserver_errors
from .auth.principals import Principal
from .limits.metrics import count_hit
from .limits.request_limits import RequestLimits

_CLIENT_SHARE: Final = 4
"""One client may have at most a quarter of the concurrent transfers."""
_WAIT_S: Final = 15.0
"""How long a request waits for a slot."""

TRANSFER_ERRORS: Final = (
    "media_too_large",
    "too_many_requests",
    "media_busy",
    "homeserver_unavailable",
    "media_unavailable",
)
"""The error codes of every transfer."""

log = structlog.get_logger()


class MediaTransfers:
    """The slots for concurrent transfers, shared by uploads and downloads.

    Args:
        limits: gives the key of a client.
        slots: the number of concurrent transfers.
    """

    def __init__(self, limits: RequestLimits, slots: int) -> None:
        self._limits = limits
        self._slots = ConcurrencyLimit(total=slots, per_client=max(1, slots // _CLIENT_SHARE), timeout_s=_WAIT_S)

    @asynccontextmanager
    async def slot(self, request: web.Request, principal: Principal) -> AsyncIterator[None]:
        """Hold a slot for one transfer inside the block.

        Raises:
            Unavailable: no slot became free in time.
        """
        try:
            async with self._slots.acquired(self._limits.concurrency_key(request, principal)):
                yield
        except LimitReached as error:
            count_hit("transfers")
            raise Unavailable(
                "media_busy", "too many concurrent transfers of files; try again", retry_after_s=RETRY_S
            ) from error


def translate_transfer_errors(refusal: Callable[[HomeserverRefused], CityError]) -> AbstractContextManager[None]:
    """Translate errors of the homeserver that are raised in the block; ``refusal`` translates one that is no rate limit.

    Raises:
        CityError: the translated error.
    """
    return translate_homeserver_errors(
        refusal,
        unavailable="the homeserver, which stores the files, does not respond; try again",
        rate_limited="the homeserver limits the rate of file transfers",
    )


def is_server_fault(error: HomeserverRefused) -> bool:
    """Return whether the fault is on a server (this one, the homeserver or another one), not in the client's request."""
    return error.status == 401 or not 400 <= error.status < 500


def media_unavailable(error: HomeserverRefused) -> CityError:
    log.warning("media_unavailable", error=str(error), help="Synapse's log says more")
    return Unavailable(
        "media_unavailable", "the homeserver cannot transfer the file at the moment; try again", retry_after_s=RETRY_S
    )


def media_too_large(detail: str) -> InvalidInput:
    return InvalidInput("media_too_large", detail, status=413)
