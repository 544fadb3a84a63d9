"""The two HTTP servers: the city listener (public) and the matrix listener (the homeserver and trusted services)."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Final, Protocol

import aiohttp_cors
from aiohttp import web
from aiohttp.typedefs import Middleware

from ..config import ApiSettings
from ..errors import ExitCode, StartError
from ..matrix.inbound.transactions import MAX_BODY_BYTES, TransactionReceiver
from .access_log import log_requests
from .auth.authenticator import CityAuthenticator
from .auth.hosts import Hosts
from .bad_request_log import filter_bad_requests
from .error_responses import matrix_error_middleware, problem_middleware
from .expect_header import reject_unknown_expectations
from .limits.connection_middleware import enforce_limits, track_requests
from .limits.tcp_connections import TcpConnections
from .metrics import measure_requests
from .openapi import Documentation
from .routing import MAX_JSON_BYTES, Authenticator, install, routes_of
from .static_pages import StaticPages

_BACKLOG: Final = 1024
_UNSENT_BYTES: Final = 128 * 1024


class Streaming(Protocol):
    """A route that writes its response itself: a WebSocket, server-sent events, or a format other than JSON."""

    def install(self, app: web.Application) -> None: ...


def city_application(
    groups: Sequence[object],
    streams: Sequence[Streaming],
    authenticator: CityAuthenticator,
    settings: ApiSettings,
    connections: TcpConnections,
    pages: StaticPages | None = None,
    redirects: Sequence[Middleware] = (),
) -> web.Application:
    hosts = Hosts([settings.public_url, *settings.allowed_hosts], "api.public_url or api.allowed_hosts")
    app = web.Application(
        middlewares=[
            problem_middleware,
            hosts.middleware,
            enforce_limits(connections),
            authenticator.limits.middleware,
            *redirects,
        ],
        client_max_size=MAX_JSON_BYTES,
    )
    for group in groups:
        install(app, routes_of(group), authenticator, anonymous_read=settings.anonymous_read)
    for stream in (*streams, Documentation(anonymous_read=settings.anonymous_read)):
        stream.install(app)
    _allow_origins(app, settings.allowed_origins)
    if pages is not None:
        pages.install(app)
    return app


def _allow_origins(app: web.Application, origins: Sequence[str]) -> None:
    """Allow CORS requests of these origins to every route. Tokens are in the Authorization header, so no cookies are allowed."""
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
        allow_headers="*", allow_methods="*", expose_headers="*", max_age=3600
    )
    cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(origins, options))
    for route in list(app.router.routes()):
        if route.method != "HEAD":
            cors.add(route)


def matrix_application(
    groups: Sequence[object],
    receiver: TransactionReceiver,
    authenticator: Authenticator,
    hosts: Hosts,
    connections: TcpConnections,
    *,
    others: Sequence[Streaming] = (),
) -> web.Application:
    app = web.Application(
        middlewares=[matrix_error_middleware, hosts.middleware, enforce_limits(connections)],
        client_max_size=MAX_BODY_BYTES,
    )
    app.add_routes(receiver.routes())
    for group in groups:
        install(app, routes_of(group), authenticator, anonymous_read=False)
    for other in others:
        other.install(app)
    return app


class Listener:
    """An application that listens on an address.

    Args:
        name: the configuration section with its host and port.
        app: the application.
        host: the address to bind.
        port: the port to bind.
        connections: the limits of its connections.
        logs_requests: whether it has an access log.
    """

    def __init__(
        self,
        name: str,
        app: web.Application,
        host: str,
        port: int,
        connections: TcpConnections,
        *,
        logs_requests: bool = False,
    ) -> None:
        self.app = app
        self._name = name
        self._host = host
        self._port = port
        self._connections = connections
        app.middlewares.insert(0, track_requests(connections))
        if logs_requests:
            app.middlewares.insert(0, log_requests(name))
        app.middlewares.insert(0, measure_requests(app, name))
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=5.0, auto_decompress=False
        )

    async def start(self) -> None:
        """Bind the address and accept connections.

        Raises:
            StartError: the address cannot be bound.
        """
        filter_bad_requests()
        await self._runner.setup()
        reject_unknown_expectations(self._runner)
        try:
            await _Site(self._runner, self._host, self._port, self._connections).start()
        except OSError as error:
            await self._runner.cleanup()
            raise StartError(
                f"The {self._name} listener cannot have {self._host}:{self._port}: {bind_problem(error)}",
                f"Stop what is using it, or set {self._name}.host and {self._name}.port to another address.",
                ExitCode.PORT,
            ) from error

    async def stop(self) -> None:
        """Stop accepting connections, and wait up to 5 s for the requests in progress."""
        await self._runner.cleanup()
        self._connections.close()


class _Site(web.BaseSite):
    """aiohttp's TCPSite, with ``connections`` around each protocol."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, connections: TcpConnections) -> None:
        super().__init__(runner)
        self._host, self._port = host, port
        self._connections = connections

    @property
    def name(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert server is not None
        self._server = listening = await asyncio.get_running_loop().create_server(
            self._connections.wrap(server), self._host, self._port, backlog=_BACKLOG
        )
        if (option := getattr(socket, "TCP_NOTSENT_LOWAT", None)) is not None:
            # Accepted sockets inherit the option: the kernel holds no more than this of a response that the peer does not read.
            for each in listening.sockets:
                each.setsockopt(socket.IPPROTO_TCP, option, _UNSENT_BYTES)


def bind_problem(error: OSError) -> str:
    """Return why an address cannot be bound, as a sentence."""
    match error.errno:
        case errno.EADDRINUSE:
            return "another program uses the port."
        case errno.EACCES:
            return "this user may not listen there."
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address."
    return str(error.strerror or error)
