"""Generates ``docs/reference/api.md`` from the OpenAPI documents of both listeners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus

import orjson
from aiohttp import web

from daarion_appservice.http.openapi.document import Route, described_routes, openapi_document
from daarion_appservice.http.openapi.error_codes import ERROR_CODES, error_codes_of
from daarion_appservice.http.servers import Listener
from daarion_appservice.json_encoding import JSON
from daarion_appservice.wiring.city import City
from daarion_appservice.wiring.servers import build_city_server, build_matrix_server

from .markdown import code, header, introduction, table


def page(city: City) -> str:
    """Return docs/reference/api.md; ``city`` is built but not started."""
    city_app, matrix_app = application(build_city_server(city)), application(build_matrix_server(city))
    document, matrix = (
        openapi_document(city_app, anonymous_read=True),
        openapi_document(matrix_app, anonymous_read=False),
    )
    models = matrix["components"]["schemas"] | document["components"]["schemas"]
    operations = Operations(models)
    return "".join(
        (
            header("API", "the route declarations in daarion_appservice/http/", "api"),
            "\n## City listener\n\n",
            document["info"]["description"].replace("\n## ", "\n### "),
            *(_section(tag, document, city_app, operations) for tag in document["tags"]),
            "\n## WebSockets\n",
            *map(_socket, document["x-websockets"]),
            "\n## Error codes\n\nThe codes of the city listener, with the status of the response.\n",
            table(
                ("status", "code", "condition"),
                ((str(each.status), code(each.code), each.condition) for each in ERROR_CODES),
            ),
            f"\n## Matrix listener\n{introduction('matrix-listener')}",
            *(_section(tag, matrix, matrix_app, operations) for tag in matrix["tags"]),
            f"\n## Application Service API\n{introduction('appservice-api')}",
            "\n## Models\n",
            *(_model(name, schema) for name, schema in sorted(models.items())),
        )
    )


def application(listener: Listener) -> web.Application:
    """Return the application of a listener that is not started."""
    runner = listener._runner  # noqa: SLF001
    assert isinstance(runner, web.AppRunner)
    return runner.app


# --- routes -------------------------------------------------------------------------------------------


def _section(tag: JSON, document: JSON, app: web.Application, operations: Operations) -> str:
    routes = {(route.method, route.path): route for route in described_routes(app)}
    return f"\n## {tag['name']}\n\n{tag['description']}\n" + "".join(
        operations.render(routes[method, path], operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    )


class Operations:
    """Renders operations. The example of a response model is shown once, with the first operation that returns it."""

    def __init__(self, schemas: JSON) -> None:
        self._schemas = schemas
        self._shown: set[str] = set()

    def render(self, route: Route, operation: JSON) -> str:
        return "".join(
            (
                f"\n### {code(f'{route.method.upper()} {route.path}')}\n",
                f"\n{operation['summary']}. For: {_callers(operation)}.\n",
                _paragraph(operation.get("description", "")),
                table(("parameter", "type", "meaning"), map(_parameter, operation.get("parameters", []))),
                self._body(operation.get("requestBody")),
                *(self._response(status, each) for status, each in operation["responses"].items() if status < "400"),
                _errors(route),
            )
        )

    def _body(self, body: JSON | None) -> str:
        if body is None:
            return ""
        (media_type, content), *_ = body["content"].items()
        fields = self._schemas.get(_name(content.get("schema", {})), {})
        return f"\nBody, {code(media_type)}:\n{_fields(fields)}{_example(content)}"

    def _response(self, status: str, response: JSON) -> str:
        content: JSON = response.get("content", {})
        description = response["description"].rstrip(".")
        if not content or description != HTTPStatus(int(status)).phrase:
            return f"\n{status}: {description}.\n"
        (media_type, each), *_ = content.items()
        model = _type(each.get("schema", {}))
        example = "" if model.removeprefix("list of ") in self._shown else _example(each)
        self._shown.add(model.removeprefix("list of "))
        return f"\n{status}: {model} as {code(media_type)}.\n{example}"


def _callers(operation: JSON) -> str:
    if not operation.get("security"):
        return "any client"
    return ", ".join(name for each in operation["security"] for name in each or {"anonymous": []} if name != "in_query")


def _parameter(parameter: JSON) -> tuple[str, str, str]:
    optional = "" if parameter["required"] else ", optional"
    return (
        f"{code(parameter['name'])} ({parameter['in']}{optional})",
        _type(parameter["schema"]),
        _meaning(parameter["description"], parameter["schema"]),
    )


def _errors(route: Route) -> str:
    codes = sorted(error_codes_of(route.description.errors), key=lambda each: (each.status, each.code))
    listed = ", ".join(f"{each.status} {code(each.code)}" for each in codes)
    return f"\nErrors: {listed}.\n" if listed else ""


# --- WebSockets ---------------------------------------------------------------------------------------


def _socket(socket: JSON) -> str:
    return "".join(
        (
            f"\n### {code('GET ' + socket['path'])}\n\n{socket['summary']}.\n{_paragraph(socket['description'])}",
            table(("parameter", "meaning"), ((code(name), text) for name, text in socket["query"].items())),
            f"\nThe server sends:\n{_events(socket['from_server'])}\nThe client sends:\n{_events(socket['from_client'])}",
        )
    )


def _events(events: Iterable[JSON]) -> str:
    lines = "".join(f"{orjson.dumps(each['example']).decode()}\n" for each in events)
    return table(("event", "meaning"), ((code(each["event"]), each["description"]) for each in events)) + _block(
        "json", lines
    )


# --- models -------------------------------------------------------------------------------------------


def _model(name: str, schema: JSON) -> str:
    return f"\n### {name} (model)\n{_paragraph(schema.get('description', ''))}{_fields(schema)}"


def _fields(schema: JSON) -> str:
    if "enum" in schema:
        return f"\n{_type(schema)}\n"
    required = schema.get("required", ())
    return table(
        ("field", "type", "meaning"),
        (
            (
                code(name) + ("" if name in required else " (optional)"),
                _type(field),
                _meaning(field.get("description", ""), field),
            )
            for name, field in schema.get("properties", {}).items()
        ),
    )


def _type(schema: JSON) -> str:
    match schema:
        case {"$ref": str()}:
            return f"[{_name(schema)}](#{_name(schema).lower()}-model)"
        case {"anyOf": list(kinds)}:
            return " or ".join(map(_type, kinds))
        case {"enum": list(values)}:
            return ", ".join(code(orjson.dumps(value).decode()) for value in values)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_type(items)}"
        case {"type": str(kind)}:
            return " ".join([kind, *_ranges(schema)])
    return "any"


def _ranges(schema: JSON) -> Iterator[str]:
    for lowest, highest, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        match schema.get(lowest), schema.get(highest):
            case None, None:
                pass
            case low, None:
                yield f"≥ {low}{unit}"
            case None, high:
                yield f"≤ {high}{unit}"
            case low, high:
                yield f"{low} to {high}{unit}"


def _meaning(text: str, schema: JSON) -> str:
    default = schema.get("default")
    return text + (f" Default: {code(orjson.dumps(default).decode())}." if default not in (None, "") else "")


def _name(schema: JSON) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _example(content: JSON) -> str:
    if "example" not in content:
        return ""
    example = content["example"]
    if isinstance(example, str):
        return _block("text", f"{example.rstrip()}\n")
    return _block("json", f"{orjson.dumps(example, option=orjson.OPT_INDENT_2).decode()}\n")


def _block(language: str, text: str) -> str:
    return f"\n```{language}\n{text}```\n"


def _paragraph(text: str) -> str:
    return f"\n{text.strip()}\n" if text else ""
