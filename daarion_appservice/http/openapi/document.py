"""Generates the OpenAPI 3.1 document of an application from its routes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from http import HTTPStatus
from importlib.resources import files
from itertools import groupby
from typing import Any, Final

from aiohttp import web

from ... import __version__
from ...config import LimitsSettings
from ...json_encoding import JSON
from .. import schemas
from ..auth.principals import Access, Admin, AgentPrincipal, Citizen, Principal, ServicePrincipal, principal_types
from ..routing import EndpointDescription, NoBody, NoContent, route_description_of
from .error_code import ErrorCode
from .error_codes import error_codes_of
from .models import Mode, Models, query_parameters
from .sockets import described_sockets


def _default_limit(name: str) -> str:
    """Return the default of a setting of the section ``limits`` in words, such as "3,000 a minute"."""
    count, _, unit = str(LimitsSettings.model_fields[name].default).partition("/")
    return f"{int(count):,}" + (f" {'an' if unit == 'hour' else 'a'} {unit}" if unit else "")


_DESCRIPTION: Final = re.sub(
    r"\{limits\.(\w+)\}",
    lambda match: _default_limit(match[1]),
    files(__package__).joinpath("description.md").read_text(),
)
"""The introduction, with the default rate limits in place of ``{limits.<setting>}``."""

TAGS: Final = (
    ("/city/rooms", "Rooms", "Rooms with their members, messages and reactions."),
    ("/city/media", "Media", "Upload and download of files, avatars and thumbnails."),
    ("/city/sign-in", "Sign-in", "Tokens for new citizens, where the city has no external sign-in."),
    ("/city", "City", "The feed, City Home, the current citizen and the site settings."),
    ("/secondme", "Second Me", "The personal agent of each citizen."),
    ("/api/v1/agents", "Agents", "The agents of the registry, their tokens and heartbeats."),
    ("/api/v1/encryption", "Encryption", "The encryption devices of agents."),
    ("/api/v1/deliveries", "Deliveries", "What is not on Matrix, or could not be processed, and its retry."),
    ("/api/v1/dead-letters", "Deliveries", ""),
    ("/api/v1/nodes", "Registry", "Nodes, microDAOs and districts, with their agents, and imports into the registry."),
    ("/api/v1/microdaos", "Registry", ""),
    ("/api/v1/districts", "Registry", ""),
    ("/api/v1/registry", "Registry", ""),
    ("/api/v1/people", "Personal data", "The export and the erasure of a person's data."),
    ("/api/v1/erasures", "Personal data", ""),
    ("/api/v1/presence", "Presence", "The presence of citizens, agents and Matrix users."),
    ("/internal", "Internal presence", "The presence of Matrix users, for trusted services."),
    ("/healthz", "Monitoring", "Liveness, readiness and metrics of the process."),
    ("/readyz", "Monitoring", ""),
    ("/metrics", "Monitoring", ""),
    ("/", "Documentation", "This documentation."),
)
"""The path prefix, name and description of each tag; the first matching prefix counts."""

IN_PATH: Final = {
    "room_id": ("The room id or slug.", "podil"),
    "citizen_id": ("The citizen id.", "u_124"),
    "subject": ("A citizen id, `agent:<slug>` or a Matrix user id.", "agent:daarwizz"),
    "message_id": ("The message id.", "01M80JJAXFTK9TPCTY26E2R4Y5"),
    "emoji": ("The reaction key: an emoji, or up to 64 characters, percent-encoded.", "🌻"),
    "agent_id": ("The agent id or slug.", "daarwizz"),
    "token_id": ("The token id.", "01M80JJAXGAGENT0T0KEN00000"),
    "node_id": ("The node id.", "node-kyiv-1"),
    "microdao": ("The slug of the microDAO.", "daarion"),
    "district_id": ("The district id.", "podil"),
    "server": ("The server name in the `mxc://` URI.", "daarion.space"),
    "media_id": ("The media id in the `mxc://` URI.", "SEsfnsuifSDFSSEF"),
    "person_id": ("A citizen's id, `agent:<slug>`, or a Matrix user id; of a linked person either id.", "u_123"),
    "user_id": ("The Matrix user id.", "@oksana:daarion.space"),
}
"""The description and example of each path parameter."""

_TOKENS: Final[dict[type[Principal], tuple[str, str]]] = {
    Citizen: ("citizen", "A citizen's JWT."),
    AgentPrincipal: (
        "agent",
        "An agent token, `agt_…`, created by `daarion-appservice agent token`; it can be revoked.",
    ),
    ServicePrincipal: ("service", "The service token, `api.service_token`."),
    Admin: ("admin", "The admin token, `api.admin_token`, or a citizen's JWT with the admin claim."),
}

_IN_QUERY: Final = "in_query"

_WITHOUT_CONTENT: Final = {204, 304}
"""The statuses of responses without content."""


def _retry_after(*, required: bool) -> JSON:
    return {
        "description": "The number of seconds after which the request can be repeated.",
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
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "externalDocs": {"url": "/docs", "description": "This document as a page."},
        "servers": [{"url": "/", "description": "This server."}],
        "tags": [{"name": name, "description": text} for _, name, text in TAGS if name in used and text],
        "paths": paths,
        "components": {"schemas": models.components, "securitySchemes": _security_schemes()},
        "x-websockets": described_sockets(),
    }


def described_routes(app: web.Application) -> Iterator[Route]:
    """Yield the routes with a description, in the order of their addition."""
    for route in app.router.routes():
        description = route_description_of(route.handler)
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
        yield route.description.response, "serialization"


@dataclass(frozen=True, slots=True)
class _Operations:
    models: Models
    _: KW_ONLY
    anonymous_read: bool

    def operation(self, route: Route) -> JSON:
        description = route.description
        operation: JSON = {
            "operationId": route.name,
            "summary": description.summary,
            "tags": [tag_of(route.path)],
            "responses": self._responses(description) | self._errors(route),
        }
        optional = {
            "description": route.text,
            "security": self._security(description),
            "parameters": [*map(_path_parameter, route.in_path), *query_parameters(description.query)],
            "requestBody": self._body(description),
        }
        return operation | {key: value for key, value in optional.items() if value}

    def _body(self, description: EndpointDescription) -> JSON | None:
        if description.request_type != "application/json":
            return {"required": True, "content": {description.request_type: {}}}
        if description.body is NoBody:
            return None
        schema = self.models.schema(description.body, "validation")
        is_required = any(field.is_required() for field in description.body.model_fields.values())
        return {"required": is_required, "content": {description.request_type: self._with_example(schema)}}

    def _responses(self, description: EndpointDescription) -> JSON:
        content: JSON = {}
        if description.response is not NoContent:
            schema = self.models.schema(description.response, "serialization")
            content = {"content": {description.response_type: self._with_example(schema)}}
        responses = {description.status: HTTPStatus(description.status).phrase, **description.other_statuses}
        return {
            str(status): {"description": text} | (content if status not in _WITHOUT_CONTENT else {})
            for status, text in responses.items()
        }

    def _with_example(self, schema: JSON) -> JSON:
        try:
            return {"schema": schema, "example": self.models.example(schema)}
        except LookupError:
            return {"schema": schema}

    def _errors(self, route: Route) -> JSON:
        codes = sorted(error_codes_of(self._codes(route)), key=_status)
        return {str(status): _error(status, list(group)) for status, group in groupby(codes, _status)}

    def _codes(self, route: Route) -> Iterator[str]:
        """Yield the error codes of the route itself and of its authentication and validation."""
        description = route.description
        yield from description.errors
        yield "too_many_requests"
        if description.access is not None:
            yield from (
                "token_invalid",
                "account_erased",
                "citizen_id_too_long",
                "jwks_unavailable",
                "database_unavailable",
            )
            if not self._is_open(description.access):
                yield "sign_in"
            if description.access not in {Access.PUBLIC, Access.READERS}:
                yield "not_allowed"
        if route.in_path:
            yield from ("no_such_route", "text_invalid")
        if query_parameters(description.query):
            yield from ("invalid", "text_invalid")
        if description.body is not NoBody:
            yield from (
                "bad_request",
                "not_json",
                "body_too_slow",
                "body_too_large",
                "invalid",
                "too_deep",
                "text_invalid",
            )
        if description.body is not NoBody or description.request_type != "application/json":
            yield "too_many_request_bytes"

    def _is_open(self, access: Access) -> bool:
        return access is Access.PUBLIC or (access is Access.READERS and self.anonymous_read)

    def _security(self, description: EndpointDescription) -> list[JSON]:
        if description.access is None:
            return []
        anonymous: list[JSON] = [{}] if self._is_open(description.access) else []
        in_query: list[JSON] = [{_IN_QUERY: []}] if description.token_in_query else []
        # A citizen who is an admin is documented as `admin`, not as `citizen`.
        holders = (Admin,) if description.access is Access.ADMINS else principal_types(description.access)
        return anonymous + [{_TOKENS[holder][0]: []} for holder in holders] + in_query


def tag_of(path: str) -> str:
    return next(name for beginning, name, _ in TAGS if path.startswith(beginning))


def _status(error: ErrorCode) -> int:
    return error.status


def _error(status: int, codes: list[ErrorCode]) -> JSON:
    response: JSON = {
        "description": "\n".join(f"- `{each.code}`: {each.condition}" for each in codes),
        "content": {
            "application/problem+json": {
                "schema": {
                    "$ref": "#/components/schemas/Problem",
                    "properties": {
                        "status": {"const": status},
                        "code": {"enum": [each.code for each in codes]},
                    },
                },
                "examples": {each.code: {"summary": each.condition, "value": each.example} for each in codes},
            }
        },
    }
    return response | ({"headers": _HEADERS[status]} if status in _HEADERS else {})


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
        "description": "Any of these tokens, for clients that cannot set headers, such as an EventSource in a browser.",
    }
    return bearers | {_IN_QUERY: in_query}
