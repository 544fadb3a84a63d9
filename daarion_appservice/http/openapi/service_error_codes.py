"""The error codes of the city listener with a status of 5xx: of the service, its limits, and what it depends on."""

from __future__ import annotations

from typing import Final

from .error_code import ErrorCode

SERVICE_ERROR_CODES: Final = (
    ErrorCode(
        502,
        "core_failed",
        "the response of the agents core is invalid or incomplete",
        "the agents core ended its response before it was complete",
    ),
    ErrorCode(503, "search_too_slow", "a search took too long", "the search took too long: use rarer words or a room"),
    ErrorCode(
        503,
        "too_many_connections",
        "the listener has too many open connections; `Retry-After` is the number of seconds to wait",
        "the server has too many open connections",
    ),
    ErrorCode(
        503,
        "too_many_request_bytes",
        "the requests in progress exceed the memory limit; `Retry-After` is the number of seconds to wait",
        "the requests in progress exceed the memory limit; try again",
    ),
    ErrorCode(
        503,
        "no_core",
        "the city has no agents core",
        "agents cannot reply: no agents core is configured (agents_core.url)",
    ),
    ErrorCode(
        503,
        "core_busy",
        "too many requests to the agents core; `Retry-After` is the number of seconds to wait",
        "too many requests to the agents core are running; try again in a moment",
    ),
    ErrorCode(
        503,
        "core_circuit_open",
        "the agents core failed repeatedly and gets no requests until `Retry-After`",
        "the agents core failed repeatedly and gets no requests for 30 seconds; try again after that",
    ),
    ErrorCode(
        503,
        "media_busy",
        "too many concurrent transfers of files; `Retry-After` is the number of seconds to wait",
        "too many concurrent transfers of files; try again",
    ),
    ErrorCode(
        503,
        "homeserver_unavailable",
        "the homeserver does not respond; try again later",
        "the homeserver, which stores the files, does not respond; try again",
    ),
    ErrorCode(
        503,
        "openid_unavailable",
        "the homeserver does not serve OpenID; its admin must allow it",
        "the homeserver does not resolve OpenID tokens; the service's log has the remedy",
    ),
    ErrorCode(
        503,
        "media_unavailable",
        "the homeserver cannot transfer the file at the moment; try again later",
        "the homeserver cannot transfer the file at the moment; try again",
    ),
    ErrorCode(
        503,
        "jwks_unavailable",
        "the keys of `api.jwt.jwks_url` cannot be fetched; try again later",
        "the keys that verify tokens (JWKS) cannot be fetched",
    ),
    ErrorCode(
        503,
        "database_unavailable",
        "the database does not respond; try again later",
        "the database does not respond; try again",
    ),
    ErrorCode(
        504,
        "core_timeout",
        "the agents core does not respond in time",
        "the agents core did not respond within 60 seconds",
    ),
)
