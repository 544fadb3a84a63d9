"""Renders the OpenAPI document as the page ``/docs``.

The page has no scripts, images or external resources, and adapts to phones and to a light or dark colour scheme.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any, Final

import nh3
import orjson
import pyromark

from ...json_encoding import JSON

_STYLE: Final = files(__package__).joinpath("page.css").read_text()
_STYLE_SHA256: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{_STYLE_SHA256}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy of the page, which allows only its own style sheet."""


def page_of(document: JSON) -> str:
    info = document["info"]
    title = escape(info["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} API</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>{title} <small>API {escape(info['version'])}</small></h1>{_markdown(info['description'])}</header>"
        f"<nav>{_contents(document)}</nav>"
        f"<main>{_routes(document)}{_sockets(document)}{_principals(document)}{_models(document)}</main>"
        '<footer>Generated from <a href="openapi.json">openapi.json</a> (OpenAPI '
        f"{escape(document['openapi'])}).</footer></body></html>"
    )


# --- sections -----------------------------------------------------------------------------------------


def _contents(document: JSON) -> str:
    routes = "".join(
        f"<h3>{escape(tag['name'])}</h3><ul>"
        + "".join(
            f'<li><a href="#{escape(operation["operationId"])}">{_method(method)} {escape(operation["summary"])}</a></li>'
            for method, _, operation in _operations(document, tag["name"])
        )
        + "</ul>"
        for tag in document["tags"]
    )
    sections = "".join(
        f'<li><a href="#{name.lower()}">{name}</a></li>' for name in ("WebSockets", "Authentication", "Models")
    )
    return f"{routes}<h3>More</h3><ul>{sections}</ul>"


def _routes(document: JSON) -> str:
    return "".join(
        f"<section><h2>{escape(tag['name'])}</h2>{_markdown(tag['description'])}"
        + "".join(_route(*each, document["components"]["schemas"]) for each in _operations(document, tag["name"]))
        + "</section>"
        for tag in document["tags"]
    )


def _operations(document: JSON, tag: str) -> Iterable[tuple[str, str, JSON]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method, path, operation


def _route(method: str, path: str, operation: JSON, models: dict[str, JSON]) -> str:
    return (
        f"<details><summary>{_method(method)} <code>{escape(path)}</code>"
        f'<span class="about">{escape(operation["summary"])}</span></summary><div id="{escape(operation["operationId"])}">'
        f"{_markdown(operation.get('description', ''))}{_access(operation)}{_parameters(operation)}"
        f"{_body(operation, models)}{_responses(operation)}{_errors(operation)}</div></details>"
    )


def _access(operation: JSON) -> str:
    allowed = [name for each in operation.get("security", []) for name in each or {"anonymous"}]
    return f'<p class="faint">Access: {escape(", ".join(allowed) or "no authentication")}</p>'


def _parameters(operation: JSON) -> str:
    rows = [
        (
            f"{_code(each['name'])} {_type(each['schema'])}{_required(each['required'])}",
            _about(each["description"], each["schema"]),
        )
        for each in operation.get("parameters", [])
    ]
    return _table("Parameters", rows)


def _body(operation: JSON, models: dict[str, JSON]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    return "".join(
        f"<h4>Body</h4>{_media(media_type, each)}{_fields(models.get(_model_name(each.get('schema', {})), {}))}"
        for media_type, each in content.items()
    )


def _responses(operation: JSON) -> str:
    return "".join(
        f"<h4>Response {escape(status)}</h4>{_markdown(response['description'])}"
        + "".join(_media(media_type, each) for media_type, each in response.get("content", {}).items())
        for status, response in operation["responses"].items()
        if status < "400"
    )


def _errors(operation: JSON) -> str:
    rows = [
        (f"{escape(status)} {_code(code)}", f"<p>{_inline(example['summary'])}</p>")
        for status, response in operation["responses"].items()
        if status >= "400"
        for code, example in response["content"]["application/problem+json"]["examples"].items()
    ]
    return _table("Errors", rows)


def _media(media_type: str, content: JSON) -> str:
    schema = content.get("schema", {})
    shown = f'<p>{_type(schema)} <span class="faint">as {escape(media_type)}</span></p>'
    return shown + (_example(content["example"]) if "example" in content else "")


def _sockets(document: JSON) -> str:
    sockets = document["x-websockets"]
    return '<section id="websockets"><h2>WebSockets</h2>' + "".join(map(_socket, sockets)) + "</section>"


def _socket(socket: JSON) -> str:
    query = [(_code(name), f"<p>{_inline(text)}</p>") for name, text in socket["query"].items()]
    return (
        f'<details><summary><span class="method">WS</span> <code>{escape(socket["path"])}</code>'
        f'<span class="about">{escape(socket["summary"])}</span></summary><div>{_markdown(socket["description"])}'
        f"{_table('Parameters', query)}{_events('Server events', socket['from_server'])}"
        f"{_events('Client events', socket['from_client'])}</div></details>"
    )


def _events(title: str, events: list[JSON]) -> str:
    return f"<h4>{escape(title)}</h4>" + "".join(
        f"<p>{_code(event['event'])} {_inline(event['description'])}</p>{_example(event['example'])}"
        for event in events
    )


def _principals(document: JSON) -> str:
    schemes = document["components"]["securitySchemes"].items()
    rows = [(_code(name), f"<p>{_inline(scheme['description'])}</p>") for name, scheme in schemes]
    return f'<section id="authentication"><h2>Authentication</h2>{_table("", rows)}</section>'


def _models(document: JSON) -> str:
    models = sorted(document["components"]["schemas"].items())
    return '<section id="models"><h2>Models</h2>' + "".join(_model(*each) for each in models) + "</section>"


def _model(name: str, schema: JSON) -> str:
    text = _markdown(schema.get("description", ""))
    return f'<div id="model-{escape(name)}"><h3>{escape(name)}</h3>{text}{_fields(schema)}</div>'


def _fields(schema: JSON) -> str:
    if "enum" in schema:
        return f"<p>{_type(schema)}</p>"
    required = schema.get("required", ())
    rows = [
        (
            f"{_code(name)} {_type(field)}{'' if name in required else _OPTIONAL}",
            _about(field.get("description", ""), field),
        )
        for name, field in schema.get("properties", {}).items()
    ]
    return _table("", rows)


# --- text ---------------------------------------------------------------------------------------------

_OPTIONAL: Final = ' <span class="faint">optional</span>'


def _required(is_required: bool) -> str:
    return "" if is_required else _OPTIONAL


def _about(text: str, schema: JSON) -> str:
    default = schema.get("default")
    suffix = f" Default: {_code(_json(default))}." if default not in (None, "") else ""
    examples = ", ".join(_code(_json(example)) for example in schema.get("examples", []))
    return f"<p>{_inline(text)}{suffix}</p>" + (f'<p class="faint">e.g. {examples}</p>' if examples else "")


def _type(schema: JSON) -> str:
    """Return the type of a schema as text, with a link to its model."""
    match schema:
        case {"$ref": str()}:
            name = escape(_model_name(schema))
            return f'<a href="#model-{name}">{name}</a>'
        case {"anyOf": list(kinds)}:
            return " or ".join(map(_type, kinds))
        case {"enum": list(values)}:
            return " · ".join(_code(_json(value)) for value in values)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_type(items)}"
        case {"type": kind}:
            return f'<span class="faint">{escape(" ".join([kind, *_limits(schema)]))}</span>'
    return '<span class="faint">anything</span>'


def _model_name(schema: JSON) -> str:
    name: str = schema.get("$ref", "").rpartition("/")[2]
    return name


_LIMITS: Final = {
    "minimum": "from {}",
    "maximum": "to {}",
    "minLength": "of {} or more characters",
    "maxLength": "of up to {} characters",
    "minItems": "of {} or more",
    "maxItems": "of up to {}",
    "format": "({})",
}


def _limits(schema: JSON) -> Iterable[str]:
    return (words.format(schema[name]) for name, words in _LIMITS.items() if name in schema)


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in rows)
    heading = f"<h4>{escape(title)}</h4>" if title else ""
    return f"{heading}<dl>{cells}</dl>" if cells else ""


def _method(method: str) -> str:
    return f'<span class="method {escape(method)}">{escape(method.upper())}</span>'


def _example(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return f"<pre>{escape(text)}</pre>"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _markdown(text: str) -> str:
    return nh3.clean(pyromark.html(text, options=pyromark.Options.ENABLE_TABLES))


def _inline(text: str) -> str:
    return _markdown(text).strip().removeprefix("<p>").removesuffix("</p>")
