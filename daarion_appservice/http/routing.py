"""Declares routes with their access, parameters and responses, and validates each request before its handler runs.

    @endpoint(
        "POST",
        "/city/rooms",
        access=Access.CITIZENS,
        body=NewRoom,
        status=201,
        summary="Open a room",
        response=schemas.Room,
        errors=("slug_taken", "slug_invalid"),
    )
    async def open_room(self, call: Call[NewRoom, NoQuery]) -> JSON:
        \"""Further documentation for API users, in Markdown.\"""

``/openapi.json`` and ``/docs`` are generated from the same declarations, so each route of the city listener has:

``summary``         its effect, in a few words
``response``        the response model in ``schemas/`` (or a ``list[…]`` of one); ``NoContent`` for an empty response
``other_statuses``  further statuses with the same response, and when they occur: ``{200: "The same `client_id` again."}``
``errors``          its own error codes (``openapi/error_codes.py``); authentication and validation add theirs to all routes
docstring           the description of the operation
fields              of body, query and response: ``description`` and ``examples``; path parameters are in ``openapi/document.py``

A handler that does not take a ``Call`` (a stream, an upload) is declared with ``@described``. WebSockets are declared in
``openapi/sockets.py``. ``tests/unit/test_openapi_document.py`` finds missing declarations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Final, Generic, Protocol, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict

from ..compressed_body import read_unpacked
from ..errors import InvalidInput
from ..json_encoding import encode_json
from .auth.principals import Access, Principal, check
from .encoded_response import Encoded, shared_response
from .validation import check_text, validate


class Body(BaseModel):
    """Base class of JSON request bodies. Unknown fields are ignored: a newer client may send more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Query(BaseModel):
    """Base class of query parameters. Unknown parameters are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class NoBody(Body):
    """The route takes no body."""


class NoQuery(Query):
    """The route takes no query."""


class NoContent(BaseModel):
    """The route responds with a status and no body."""


B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Query)


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """One authenticated, authorised and validated request."""

    principal: Principal
    path: dict[str, str]
    body: B
    query: Q


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """A response with a status other than the route's usual one, or with headers."""

    content: Any
    status: int
    headers: dict[str, str] | None = None


Handler = Callable[[Call[Any, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class EndpointDescription:
    """The declaration of a route. ``access`` is None where requests are not authenticated."""

    access: Access | None
    body: type[Body] = NoBody
    query: type[Query] = NoQuery
    status: int = 200
    summary: str = ""
    response: Any = None
    other_statuses: Mapping[int, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    request_type: str = "application/json"
    """The media type of the request body; a body that is not JSON has no model."""
    response_type: str = "application/json"
    """The media type of the response."""
    token_in_query: bool = False
    """Whether ``?token=`` is accepted besides the Authorization header."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    method: str
    path: str
    handler: Handler
    description: EndpointDescription


class Authenticator(Protocol):
    async def principal(self, request: web.Request) -> Principal: ...


_ROUTE: Final = "__route__"
_DESCRIPTION: Final = "__description__"

MAX_JSON_BYTES: Final = 1024 * 1024
_BODY_S: Final = 30.0
"""How long a JSON body may take to arrive; uploads have their own time limit."""

H = TypeVar("H", bound=Callable[..., Any])


def endpoint(
    method: str,
    path: str,
    *,
    access: Access,
    body: type[Body] = NoBody,
    query: type[Query] = NoQuery,
    status: int = 200,
    summary: str = "",
    response: Any = None,
    other_statuses: Mapping[int, str] | None = None,
    errors: tuple[str, ...] = (),
) -> Callable[[H], H]:
    """Declare a method of a route group as the handler of a route; ``routes_of`` collects the routes of a group.

    Args:
        method: the HTTP method.
        path: the path template of aiohttp.
        access: the principals that may call the route.
        body: the model of the JSON body.
        query: the model of the query parameters.
        status: the status of a successful response.
        summary: the effect of the route, for the OpenAPI document.
        response: the response model, or ``NoContent``.
        other_statuses: further statuses with the same response, and when they occur.
        errors: the error codes of this route.
    """
    description = EndpointDescription(access, body, query, status, summary, response, other_statuses or {}, errors)

    def decorate(handler: H) -> H:
        setattr(handler, _ROUTE, (method, path))
        return described(description)(handler)

    return decorate


def described(description: EndpointDescription) -> Callable[[H], H]:
    """Attach a description to a handler that reads the request and writes the response itself."""

    def decorate(handler: H) -> H:
        setattr(handler, _DESCRIPTION, description)
        return handler

    return decorate


def route_description_of(handler: object) -> EndpointDescription | None:
    """Return the description of a handler, or None if it has none."""
    description: EndpointDescription | None = getattr(handler, _DESCRIPTION, None)
    return description


def routes_of(group: object) -> list[Endpoint]:
    """Return the endpoints of a route group in the order of their definition."""
    endpoints = []
    for name in vars(type(group)):
        handler = getattr(group, name)
        if route := getattr(handler, _ROUTE, None):
            method, path = route
            endpoints.append(Endpoint(method, path, handler, getattr(handler, _DESCRIPTION)))
    return endpoints


def install(
    app: web.Application, endpoints: Iterable[Endpoint], authenticator: Authenticator, *, anonymous_read: bool
) -> None:
    for each in endpoints:
        app.router.add_route(
            each.method, each.path, _aiohttp_handler(each, authenticator, anonymous_read=anonymous_read)
        )


def _aiohttp_handler(
    each: Endpoint, authenticator: Authenticator, *, anonymous_read: bool
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    description = each.description
    access = description.access
    assert access is not None
    is_shared = each.method == "GET" and access is Access.READERS

    @wraps(each.handler)  # copies the description as well
    async def handle(request: web.Request) -> web.StreamResponse:
        principal = await authenticator.principal(request)
        check(access, principal, anonymous_read=anonymous_read)
        path = dict(request.match_info)
        check_text(path)
        call = Call(principal, path, await read_body(request, description.body), read_query(request, description.query))
        result = await each.handler(call)
        if not isinstance(result, ResponseSpec):
            result = ResponseSpec(result, description.status)
        if description.response is NoContent:
            return web.Response(status=result.status)
        if is_shared and result.status == 200:
            return await shared_response(
                request, Encoded.of(result.content), status=result.status, headers=result.headers
            )
        return json_response(result.content, status=result.status, headers=result.headers)

    return handle


def json_response(
    content: Any, *, status: int = 200, content_type: str = "application/json", headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(body=encode_json(content), status=status, content_type=content_type, headers=headers)


async def read_body(request: web.Request, model: type[B]) -> B:
    """Read, parse and validate the JSON body of a request; a missing body counts as ``{}``.

    Raises:
        InvalidInput: the body is too large, too slow, not JSON, or does not match ``model``.
    """
    if model is NoBody:
        return model()
    raw = await read_unpacked(request, MAX_JSON_BYTES, within_s=_BODY_S)
    # A browser sends a cross-origin form or plain text without a CORS preflight, but not JSON.
    if raw and request.content_type != "application/json":
        raise InvalidInput("not_json", "send the body as Content-Type: application/json", status=415)
    try:
        content = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as error:
        raise InvalidInput("not_json", f"the body is not JSON: {error}") from error
    check_text(content)
    return validate(model, content)


def read_query(request: web.Request, model: type[Q]) -> Q:
    if model is NoQuery:
        return model()
    content = dict(request.query)
    check_text(content)
    return validate(model, content)
