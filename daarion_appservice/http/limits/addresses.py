"""Determines the client address of a request: the TCP peer, or the address that a trusted proxy forwards."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import structlog
from aiohttp import web

log = structlog.get_logger()

Address = IPv4Address | IPv6Address

_FORWARDED: Final = "X-Forwarded-For"
_IPV6_PREFIX_BITS: Final = 64
"""The smallest usual IPv6 prefix of one customer, who may use another address of it for every request."""
_CACHE_SIZE: Final = 4096
_MAX_CHARS: Final = 64
"""Characters: enough for an IPv6 address with brackets, zone and port, and a bound for the cache's memory."""


class Addresses:
    """Resolves client addresses.

    Args:
        trusted_proxies: IP addresses, and networks in CIDR notation.
    """

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted = tuple(ipaddress.ip_network(each) for each in trusted_proxies)
        self._is_trusted = lru_cache(_CACHE_SIZE)(self._is_in_trusted_network)
        self._has_warned = False

    def of(self, request: web.Request) -> str | None:
        """Return the address that a request is counted for (IPv6: its /64); None for loopback, which is not limited.

        Each proxy appends its peer to ``X-Forwarded-For``. Entries to the left may be forged, so the rightmost entry that is
        not a trusted proxy counts.
        """
        remote = request.remote or ""
        if _FORWARDED not in request.headers:
            return _limit_key_of_text(remote)
        peer = _parse_address(remote)
        if peer is None:
            return None
        if not self._is_trusted(peer):
            self._warn_untrusted(peer)
            return _limit_key(peer)
        return _limit_key(self._forwarded_address(peer, ",".join(request.headers.getall(_FORWARDED))))

    def of_peer(self, peername: object) -> str | None:
        """Return the address that a connection is counted for; None for loopback, and for a trusted proxy of many clients."""
        peer = _parse_address(str(peername[0])) if isinstance(peername, tuple) and peername else None
        return None if peer is None or self._is_trusted(peer) else _limit_key(peer)

    def _forwarded_address(self, proxy: Address, forwarded_for: str) -> Address:
        nearest = proxy
        for text in reversed(forwarded_for.split(",")):
            forwarded = _parse_address(text) if len(text) <= _MAX_CHARS else None
            if forwarded is None:  # "unknown" or garbage: the proxy that appended it counts
                break
            nearest = forwarded
            if not self._is_trusted(forwarded):
                break
        return nearest

    def _is_in_trusted_network(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _warn_untrusted(self, peer: Address) -> None:
        if not self._has_warned:
            self._has_warned = True
            help_text = (
                "if this is your reverse proxy, add it to api.trusted_proxies: all its clients count as one address"
            )
            log.warning("proxy_not_trusted", address=str(peer), help=help_text)


@lru_cache(_CACHE_SIZE)
def _parse_address(text: str) -> Address | None:
    """Parse an IP address with an optional port or zone; return None for other text."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A dual-stack socket reports IPv4 peers as IPv4-mapped IPv6 addresses.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(_CACHE_SIZE)
def _limit_key_of_text(text: str) -> str | None:
    address = _parse_address(text)
    return None if address is None else _limit_key(address)


def _limit_key(address: Address) -> str | None:
    if address.is_loopback:
        return None
    if isinstance(address, IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_PREFIX_BITS), strict=False))
    return str(address)
