"""Requests to push services (RFC 8030). They follow no redirects, and read no body of a response."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import aiohttp
import structlog
from yarl import URL

from .. import __version__
from ..city.ports import NowMs
from ..city.push_subscriptions import PushSubscription
from ..log_throttle import LogThrottle
from .endpoints import PublicResolver, read_endpoint
from .payload_encryption import BrowserKeys, encrypt
from .vapid import VapidKey

_TTL_S: Final = 24 * 3600
"""How long a push service keeps a push for a browser that is offline."""
_TIMEOUT_S: Final = 10.0
_CONNECTIONS: Final = 32
_CONNECTIONS_PER_HOST: Final = 8

log = structlog.get_logger()


class PushResult(Enum):
    """The result of a push, as the push service answered."""

    ACCEPTED = auto()
    GONE = auto()
    """The push service no longer has the subscription."""
    REFUSED = auto()
    UNAVAILABLE = auto()
    """The push service did not answer, or limits the rate."""


@dataclass(frozen=True, slots=True)
class Push:
    """A push for one subscription."""

    subscription: PushSubscription
    payload: bytes
    topic: str
    """A push replaces one with the same topic that the browser did not get yet: 1 to 32 characters of base64url."""


class PushClient:
    """Sends pushes.

    Args:
        key: The key of the city.
        now_ms: Returns milliseconds since 1970.
        private_hosts: Hosts of push services that may have private addresses.
        tls: The TLS context; None for the certificate authorities of the machine.
    """

    def __init__(
        self, key: VapidKey, now_ms: NowMs, private_hosts: Collection[str] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        self._key = key
        self._now_ms = now_ms
        self._private_hosts = frozenset(private_hosts)
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._log_throttle = LogThrottle()

    async def send(self, push: Push) -> PushResult:
        """Send a push, and return its result."""
        subscription = push.subscription
        try:
            endpoint = read_endpoint(subscription.endpoint, self._private_hosts)
            keys = BrowserKeys.read(subscription.p256dh, subscription.auth)
        except ValueError:  # `push.private_hosts` was changed
            return PushResult.REFUSED
        headers = {
            "Authorization": self._key.authorization(endpoint, self._now_ms() // 1000),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(_TTL_S),
            "Urgency": "high",
            "Topic": push.topic,
        }
        body = encrypt(push.payload, keys)
        try:
            async with self._open().post(endpoint, data=body, headers=headers, allow_redirects=False) as response:
                return self._result(endpoint, response.status)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return PushResult.UNAVAILABLE

    def _result(self, endpoint: URL, status: int) -> PushResult:
        result = _result_of(status)
        if result is PushResult.REFUSED and self._log_throttle.allows():
            log.warning("push_refused", host=endpoint.host, status=status)
        return result

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=PublicResolver(self._private_hosts),
                ssl=self._tls or True,
                limit=_CONNECTIONS,
                limit_per_host=_CONNECTIONS_PER_HOST,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": f"daarion-appservice/{__version__}"},
            )
        return self._session


def _result_of(status: int) -> PushResult:
    if 200 <= status < 300:
        return PushResult.ACCEPTED
    if status in {404, 410}:
        return PushResult.GONE
    return PushResult.UNAVAILABLE if status == 429 or status >= 500 else PushResult.REFUSED
