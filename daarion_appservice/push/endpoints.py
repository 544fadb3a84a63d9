"""Checks of the URLs of push services, and DNS answers without private addresses.

Citizens choose the endpoint to which the service sends requests: none may lead into the networks of the service.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

MAX_ENDPOINT_CHARS: Final = 2048
_HTTPS_PORT: Final = 443
_PUBLIC_NAME: Final = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])"
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def read_endpoint(text: str, private_hosts: Collection[str]) -> URL:
    """Return the URL of a subscription.

    Args:
        text: An ``https`` URL of a public host name at the usual port.
        private_hosts: Hosts that need not be public, at any port: ``push.private_hosts``.

    Raises:
        ValueError: The text is something else.
    """
    try:
        url = URL(text)
    except ValueError:
        raise ValueError("must be a URL") from None
    host = url.host or ""
    if url.scheme != "https" or not host or url.raw_user is not None or url.raw_fragment:
        raise ValueError("must be an https URL without user and fragment")
    if host in private_hosts:
        return url
    if url.port != _HTTPS_PORT or not _PUBLIC_NAME.fullmatch(url.raw_host or ""):
        raise ValueError("must have a public host name and no port")
    return url


class PublicResolver(AbstractResolver):
    """Resolves host names to public addresses only."""

    def __init__(self, private_hosts: Collection[str]) -> None:
        self._private_hosts = private_hosts
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the public addresses of a host.

        Raises:
            OSError: It has none.
        """
        found = await self._resolver.resolve(host, port, family)
        public = found if host in self._private_hosts else [each for each in found if is_public(each["host"])]
        if not public:
            raise OSError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def is_public(address: str) -> bool:
    """Return whether an IP address, or the IPv4 address within it, belongs to the internet."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            found = inner
    return found.is_global and not found.is_multicast
