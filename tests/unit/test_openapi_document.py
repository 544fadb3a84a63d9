"""Tests of the OpenAPI document: every route, field, error code and event is described."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from openapi_spec_validator import validate
from pydantic import BaseModel, Field, TypeAdapter

from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.config import Settings
from daarion_appservice.http.auth.principals import Access, Anonymous
from daarion_appservice.http.openapi.document import IN_PATH, Route, described_routes, openapi_document
from daarion_appservice.http.openapi.error_codes import ERROR_CODES
from daarion_appservice.http.openapi.models import Models, query_parameters
from daarion_appservice.http.openapi.page import page_of
from daarion_appservice.http.openapi.sockets import SOCKETS
from daarion_appservice.http.routing import (
    Body,
    Call,
    EndpointDescription,
    NoBody,
    NoContent,
    NoQuery,
    described,
    endpoint,
    install,
    routes_of,
)
from daarion_appservice.wiring import build_city
from daarion_appservice.wiring.servers import build_city_server
from tests.unit.test_docs import app_of

SOURCE = Path(__file__).parents[2] / "daarion_appservice"


@pytest.fixture
async def app() -> AsyncIterator[web.Application]:
    """The city listener of a city that is built but not started."""
    settings = Settings.model_validate(
        {
            "appservice": {"as_token": "ours", "hs_token": "theirs"},
            "database": {"url": "sqlite:///:memory:"},
            "web": {"enabled": False},  # pages are not part of the API
        }
    )
    city = build_city(settings)
    yield app_of(build_city_server(city))
    await city.close()


@pytest.fixture
def document(app: web.Application) -> Any:
    return openapi_document(app, anonymous_read=True)


# --- the city listener --------------------------------------------------------------------------------


async def test_document_has_every_route_and_websocket(app: web.Application, document: Any) -> None:
    installed = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.method not in {"HEAD", "OPTIONS"} and route.resource is not None
    }
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    sockets = {("GET", socket["path"]) for socket in document["x-websockets"]}
    assert documented | sockets == installed
    assert not documented & sockets


async def test_every_route_is_described(app: web.Application) -> None:
    assert [fault for route in described_routes(app) for fault in faults_of(route)] == []


async def test_every_field_has_a_description(app: web.Application, document: Any) -> None:
    without = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, words in schema.get("properties", {}).items()
        if not words.get("description")
    ]
    assert without == []


async def test_document_is_valid_openapi(document: Any) -> None:
    validate(document)  # raises


async def test_examples_match_their_models(app: web.Application, document: Any) -> None:
    for route in described_routes(app):
        operation = document["paths"][route.path][route.method]
        if route.description.body is not NoBody:
            sent = operation["requestBody"]["content"]["application/json"]["example"]
            TypeAdapter(route.description.body).validate_python(sent)
        for status, answer in operation["responses"].items():
            if status < "400":
                for each in answer.get("content", {}).values():
                    TypeAdapter(route.description.response).validate_python(each["example"])


def faults_of(route: Route) -> Iterator[str]:
    """Yield what is missing in the description of a route."""
    name, description = f"{route.method.upper()} {route.path}", route.description
    if not 0 < len(description.summary) <= 60 or description.summary.endswith("."):
        yield f"{name}: `summary` must be its effect, in 1 to 60 characters"
    if description.response is None:
        yield f"{name}: `answer` must be its model, or NoContent"
    for part in set(route.in_path) - set(IN_PATH):
        yield f"{name}: {{{part}}} must be in IN_PATH of openapi/document.py"
    for parameter in query_parameters(description.query):
        if not parameter["description"] or not parameter["schema"].get("examples"):
            yield f"{name}: ?{parameter['name']}= must have `description` and `examples`"
    for model in {description.body, description.response} - {NoBody, NoContent, None}:
        models = Models([(model, "serialization")])
        try:
            models.example(models.schema(model, "serialization"))
        except LookupError as error:
            yield f"{name}: {model}: {error}"


# --- errors -------------------------------------------------------------------------------------------

# Error codes that only WebSockets send: a problem needs an HTTP status, which an error event does not have.
SOCKET_CODES = {"no_such_event", "no_upgrade", "origin_not_allowed", "token_expired"}
RAISED = re.compile(
    r'(?:InvalidInput|Unauthenticated|TokenEnded|Forbidden|NotFound|Conflict|Unavailable)\(\s*"([a-z]\w*)"'
)


def test_every_raised_code_is_described() -> None:
    # Other modules raise errors for the command line only.
    sources = [
        *SOURCE.glob("city/*.py"),
        *SOURCE.glob("agents/*.py"),
        *SOURCE.glob("http/**/*.py"),
        SOURCE / "city/identity.py",
        SOURCE / "city/permissions.py",
    ]
    raised = {code for path in sources for code in RAISED.findall(path.read_text())}
    assert len(raised) > 20, "the pattern no longer finds them"
    assert raised - {each.code for each in ERROR_CODES} == SOCKET_CODES


def test_error_code_is_unique_by_status_and_code() -> None:
    named = [(each.status, each.code) for each in ERROR_CODES]
    assert len(named) == len(set(named))


# --- WebSockets ---------------------------------------------------------------------------------------


def test_every_websocket_event_is_described() -> None:
    source = "".join(path.read_text() for part in ("http", "realtime") for path in (SOURCE / part).rglob("*.py"))
    found = re.findall(r'"((?:city\.rooms?|presence)\.[a-z.]+|city\.unread(?:\.[a-z]+)?)', source)
    names = {*found, *(kind.value for kind in RoomEventKind)}
    documented = {event.name for socket in SOCKETS for event in (*socket.from_server, *socket.from_client)}
    assert documented - {"auth", "error"} == names


# --- generation ---------------------------------------------------------------------------------------


class Plan(Body):
    """A plan."""

    name: str = Field(description="Its name.", examples=["Міст"])


class Built(BaseModel):
    name: str = Field(description="Its name.", examples=["Міст"])


class SomeRoutes:
    @endpoint("GET", "/city/bridges", access=Access.READERS, summary="Bridges", response=list[Built])
    async def bridges(self, _call: Call[NoBody, NoQuery]) -> list[Any]:
        return []

    @endpoint(
        "POST",
        "/city/bridges/{room_id}",
        access=Access.ACTORS,
        body=Plan,
        status=201,
        summary="Build a bridge",
        response=Built,
        other_statuses={200: "It was there."},
        errors=("slug_taken",),
    )
    async def build(self, _call: Call[Plan, NoQuery]) -> Any:
        """Say ``name``."""

    @endpoint("DELETE", "/city/bridges/{bridge}", access=Access.CITIZENS)
    async def forgotten(self, _call: Call[NoBody, NoQuery]) -> Any:
        return None


class AnonymousAuthenticator:
    async def principal(self, _request: web.Request) -> Anonymous:
        return Anonymous()


@described(EndpointDescription(None, summary="A picture of it", response=NoContent, status=204, request_type="image/*"))
async def picture(_request: web.Request) -> web.Response:
    return web.Response(status=204)


def some_app() -> web.Application:
    app = web.Application()
    install(app, routes_of(SomeRoutes()), AnonymousAuthenticator(), anonymous_read=True)
    app.router.add_put("/city/bridges/picture", picture)
    return app


def codes(operation: Any) -> dict[str, list[str]]:
    return {
        status: answer["content"]["application/problem+json"]["schema"]["properties"]["code"]["enum"]
        for status, answer in operation["responses"].items()
        if status >= "400"
    }


def test_route_without_description_is_found() -> None:
    forgotten = next(route for route in described_routes(some_app()) if route.name == "forgotten")
    assert [fault.partition(": ")[2].partition(" must")[0] for fault in faults_of(forgotten)] == [
        "`summary`",
        "`answer`",
        "{bridge}",
    ]


def test_common_errors_follow_from_route_inputs() -> None:
    paths = openapi_document(some_app(), anonymous_read=True)["paths"]
    away = {"429": ["too_many_requests"], "503": ["jwks_unavailable", "database_unavailable"]}
    assert (
        codes(paths["/city/bridges"]["get"])
        == {"401": ["token_invalid", "account_erased"], "422": ["citizen_id_too_long"]} | away
    )
    assert codes(paths["/city/bridges/{room_id}"]["post"]) == {
        "400": ["not_json", "bad_request"],
        "401": ["sign_in", "token_invalid", "account_erased"],
        "403": ["not_allowed"],
        "404": ["no_such_route"],
        "408": ["body_too_slow"],
        "409": ["slug_taken"],
        "413": ["body_too_large"],
        "415": ["not_json"],
        "422": ["invalid", "text_invalid", "too_deep", "citizen_id_too_long"],
    } | away | {"503": ["too_many_request_bytes", "jwks_unavailable", "database_unavailable"]}
    assert codes(paths["/city/bridges/picture"]["put"]) == {
        "429": ["too_many_requests"],
        "503": ["too_many_request_bytes"],
    }


def test_security_depends_on_anonymous_read() -> None:
    everybody: list[Any] = [{"citizen": []}, {"agent": []}, {"service": []}, {"admin": []}]
    for anonymous_read, security, refused in ((True, [{}, *everybody], False), (False, everybody, True)):
        operation = openapi_document(some_app(), anonymous_read=anonymous_read)["paths"]["/city/bridges"]["get"]
        assert operation["security"] == security
        assert ("sign_in" in codes(operation)["401"]) is refused


def test_responses_and_bodies_are_documented() -> None:
    document = openapi_document(some_app(), anonymous_read=True)
    build = document["paths"]["/city/bridges/{room_id}"]["post"]
    shown = {"schema": {"$ref": "#/components/schemas/Built"}, "example": {"name": "Міст"}}
    assert build["description"] == "Say `name`."
    assert build["responses"]["200"] == {"description": "It was there.", "content": {"application/json": shown}}
    assert build["responses"]["201"] == {"description": "Created", "content": {"application/json": shown}}
    assert build["requestBody"]["required"]
    drawn = document["paths"]["/city/bridges/picture"]["put"]
    assert drawn["responses"]["204"] == {"description": "No Content"}
    assert drawn["requestBody"] == {"required": True, "content": {"image/*": {}}}
    validate(document)


def test_page_is_complete_and_self_contained() -> None:
    page = page_of(openapi_document(some_app(), anonymous_read=True))
    for documented in ("Build a bridge", "/city/bridges/{room_id}", "slug_taken", "Built", "Міст", "/ws/city/presence"):
        assert documented in page
    assert not re.search(r"<(script|img|link|iframe)|\ssrc=|@import|url\(", page)
    assert set(re.findall(r'href="(?!#)([^"]+)', page)) == {"https://www.rfc-editor.org/rfc/rfc9457", "openapi.json"}


def test_page_escapes_markup() -> None:
    document = openapi_document(some_app(), anonymous_read=True)
    operation = document["paths"]["/city/bridges"]["get"]
    operation["summary"] = operation["description"] = "<script>alert(1)</script>"
    operation["responses"]["200"]["content"]["application/json"]["example"] = ["</pre><script>alert(2)</script>"]
    assert "<script" not in page_of(document)
