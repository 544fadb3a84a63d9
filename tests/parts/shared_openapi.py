"""Each worker builds the OpenAPI document of a city in its own process once: it is 60 % of what such a start costs.

The document depends on nothing but the routes and ``api.anonymous_read``, which are the key.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from aiohttp import web

from daarion_appservice.http.openapi import routes
from daarion_appservice.http.openapi.document import Route, described_routes, openapi_document
from daarion_appservice.http.openapi.page import page_of

_DOCUMENTS: Final[dict[tuple[object, ...], tuple[list[Route], dict[str, Any]]]] = {}
"""With the routes, which are held so that the ids in the key stay theirs."""
_PAGES: Final[dict[int, str]] = {}


def build_once() -> None:
    """Have all cities of this process share their documents, by replacing the functions that build them."""
    for name, function in {"openapi_document": _document, "page_of": _page}.items():
        setattr(routes, name, function)
    routes._StaticResponse.of = cache(routes._StaticResponse.of)  # type: ignore[method-assign]


def _document(app: web.Application, *, anonymous_read: bool) -> dict[str, Any]:
    described = list(described_routes(app))
    key = (anonymous_read, *((each.method, each.path, each.text, id(each.description)) for each in described))
    if key not in _DOCUMENTS:
        _DOCUMENTS[key] = (described, openapi_document(app, anonymous_read=anonymous_read))
    return _DOCUMENTS[key][1]


def _page(document: dict[str, Any]) -> str:
    # No document is freed, so an id names one for good.
    if id(document) not in _PAGES:
        _PAGES[id(document)] = page_of(document)
    return _PAGES[id(document)]
