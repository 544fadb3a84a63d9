"""The HTTP transport to the homeserver: sends requests as any user of the namespace, and maps failures to exceptions.

The transport builds on mautrix's ``HTTPAPI`` (paths, requests, error codes). It does not use mautrix's intents, which
register users, join rooms and cache both implicitly; ``ghosts`` does the same explicitly, once, and stores the result.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import structlog
from mautrix.api import HTTPAPI, Method, PathBuilder
from mautrix.errors import MatrixConnectionError, MatrixRequestError
from yarl import URL

from ...city.types import UserId
from ...errors import (
    HomeserverRateLimited,
    HomeserverRefused,
    HomeserverTimeout,
    HomeserverUnavailable,
    HomeserverUnreachable,
    InvalidHomeserverResponse,
)
from ...json_encoding import JSON
from .json_parsing import loads
from .metrics import measured

CLIENT_V1: Final = PathBuilder("_matrix/client/v1")
MEDIA_V3: Final = PathBuilder("_matrix/media/v3")

_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, sock_connect=5)
_STREAM_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
"""The timeout of media transfers: no limit in total, but one between two reads. Before it sends the first byte, Synapse
may have to fetch the file from another homeserver."""
_MAX_ERROR_BYTES: Final = 64 * 1024
_GATEWAY_ERRORS: Final = frozenset({502, 503, 504})
_ABSENT: Final = frozenset({404, 414})
"""HTTP statuses that mean that the resource does not exist. 414 is for an id longer than any id on Matrix."""
_MAX_TARGET_BYTES: Final = 8_000
"""The maximum length of a request's path and query. From 16,384 bytes on, Synapse closes the connection without a
response, which looks like an outage; nginx accepts 8 KiB. Ids of 255 characters, percent-encoded, have 3,060 bytes."""
_DEFAULT_RETRY_MS: Final = 1_000
"""The delay before a retry after a 429 response that names none."""
_MAX_RETRY_MS: Final = 300_000
"""The maximum delay that a 429 response, of the homeserver or of a proxy in front of it, imposes."""
_LOG_RATE_LIMIT_EVERY_S: Final = 300.0

log = structlog.get_logger()
request_log = logging.getLogger("daarion_appservice.homeserver_requests")
"""Logs every request, at level debug, without query and body."""


class _Response(aiohttp.ClientResponse):
    """A response whose JSON may hold data of other homeservers: numbers and nesting beyond canonical JSON."""

    async def json(self, **options: Any) -> Any:
        return await super().json(**options, loads=_loads_text)


def _loads_text(text: str) -> Any:
    return loads(text.encode("utf-8", "surrogatepass"))


class HomeserverTransport:
    """Sends requests to one homeserver.

    Every method raises only ``HomeserverUnavailable`` (no response) or ``HomeserverRefused`` (an error response).
    """

    def __init__(self, address: str, as_token: str, *, verify_tls: bool = True, connections: int = 32) -> None:
        """Create a transport.

        Args:
            address: the base URL of the client-server API.
            as_token: the access token of the application service.
            verify_tls: whether to verify the homeserver's certificate.
            connections: the maximum number of concurrent requests, media transfers excluded.
        """
        headers = {"User-Agent": f"daarion-appservice {HTTPAPI.default_ua}"}
        self._session = aiohttp.ClientSession(
            timeout=_TIMEOUT,
            connector=aiohttp.TCPConnector(limit=connections, ssl=verify_tls),
            headers=headers,
            response_class=_Response,
            raise_for_status=self._check_response,
        )
        # Media transfers use a separate connection pool, so that slow ones do not delay messages.
        self._stream_session = aiohttp.ClientSession(
            timeout=_STREAM_TIMEOUT,
            connector=aiohttp.TCPConnector(limit=0, ssl=verify_tls),
            headers=headers,
            raise_for_status=self._check_response,
        )
        library_log = logging.getLogger("daarion_appservice.homeserver")
        self._authorization = {"Authorization": f"Bearer {as_token}"}
        self._api = HTTPAPI(address, as_token, client_session=self._session, log=library_log)  # type: ignore[arg-type]
        self.address = address
        self._rate_limit_logged_s: float | None = None
        self.software = ""
        """The ``Server`` header of the last response, like ``Synapse/1.163.2``; a proxy may set its own name."""

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await self._stream_session.close()

    async def request(
        self,
        method: Method,
        path: PathBuilder,
        content: Any = None,
        *,
        as_user: UserId | None = None,
        query: Mapping[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Send a request and return the parsed JSON of the response.

        Args:
            content: the JSON body, or bytes.
            as_user: the user to act as (``user_id``, "Identity assertion"); None for the bot.

        Raises:
            HomeserverUnavailable: there was no response, or one of a gateway in front of the homeserver.
            HomeserverRefused: the homeserver responded with an error.
        """
        params = _query(query, as_user)
        _check_length(path, params)
        began_s = time.monotonic()
        try:
            with measured(method, path):
                return await self._send(method, path, content, params, headers)
        finally:
            duration_ms = (time.monotonic() - began_s) * 1000
            request_log.debug("%s %s as %s: %.0f ms", method.value, path, as_user or "the bot", duration_ms)

    async def _send(
        self, method: Method, path: PathBuilder, content: Any, params: dict[str, str], headers: dict[str, str] | None
    ) -> Any:
        """Send a request by mautrix, and translate its exceptions."""
        try:
            return await self._api.request(method, path, content, query_params=params, headers=headers)
        except MatrixRequestError as error:
            # Synapse sends these statuses with an errcode if another server does not respond (this service, to a ping).
            if error.http_status in _GATEWAY_ERRORS and not error.errcode:
                raise self._gateway_error(error.http_status) from error
            errcode, message = str(error.errcode or "M_UNKNOWN"), str(error.message or "")
            raise HomeserverRefused(error.http_status, errcode, message) from error
        except MatrixConnectionError as error:
            if isinstance(error.__cause__, aiohttp.ContentTypeError):
                raise HomeserverUnreachable(self._not_matrix("no JSON")) from error
            raise HomeserverUnavailable(f"{self.address}: {error}") from error
        except TimeoutError as error:
            raise self._timeout() from error
        except (ValueError, TypeError, AttributeError) as error:
            # mautrix raises TypeError and AttributeError for the body of an error response that is not an object.
            raise HomeserverUnreachable(self._not_matrix("no JSON")) from error

    async def request_object(
        self,
        method: Method,
        path: PathBuilder,
        content: JSON | None = None,
        *,
        as_user: UserId | None = None,
        query: Mapping[str, str] | None = None,
    ) -> JSON:
        """Send a request whose response must be a JSON object; raise HomeserverUnreachable for any other JSON."""
        response = await self.request(method, path, content, as_user=as_user, query=query)
        if not isinstance(response, dict):
            raise HomeserverUnreachable(self._not_matrix("no object"))
        return response

    async def find_object(
        self, path: PathBuilder, *, as_user: UserId | None = None, query: Mapping[str, str] | None = None
    ) -> JSON | None:
        """Send a GET request and return the JSON object, or None if the resource does not exist."""
        try:
            return await self.request_object(Method.GET, path, as_user=as_user, query=query)
        except HomeserverRefused as error:
            if error.status in _ABSENT:
                return None
            raise

    @asynccontextmanager
    async def streaming(
        self,
        method: Method,
        path: PathBuilder,
        body: AsyncIterable[bytes] | None = None,
        *,
        as_user: UserId | None = None,
        as_nobody: bool = False,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request whose request or response body is too large for memory, and yield the response for reading.

        Args:
            body: the chunks of the request body.
            as_user: the user to act as; None for the bot.
            as_nobody: send the request without the ``as_token``.

        Raises:
            HomeserverUnavailable, HomeserverRefused: before the response body begins. Reading the body raises
                ``aiohttp.ClientError`` or ``TimeoutError``.
        """
        params = _query(query, as_user)
        _check_length(path, params)
        url = URL(f"{self.address}/{path}", encoded=True).with_query(params)
        all_headers = dict(headers or {}) | ({} if as_nobody else self._authorization)
        with measured(method, path):
            response = await self._begin_stream(method, url, body, all_headers)
        async with response:
            yield response

    async def _begin_stream(
        self, method: Method, url: URL, body: AsyncIterable[bytes] | None, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        """Send a request, and return the response before its body is read."""
        try:
            response = await self._stream_session.request(
                method.value, url, data=body, headers=headers, allow_redirects=False
            )
        except TimeoutError as error:
            raise self._timeout() from error
        except aiohttp.ClientError as error:
            raise HomeserverUnavailable(f"{self.address}: {error}") from error
        if response.status != 200:
            async with response:
                raise await self._error_of(response)
        return response

    async def _error_of(self, response: aiohttp.ClientResponse) -> HomeserverUnavailable | HomeserverRefused:
        try:
            body = loads(await response.content.read(_MAX_ERROR_BYTES))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("errcode"), str):
            if response.status in _GATEWAY_ERRORS:
                return self._gateway_error(response.status)
            body = {}
        return HomeserverRefused(
            response.status, body.get("errcode", "M_UNKNOWN"), str(body.get("error", response.reason))
        )

    async def _check_response(self, response: aiohttp.ClientResponse) -> None:
        """Read the headers that mautrix drops: ``Server``, and the retry delay of a 429 response."""
        self.software = response.headers.get("Server", "")
        if response.status == 429:
            error = _rate_limit_error(await response.read(), response.headers.get("Retry-After", ""))
            self._log_rate_limit(error)
            raise error

    def _log_rate_limit(self, error: HomeserverRateLimited) -> None:
        now_s = time.monotonic()
        if self._rate_limit_logged_s is not None and now_s - self._rate_limit_logged_s < _LOG_RATE_LIMIT_EVERY_S:
            return
        self._rate_limit_logged_s = now_s
        log.warning(
            "rate_limited",
            retry_after_ms=error.retry_after_ms,
            help="Synapse limits this service's requests: its copy of the registration must say `rate_limited: false` "
            "(`daarion-appservice registration check`); restart Synapse after correcting it",
        )

    def _required_text(self, response: Any, key: str) -> str:
        if isinstance(response, dict) and isinstance(value := response.get(key), str):
            return value
        raise self._invalid_response(f"the response has no field {key}")

    def _required_list(self, response: JSON, key: str) -> list[Any]:
        if isinstance(value := response.get(key), list):
            return value
        raise self._invalid_response(f"the response has no field {key}")

    def _invalid_response(self, problem: str) -> InvalidHomeserverResponse:
        return InvalidHomeserverResponse(self._not_matrix(problem))

    def _not_matrix(self, problem: str) -> str:
        return f"{self.address} did not answer as a homeserver does: {problem}"

    def _gateway_error(self, status: int) -> HomeserverUnavailable:
        return HomeserverUnavailable(f"a gateway answered {status} for {self.address}")

    def _timeout(self) -> HomeserverTimeout:
        return HomeserverTimeout(f"{self.address} did not answer in time")


def _query(query: Mapping[str, str] | None, as_user: UserId | None) -> dict[str, str]:
    return dict(query or {}) | ({"user_id": as_user} if as_user is not None else {})


def _check_length(path: PathBuilder, query: Mapping[str, str]) -> None:
    if len(str(path)) + sum(len(quote(value)) for value in query.values()) > _MAX_TARGET_BYTES:
        raise HomeserverRefused(414, "M_TOO_LARGE", "The path of the request is too long; it was not sent")


def _rate_limit_error(body: bytes, retry_after: str) -> HomeserverRateLimited:
    """Read the retry delay: ms in the body (deprecated), or whole seconds in the header (spec, "Rate limiting")."""
    try:
        error = loads(body)
    except ValueError:
        error = None
    if not isinstance(error, dict):
        error = {}
    delay_ms = error.get("retry_after_ms")
    if not isinstance(delay_ms, int) or isinstance(delay_ms, bool):
        delay_ms = int(retry_after) * 1000 if retry_after.isdecimal() else _DEFAULT_RETRY_MS
    errcode, message = str(error.get("errcode", "M_LIMIT_EXCEEDED")), str(error.get("error", "too many requests"))
    return HomeserverRateLimited(errcode, message, retry_after_ms=min(max(0, delay_ms), _MAX_RETRY_MS))
