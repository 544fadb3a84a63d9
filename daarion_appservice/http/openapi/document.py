"""Generates the OpenAPI 3.1 document of an application from its routes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final

from aiohttp import web

from ... import __version__
from .. import schemas
from ..auth.principals import Access, Admin, AgentPrincipal, Citizen, Principal, ServicePrincipal, kinds
from ..routing import EndpointDescription, NoBody, NoContent, description_of
from ..views import JSON
from .models import Mode, Models, query_parameters
from .problems import Problem, problems_of
from .sockets import described_sockets

_ABOUT: Final = """\
Rooms, presence, agents and the feed of a city whose rooms are Matrix rooms at the same time.

**Who is asking** is said with `Authorization: Bearer <token>`; without it a request is anonymous. Each route says whose token it
takes.

**Errors** are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problems: `code` is stable and meant for programs, `detail` is a
sentence for people. Besides those that a route lists there are 403 `preflight_refused` (to a browser that asks for a page of
another origin), 404 `no_such_route`, 405 `method_not_allowed` (the header `Allow` says what is), 421 `host_not_allowed` (asked by
a name that is not the city's), and 500 `internal_error`, a fault of ours. What is no HTTP is answered 400 in plain text.

Times are RFC 3339 in UTC with milliseconds; names that end in `_ms` are numbers of milliseconds. Unknown fields of a request
are ignored, and answers may get new ones.

**WebSockets** are beyond OpenAPI; what is said on them stands in `x-websockets`.
"""

TAGS: Final = (
    ("/city/rooms", "Rooms", "Rooms, and what is said in them."),
    ("/city/media", "Files", "Pictures and other files that are posted in rooms."),
    ("/city/sign-in", "Sign-in", "How one becomes a citizen where the city sees to that itself."),
    ("/city", "City", "The feed, the front page, and what pages need to know."),
    ("/secondme", "Second Me", "An agent that answers each citizen by what they asked before."),
    ("/api/v1/agents", "Agents", "Who the agents are, and their heartbeats."),
    ("/api/v1/nodes", "Places", "Nodes, microDAOs and districts: where agents live, and who looks after them."),
    ("/api/v1/microdaos", "Places", ""),
    ("/api/v1/districts", "Places", ""),
    ("/api/v1/registry", "Agents", ""),
    ("/api/v1/presence", "Presence", "Who is here."),
    ("/", "This description", "What you are reading."),
)
"""The path prefix, name and description of each tag; the first matching prefix counts."""

IN_PATH: Final = {
    "room_id": ("The room's id or slug.", "podil"),
    "message_id": ("The message's id.", "01M80JJAXFTK9TPCTY26E2R4Y5"),
    "emoji": ("The sign.", "🌻"),
    "agent_id": ("The agent's id or slug.", "daarwizz"),
    "token_id": ("The token's id.", "01M80JJAXGAGENT0T0KEN00000"),
    "node_id": ("The node's id.", "node-kyiv-1"),
    "microdao": ("The microDAO's slug.", "daarion"),
    "district_id": ("The district's id.", "podil"),
    "server": ("The server name in the file's `mxc://` address.", "daarion.space"),
    "media_id": ("What follows it there.", "SEsfnsuifSDFSSEF"),
}
"""The description and example of each path parameter."""

_TOKENS: Final[dict[type[Principal], tuple[str, str]]] = {
    Citizen: ("citizen", "A JWT of the city's own sign-in."),
    AgentPrincipal: ("agent", "`agt_…`, made by `daarion-appservice agent token`; it can be revoked."),
    ServicePrincipal: ("service", "The token of trusted services."),
    Admin: ("admin", "The token of whoever looks after the city, or a JWT with the admin claim."),
}

_IN_QUERY: Final = "in_query"

_BARE: Final = {204, 304}
"""The statuses of responses without content."""


def _retry_after(*, required: bool) -> JSON:
    return {
        "description": "Seconds after which the same will do.",
        "required": required,
        "schema": {"type": "integer", "minimum": 1, "examples": [2]},
    }


_HEADERS: Final[dict[int, JSON]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string", "examples": ['Bearer realm="city"']}}},
    429: {"Retry-After": _retry_after(required=True)},
    503: {"Retry-After": _retry_after(required=False)},
}


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    name: str
    text: str
    """The description of the operation in Markdown."""
    description: EndpointDescription

    @property
    def in_path(self) -> list[str]:
        return re.findall(r"{(\w+)", self.path)


def openapi_document(app: web.Application, *, anonymous_read: bool) -> JSON:
    """Return the OpenAPI document of ``app``.

    Args:
        app: an application with all its routes.
        anonymous_read: the setting ``api.anonymous_read``: routes for readers need no token.
    """
    routes = list(described_routes(app))
    models = Models(_models(routes))
    operations = _Operations(models, anonymous_read=anonymous_read)
    paths: dict[str, JSON] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = operations.operation(route)
    used = {operation["tags"][0] for path in paths.values() for operation in path.values()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DAARION city",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "externalDocs": {"url": "/docs", "description": "The same as a page to read."},
        "servers": [{"url": "/", "description": "This city."}],
        "tags": [{"name": name, "description": text} for _, name, text in TAGS if name in used and text],
        "paths": paths,
        "components": {"schemas": models.components, "securitySchemes": _security_schemes()},
        "x-websockets": described_sockets(),
    }


def described_routes(app: web.Application) -> Iterator[Route]:
    """Yield the routes with a description, in the order of their addition."""
    for route in app.router.routes():
        description = description_of(route.handler)
        if description is None or route.resource is None or route.method in {"HEAD", "OPTIONS"}:
            continue
        text = (inspect.getdoc(route.handler) or "").replace("``", "`")
        yield Route(
            route.method.lower(), route.resource.canonical, route.handler.__name__.strip("_"), text, description
        )


def _models(routes: list[Route]) -> Iterator[tuple[Any, Mode]]:
    yield schemas.Problem, "serialization"
    for route in routes:
        if route.description.body is not NoBody:
            yield route.description.body, "validation"
        yield route.description.answer, "serialization"


class _Operations:
    def __init__(self, models: Models, *, anonymous_read: bool) -> None:
        self._models = models
        self._anonymous_read = anonymous_read

    def operation(self, route: Route) -> JSON:
        description = route.description
        operation: JSON = {
            "operationId": route.name,
            "summary": description.summary,
            "tags": [tag_of(route.path)],
            "responses": self._answers(description) | self._errors(route),
        }
        more = {
            "description": route.text,
            "security": self._security(description),
            "parameters": [*map(_path_parameter, route.in_path), *query_parameters(description.query)],
            "requestBody": self._body(description),
        }
        return operation | {key: value for key, value in more.items() if value}

    def _body(self, description: EndpointDescription) -> JSON | None:
        if description.takes != "application/json":
            return {"required": True, "content": {description.takes: {}}}
        if description.body is NoBody:
            return None
        schema = self._models.schema(description.body, "validation")
        is_required = any(field.is_required() for field in description.body.model_fields.values())
        return {"required": is_required, "content": {description.takes: self._with_example(schema)}}

    def _answers(self, description: EndpointDescription) -> JSON:
        content: JSON = {}
        if description.answer is not NoContent:
            schema = self._models.schema(description.answer, "serialization")
            content = {"content": {description.gives: self._with_example(schema)}}
        answers = {description.status: HTTPStatus(description.status).phrase, **description.also}
        return {
            str(status): {"description": text} | (content if status not in _BARE else {})
            for status, text in answers.items()
        }

    def _with_example(self, schema: JSON) -> JSON:
        try:
            return {"schema": schema, "example": self._models.example(schema)}
        except LookupError:
            return {"schema": schema}

    def _errors(self, route: Route) -> JSON:
        problems = sorted(problems_of(self._codes(route)), key=_status)
        return {str(status): _error(status, list(group)) for status, group in groupby(problems, _status)}

    def _codes(self, route: Route) -> Iterator[str]:
        """Yield the error codes of the route itself and of its authentication and validation."""
        description = route.description
        yield from description.errors
        yield "too_many_requests"
        if description.who is not None:
            yield from ("token_invalid", "citizen_id_too_long", "jwks_unavailable", "database_away")
            if not self._is_open(description.who):
                yield "sign_in"
            if description.who not in {Access.EVERYBODY, Access.READERS}:
                yield "not_allowed"
        if route.in_path:
            yield from ("no_such_route", "not_text")
        if query_parameters(description.query):
            yield from ("invalid", "not_text")
        if description.body is not NoBody:
            yield from ("bad_request", "not_json", "body_too_slow", "body_too_large", "invalid", "too_deep", "not_text")
        if description.body is not NoBody or description.takes != "application/json":
            yield "too_many_request_bytes"

    def _is_open(self, who: Access) -> bool:
        return who is Access.EVERYBODY or (who is Access.READERS and self._anonymous_read)

    def _security(self, description: EndpointDescription) -> list[JSON]:
        if description.who is None:
            return []
        anonymous: list[JSON] = [{}] if self._is_open(description.who) else []
        in_query: list[JSON] = [{_IN_QUERY: []}] if description.token_in_query else []
        # A citizen who is an admin is documented as `admin`, not as `citizen`.
        holders = (Admin,) if description.who is Access.ADMINS else kinds(description.who)
        return anonymous + [{_TOKENS[holder][0]: []} for holder in holders] + in_query


def tag_of(path: str) -> str:
    return next(name for beginning, name, _ in TAGS if path.startswith(beginning))


def _status(problem: Problem) -> int:
    return problem.status


def _error(status: int, problems: list[Problem]) -> JSON:
    answer: JSON = {
        "description": "\n".join(f"- `{problem.code}`: {problem.when}" for problem in problems),
        "content": {
            "application/problem+json": {
                "schema": {
                    "$ref": "#/components/schemas/Problem",
                    "properties": {
                        "status": {"const": status},
                        "code": {"enum": [problem.code for problem in problems]},
                    },
                },
                "examples": {problem.code: {"summary": problem.when, "value": problem.example} for problem in problems},
            }
        },
    }
    return answer | ({"headers": _HEADERS[status]} if status in _HEADERS else {})


def _path_parameter(name: str) -> JSON:
    text, example = IN_PATH.get(name, ("", name))
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": text,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "examples": [example]},
    }


def _security_schemes() -> JSON:
    bearers = {name: {"type": "http", "scheme": "bearer", "description": text} for name, text in _TOKENS.values()}
    in_query = {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "Any of these tokens, where no header can be set: an EventSource in a browser.",
    }
    return bearers | {_IN_QUERY: in_query}
