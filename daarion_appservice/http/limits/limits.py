"""The limits of the city listener: which subject or address a request counts for.

    request ─► a token? ──no─────────────────────────────────────────────► counted for its address
                  │ yes
                  └─► too many wrong ones from the address? ─► principal? ─► counted for it, before the body is read
                                                                   │ unknown token
                                                                   └────► counted for the address

``rates`` limits requests by time, ``connections`` the open sockets and streams, ``buckets`` the events of one WebSocket.
Services and admins are not limited. Loopback addresses are not limited either, but principals that authenticate from them are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import jwt
from aiohttp import web
from aiohttp.typedefs import Middleware
from limits import parse

from ...city.types import agent_subject
from ...config import Settings
from ...errors import CityError, Unauthenticated
from ...realtime.redis_client import Client
from ..auth.principals import Admin, AgentPrincipal, Anonymous, Citizen, Principal, ServicePrincipal
from ..routing import description_of
from .addresses import Addresses
from .buckets import TokenBucket
from .connections import ConnectionLease, ConnectionLimiter
from .rates import Rate, Rates
from .tcp_connection import connection_of

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]

RATES: Final = {
    ("POST", "/city/rooms"): Rate.ROOMS,
    ("POST", "/city/rooms/{room_id}/messages"): Rate.MESSAGES,
    ("POST", "/city/sign-in/name"): Rate.ARRIVALS,
    ("POST", "/city/sign-in/matrix"): Rate.ARRIVALS,
    ("PUT", "/city/rooms/{room_id}/typing"): Rate.TYPING,
    ("PUT", "/city/rooms/{room_id}/read"): Rate.TYPING,
    ("POST", "/api/v1/agents/{agent_id}/heartbeat"): Rate.HEARTBEATS,
    ("POST", "/api/v1/presence/heartbeat"): Rate.HEARTBEATS,
}
"""The routes with a rate of their own; all others count as reads, changes or uploads."""

_RATES_OF_EVENTS: Final = {
    "city.room.send": Rate.MESSAGES,
    "city.room.typing": Rate.TYPING,
    "city.room.read": Rate.TYPING,
    "presence.heartbeat": None,
    "presence.offline": None,
}
"""Client events count like the same action by HTTP. Heartbeats are too frequent for that: only the token bucket limits them."""

_NOBODY: Final = {"token_invalid", "citizen_id_too_long"}
"""The error codes for a token without a principal."""

_READING: Final = {"GET", "HEAD"}
_WRONG_TOKENS: Final = 10_000


class Limits:
    def __init__(self, settings: Settings, redis: Client | None) -> None:
        limits = settings.limits
        self.addresses = Addresses(settings.api.trusted_proxies)
        self._rates = Rates(limits, redis)
        self._places = ConnectionLimiter(per_subject=limits.sockets_per_subject, per_address=limits.sockets_per_address)
        self._pace = parse(limits.socket_events) if limits.socket_events else None
        self._wrong: OrderedDict[int, None] = OrderedDict()
        """Hashes of the last wrong tokens with their addresses: a client that repeats a wrong token is not guessing."""

    @property
    def middleware(self) -> Middleware:
        """The middleware that counts requests that no authenticator counts: public routes, unknown routes, unknown tokens."""

        @web.middleware
        async def limited(request: web.Request, handler: Handle) -> web.StreamResponse:
            if _asks_nobody(request):
                await self._count_address(request)
            try:
                return await handler(request)
            except CityError as error:
                if error.code in _NOBODY:
                    await self._count_address(request)
                raise

        return limited

    async def signing_in(
        self, request: web.Request, token: str, holder: Callable[[str], Awaitable[Principal]]
    ) -> Principal:
        """Resolve a token with ``holder``, and count wrong tokens for the address of the request.

        Raises:
            TooManyRequests: the address sent too many different wrong tokens; also every exception of ``holder``.
        """
        address = self.addresses.of(request)
        if address is None:
            return await holder(token)
        self._rates.check(Rate.SIGN_INS, _address(address))
        try:
            return await holder(token)
        except Unauthenticated as error:
            if _is_guess(error) and self._is_new(token, address):
                await self._rates.spend(Rate.SIGN_INS, _address(address))
            raise

    async def count(self, request: web.Request, principal: Principal) -> None:
        """Count an HTTP request for its subject or address.

        Raises:
            TooManyRequests: the rate limit is exceeded.
        """
        rate = _rate_of(request)
        subject = _subject(principal)
        if rate is Rate.ARRIVALS:
            # Counted for the address even with a token: otherwise each issued token could be used to get the next one.
            await self._count_address(request, rate)
        elif subject is not None:
            await self._rates.spend(rate, subject)
        elif isinstance(principal, Anonymous):
            await self._count_address(request)

    async def count_event(self, name: object, principal: Principal) -> None:
        """Count a client event of a WebSocket for its subject.

        Raises:
            TooManyRequests: the rate limit is exceeded.
        """
        rate = _RATES_OF_EVENTS.get(name, Rate.CHANGES) if isinstance(name, str) else Rate.CHANGES
        subject = _subject(principal)
        if rate is not None and subject is not None:
            await self._rates.spend(rate, subject)

    def open_connection(self, request: web.Request, principal: Principal) -> ConnectionLease:
        """Count a WebSocket or an event stream until the block of the returned lease ends.

        Raises:
            TooManyRequests: the subject or address has too many open connections.
        """
        place = self._places.take(_subject(principal), self._address_of(request, principal))
        if connection := connection_of(request):
            connection.becomes_stream()
        return place

    def move(self, place: ConnectionLease, request: web.Request, principal: Principal) -> None:
        """Count an open connection for another principal, after it authenticated. Raises TooManyRequests."""
        place.move(_subject(principal), self._address_of(request, principal))

    def asker(self, request: web.Request, principal: Principal) -> str | None:
        """Return the key that concurrent requests of a principal are counted for; None if it is not limited."""
        if isinstance(principal, Anonymous):
            address = self.addresses.of(request)
            return None if address is None else _address(address)
        return _subject(principal)

    def pace(self) -> TokenBucket | None:
        """Return the token bucket for the events of a new WebSocket; None for no limit."""
        return TokenBucket(self._pace) if self._pace is not None else None

    async def _count_address(self, request: web.Request, rate: Rate = Rate.READS) -> None:
        address = self.addresses.of(request)
        if address is not None:
            await self._rates.spend(rate, _address(address))

    def _address_of(self, request: web.Request, principal: Principal) -> str | None:
        """Return the address that a WebSocket or stream is counted for, if it is counted by address.

        Agents are not: many run on one machine, and an admin issues their tokens.
        """
        if isinstance(principal, Anonymous) or (isinstance(principal, Citizen) and not principal.is_admin):
            return self.addresses.of(request)
        return None

    def _is_new(self, token: str, address: str) -> bool:
        key = hash((token, address))
        is_new = key not in self._wrong
        self._wrong[key] = None
        self._wrong.move_to_end(key)
        if len(self._wrong) > _WRONG_TOKENS:
            self._wrong.popitem(last=False)
        return is_new


def _asks_nobody(request: web.Request) -> bool:
    if request.match_info.http_exception is not None:
        return True
    description = description_of(request.match_info.handler)
    return description is not None and description.who is None


def _rate_of(request: web.Request) -> Rate:
    if request.method in _READING:
        return Rate.READS
    resource = request.match_info.route.resource
    if resource is not None and (rate := RATES.get((request.method, resource.canonical))):
        return rate
    description = description_of(request.match_info.handler)
    takes_json = description is None or description.takes == "application/json"
    return Rate.CHANGES if takes_json else Rate.UPLOADS


def _subject(principal: Principal) -> str | None:
    """Return the unique key that a principal is counted for; None if it is not limited by subject."""
    match principal:
        case Citizen(citizen, is_admin=False):
            return f"citizen:{citizen}"
        case AgentPrincipal(slug):
            return agent_subject(slug)
        case Citizen() | Anonymous() | ServicePrincipal() | Admin():
            return None


def _address(address: str) -> str:
    return f"address:{address}"


def _is_guess(error: Unauthenticated) -> bool:
    """Return whether a token may be guessed. An expired one was valid: pages that stay open over night send them."""
    return error.code == "token_invalid" and not isinstance(error.__cause__, jwt.ExpiredSignatureError)
