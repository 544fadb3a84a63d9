"""Checks of the city listener through its public address, as a browser uses it through the proxy."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from yarl import URL

from .checks import check
from .findings import Finding, failed, passed, skipped, warning
from .installation import Installation
from .service import is_running

_SITE: Final = "/city/site"
_SOCKET: Final = "/ws/city/presence"
_EVENTS: Final = "/api/v1/presence/stream"
_FIRST_BYTES_S: Final = 4.0
_PROXY: Final = "docs/how-to/put-a-proxy-in-front.md"
_PASS_HOST: Final = f"The proxy must pass the name on: `proxy_set_header Host $host;` in nginx ({_PROXY})."


@check(
    needs=("public_address",),
    symptoms=("The pages do not open.", "Pages and API answer 421."),
)
async def public_pages(installation: Installation) -> Finding:
    """The city answers at `api.public_url`.

    Fails with the cause: no answer, a certificate, an error of the proxy, another site.
    """
    if (reason := await _not_applicable(installation)) is not None:
        return skipped(reason)
    url = installation.settings.api.public_url
    try:
        async with installation.session.get(f"{url}{_SITE}", allow_redirects=False) as response:
            status, content = response.status, await response.text()
    except aiohttp.ClientConnectorCertificateError:
        return failed(
            f"The TLS certificate of {url} is not trusted for this name, or has expired.", "Renew it in the proxy."
        )
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return failed(
            f"{url} does not answer from this machine: {str(error) or type(error).__name__}.",
            "See DNS, firewall and the proxy. If only this machine cannot reach its public address, this says nothing.",
        )
    return judge_site(url, status, content)


def judge_site(url: str, status: int, content: str) -> Finding:
    """Judge the response to ``GET /city/site`` through the public address."""
    if status == 421:
        return failed(f"{url} answers 421: the city gets another name than its own.", _PASS_HOST)
    if status in {502, 503, 504}:
        return failed(f"The proxy of {url} answers {status}.", "It must forward to the address of the section `api`.")
    if status != 200 or '"server_name"' not in content:
        return failed(
            f"Another site answers at {url} (status {status}).", f"The proxy must forward all paths ({_PROXY})."
        )
    return passed(url)


@check(
    needs=("public_pages",),
    symptoms=("The pages say that they are not connected, and reload the messages again and again.",),
)
async def public_websocket(installation: Installation) -> Finding:
    """A WebSocket opens through the public address, from a page of that address.

    Fails if the proxy drops `Upgrade`, or replaces `Host`, so that the page counts as one of another site.
    """
    if not installation.settings.api.anonymous_read:
        return skipped("api.anonymous_read is off: a WebSocket needs a token, and the doctor sends none.")
    url = installation.settings.api.public_url
    try:
        async with installation.session.ws_connect(f"{url}{_SOCKET}", origin=str(URL(url).origin())) as socket:
            await socket.close()
    except aiohttp.WSServerHandshakeError as error:
        return judge_handshake(url, error.status)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return failed(
            f"The WebSocket is closed while it opens: {str(error) or type(error).__name__}.",
            f"See the proxy ({_PROXY}).",
        )
    return passed("It opens.")


def judge_handshake(url: str, status: int) -> Finding:
    """Judge the status of a WebSocket handshake that failed."""
    if status == 403:
        return failed(f"Pages of {url} may open no WebSocket: the city sees another Host.", _PASS_HOST)
    if status in {400, 426, 200}:
        return failed(
            f"The WebSocket does not open (status {status}): the proxy does not pass on Upgrade.",
            "In nginx: `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;` "
            f"({_PROXY}).",
        )
    return failed(f"The WebSocket does not open (status {status}).", f"See the log of the proxy, and {_PROXY}.")


@check(needs=("public_pages",), symptoms=("Presence changes late, or not at all, for clients of the event stream.",))
async def public_events(installation: Installation) -> Finding:
    """Server-sent events arrive at once through the public address.

    Warns if the first event takes longer than four seconds: the proxy buffers.
    """
    if not installation.settings.api.anonymous_read:
        return skipped("api.anonymous_read is off: the stream needs a token, and the doctor sends none.")
    url = f"{installation.settings.api.public_url}{_EVENTS}"
    try:
        async with asyncio.timeout(_FIRST_BYTES_S), installation.session.get(url) as response:
            if response.status != 200:
                return warning(f"{url} answers {response.status}.", f"The proxy must forward all paths ({_PROXY}).")
            await response.content.readany()
    except TimeoutError:
        return warning(
            f"The first event does not arrive within {_FIRST_BYTES_S:g} seconds: the proxy buffers.",
            "Turn buffering off for it: `proxy_buffering off;` in nginx, which otherwise heeds X-Accel-Buffering.",
        )
    return passed("They arrive at once.")


async def _not_applicable(installation: Installation) -> str | None:
    if not installation.settings.api.public_url:
        return "api.public_url is empty."
    return None if await is_running(installation) else "The service does not run."


CHECKS: Final = (public_pages, public_websocket, public_events)
