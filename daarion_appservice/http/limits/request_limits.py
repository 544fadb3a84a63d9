"""The limits of the city listener: which subject or address a request counts for.

    token of the request ─► check_token_guesses(address) ─► principal ─► count(principal), before the body is read
                                                               │ wrong token
                                                               └─► count_wrong_token(address), count_address()

``auth.authenticator`` takes these steps; a request without a token counts for its address. ``rates`` limits requests by time,
``connections`` the open WebSockets and event streams, ``leaky_bucket`` the events of one WebSocket. Services and admins are
not limited. Loopback addresses are not limited either, but principals that authenticate from them are.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from limits import parse

from ...city.types import agent_subject
from ...config import Settings
from ...errors import Unauthenticated
from ...realtime.redis_client import Client
from ..auth.principals import Admin, AgentPrincipal, Anonymous, Citizen, Principal, ServicePrincipal
from .addresses import Addresses
from .connections import ConnectionLease, ConnectionLimiter
from .leaky_bucket import LeakyBucket
from .rates import Rate, RateLimiter
from .route_rates import is_unauthenticated, rate_of, rate_of_event
from .tcp_connection import connection_of
from .token_guesses import TokenGuesses


class RequestLimits:
    def __init__(self, settings: Settings, redis: Client | None) -> None:
        limits = settings.limits
        self.addresses = Addresses(settings.api.trusted_proxies)
        self._rates = RateLimiter(limits, redis)
        self._token_guesses = TokenGuesses(self._rates)
        self._connections = ConnectionLimiter(
            per_subject=limits.sockets_per_subject, per_address=limits.sockets_per_address
        )
        self._event_limit = parse(limits.socket_events) if limits.socket_events else None

    # --- requests ---------------------------------------------------------------------------------------------

    @property
    def middleware(self) -> Middleware:
        """The middleware that counts requests that no authenticator counts: public routes and unknown routes."""

        @web.middleware
        async def count_unauthenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
            if is_unauthenticated(request):
                await self.count_address(request)
            return await handler(request)

        return count_unauthenticated

    def check_token_guesses(self, request: web.Request) -> None:
        """Check the limit of wrong tokens for the address of a request.

        Raises:
            TooManyRequests: the address sent too many different wrong tokens.
        """
        if (key := self._address_key(request)) is not None:
            self._token_guesses.check(key)

    async def count_wrong_token(self, request: web.Request, token: str, error: Unauthenticated) -> None:
        """Count a wrong token for the address of a request.

        Raises:
            TooManyRequests: the address sent too many different wrong tokens.
        """
        if (key := self._address_key(request)) is not None:
            await self._token_guesses.count(key, token, error)

    async def count(self, request: web.Request, principal: Principal) -> None:
        """Count an HTTP request for its subject or address.

        Raises:
            TooManyRequests: the rate limit is exceeded.
        """
        rate = rate_of(request)
        subject = _subject_key(principal)
        if rate is Rate.SIGN_INS:
            # Counted for the address even with a token: otherwise each issued token could be used to get the next one.
            await self.count_address(request, rate)
        elif subject is not None:
            await self._rates.count(rate, subject)
        elif isinstance(principal, Anonymous):
            await self.count_address(request)

    async def count_address(self, request: web.Request, rate: Rate = Rate.READS) -> None:
        """Count an HTTP request for its address, whatever its principal.

        Raises:
            TooManyRequests: the rate limit is exceeded.
        """
        if (key := self._address_key(request)) is not None:
            await self._rates.count(rate, key)

    def concurrency_key(self, request: web.Request, principal: Principal) -> str | None:
        """Return the key that concurrent requests of a principal are counted for; None if it is not limited."""
        return self._address_key(request) if isinstance(principal, Anonymous) else _subject_key(principal)

    # --- WebSockets and event streams -------------------------------------------------------------------------

    def open_connection(self, request: web.Request, principal: Principal) -> ConnectionLease:
        """Count a WebSocket or an event stream until the block of the returned lease ends.

        Raises:
            TooManyRequests: the subject or address has too many open connections.
        """
        lease = self._connections.take(_subject_key(principal), self._connection_address(request, principal))
        if connection := connection_of(request):
            connection.becomes_stream()
        return lease

    def move_connection(self, lease: ConnectionLease, request: web.Request, principal: Principal) -> None:
        """Count an open connection for another principal, after it authenticated. Raises TooManyRequests."""
        lease.move(_subject_key(principal), self._connection_address(request, principal))

    def event_bucket(self) -> LeakyBucket | None:
        """Return the leaky bucket for the events of a new WebSocket; None for no limit."""
        return LeakyBucket(self._event_limit) if self._event_limit is not None else None

    async def count_event(self, name: object, principal: Principal) -> None:
        """Count a client event of a WebSocket for its subject.

        Raises:
            TooManyRequests: the rate limit is exceeded.
        """
        rate, subject = rate_of_event(name), _subject_key(principal)
        if rate is not None and subject is not None:
            await self._rates.count(rate, subject)

    def _connection_address(self, request: web.Request, principal: Principal) -> str | None:
        """Return the address that a WebSocket or stream is counted for, if it is counted by address.

        Agents are not: many run on one machine, and an admin issues their tokens.
        """
        if isinstance(principal, Anonymous) or (isinstance(principal, Citizen) and not principal.is_admin):
            return self.addresses.of(request)
        return None

    def _address_key(self, request: web.Request) -> str | None:
        """Return the key that the address of a request is counted for; None if it is not limited."""
        address = self.addresses.of(request)
        return None if address is None else f"address:{address}"


def _subject_key(principal: Principal) -> str | None:
    """Return the unique key that a principal is counted for; None if it is not limited by subject."""
    match principal:
        case Citizen(citizen, is_admin=False):
            return f"citizen:{citizen}"
        case AgentPrincipal(slug):
            return agent_subject(slug)
        case Citizen() | Anonymous() | ServicePrincipal() | Admin():
            return None
