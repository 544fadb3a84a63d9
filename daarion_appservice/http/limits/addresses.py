"""From where a request comes: the peer, or whom a trusted proxy says that it speaks for."""

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
_HOUSEHOLD_BITS: Final = 64
"""What one connection to the IPv6 internet has at least; it may use another address for every request."""
_REMEMBERED: Final = 4096
_LONGEST: Final = 64
"""Characters: an IPv6 address with brackets, a zone and a port, and nothing that would fill the memory."""


class Addresses:
    """``trusted_proxies`` are addresses and networks in CIDR notation."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted = tuple(ipaddress.ip_network(each) for each in trusted_proxies)
        self._is_trusted = lru_cache(_REMEMBERED)(self._look_up)
        self._has_warned = False

    def of(self, request: web.Request) -> str | None:
        """Under what a request is counted; None for this machine itself, which is not limited.

        A proxy appends whom it heard to ``X-Forwarded-For``. What stands to the left of that may be invented, so from the
        right on the first that is not trusted counts.
        """
        peer = _parsed(request.remote or "")
        if peer is None:
            return None
        if _FORWARDED not in request.headers:
            return _counted(peer)
        if not self._is_trusted(peer):
            self._warn(peer)
            return _counted(peer)
        return _counted(self._behind(peer, ",".join(request.headers.getall(_FORWARDED))))

    def of_peer(self, peername: object) -> str | None:
        """Under what a connection is counted; None for a trusted proxy, which speaks for many, and for this machine."""
        peer = _parsed(str(peername[0])) if isinstance(peername, tuple) and peername else None
        return None if peer is None or self._is_trusted(peer) else _counted(peer)

    def _behind(self, proxy: Address, forwarded_for: str) -> Address:
        nearest = proxy
        for text in reversed(forwarded_for.split(",")):
            named = _parsed(text) if len(text) <= _LONGEST else None
            if named is None:  # "unknown", or worse: counted is whoever says so
                break
            nearest = named
            if not self._is_trusted(named):
                break
        return nearest

    def _look_up(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _warn(self, peer: Address) -> None:
        if not self._has_warned:
            self._has_warned = True
            help_text = (
                "if this is your reverse proxy, name it in api.trusted_proxies: all behind it count as one address"
            )
            log.warning("proxy_not_trusted", address=str(peer), help=help_text)


@lru_cache(_REMEMBERED)
def _parsed(text: str) -> Address | None:
    """An address, perhaps with a port or a zone; None for what is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # As a socket that listens to both sees it.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _counted(address: Address) -> str | None:
    if address.is_loopback:
        return None
    if isinstance(address, IPv6Address):
        return str(ipaddress.ip_network((address, _HOUSEHOLD_BITS), strict=False))
    return str(address)
