"""Checks the header ``Host`` of requests against DNS rebinding.

A web page whose own host name is made to resolve to this machine, or to one in its network, can send requests to every server
that the browser can reach, and read the responses as same-origin. Such requests contain the page's public host name, which is
not among the names of the listener. Hosts that such a page cannot have are always allowed: IP addresses, names without a dot
(``localhost``, a service in Docker's network) and names below ``.localhost``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ...errors import InvalidInput
from ...log_throttle import LogThrottle

# RFC 9110 §7.2, RFC 3986 §3.2.2; names with other characters of that grammar do not resolve.
_HOST: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._~-]{0,255}))(?::(?P<port>[0-9]{0,5}))?"
)
_MAX_PORT: Final = 65_535
_MAX_LOGGED_CHARS: Final = 255
_CACHE_SIZE: Final = 256
"""Host names whose check is remembered: a client sends the same one with each request."""

log = structlog.get_logger()


def host_of(request: web.Request) -> str:
    """Return the host of a request without its port.

    Raises:
        InvalidInput: the header ``Host`` is not a host with an optional port.
    """
    match = _HOST.fullmatch(request.host)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        raise InvalidInput("bad_request", "the header Host must be a host with an optional port")
    return match["ipv6"] or match["name"]


class Hosts:
    """The host names of a listener.

    Args:
        names: host names, or URLs that contain them.
        setting: the configuration key with which an administrator allows another name.
    """

    def __init__(self, names: Iterable[str], setting: str) -> None:
        self._names = frozenset(filter(None, map(_host_name, names)))
        self._setting = setting
        self._log_throttle = LogThrottle()

    @property
    def middleware(self) -> Middleware:
        """The middleware that refuses requests for other hosts with 421; runs inside the error middleware."""

        @web.middleware
        async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
            # A browser always sends Host, so a request without it is no DNS rebinding.
            if hdrs.HOST in request.headers and not self.allows(host := host_of(request)):
                self._warn(host)
                raise InvalidInput(
                    "host_not_allowed",
                    f"{host[:_MAX_LOGGED_CHARS]} is not a name of this city; see {self._setting}",
                    status=421,
                )
            return await handler(request)

        return check_host

    def allows(self, host: str) -> bool:
        """Return whether requests for ``host`` are accepted."""
        name = host.lower().removesuffix(".")
        return "." not in name or name in self._names or name.endswith(".localhost") or _is_address(name)

    def _warn(self, host: str) -> None:
        if self._log_throttle.allows():
            help_text = (
                f"if the city has this name, add it to {self._setting}; otherwise a web page attempted DNS rebinding"
            )
            log.warning("host_not_allowed", host=host[:_MAX_LOGGED_CHARS], help=help_text)


def _host_name(address: str) -> str:
    host = urlsplit(address).hostname if "//" in address else address
    return (host or "").lower().removesuffix(".")


@lru_cache(_CACHE_SIZE)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
