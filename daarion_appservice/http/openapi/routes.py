"""The routes ``/openapi.json`` and ``/docs``, generated at the first request: this takes most of the time of a start."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from aiohttp import ETag, hdrs, web
from pydantic import Field

from ..routing import EndpointDescription, described
from .document import openapi_document
from .page import POLICY, page_of

_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "public, no-cache",  # a cache revalidates by the ETag, so an upgrade is visible at once
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
    "X-Content-Type-Options": "nosniff",
}
_PAGE_HEADERS: Final = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}

_Document = Annotated[dict[str, Any], Field(description="An OpenAPI 3.1 document.", examples=[{"openapi": "3.1.0"}])]
_Page = Annotated[str, Field(description="An HTML page.", examples=['<!doctype html><html lang="en">…</html>'])]
_NOT_MODIFIED: Final = {304: "`If-None-Match` contains the `ETag` of the document."}


@dataclass(frozen=True, slots=True)
class _StaticResponse:
    """A response that never changes, with its gzip encoding."""

    content: bytes
    gzipped: bytes
    content_type: str
    etag: str

    @classmethod
    def of(cls, content: bytes, content_type: str) -> _StaticResponse:
        etag = hashlib.sha256(content).hexdigest()[:32]
        return cls(content, gzip.compress(content, mtime=0), content_type, etag)

    def response(self, request: web.Request, headers: dict[str, str] | None = None) -> web.Response:
        if any(each.value in {self.etag, "*"} for each in request.if_none_match or ()):
            response = web.Response(status=304)
        elif "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            response = web.Response(body=self.gzipped, content_type=self.content_type, charset="utf-8")
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        else:
            response = web.Response(body=self.content, content_type=self.content_type, charset="utf-8")
        # The ETag is the same for both encodings, and so a weak one.
        response.etag = ETag(self.etag, is_weak=True)
        response.headers.update(_HEADERS | (headers or {}))
        return response


@dataclass(frozen=True, slots=True)
class _Generated:
    document: _StaticResponse
    page: _StaticResponse


class Documentation:
    """The routes of the API documentation.

    Args:
        anonymous_read: the setting ``api.anonymous_read``.
    """

    def __init__(self, *, anonymous_read: bool) -> None:
        self._anonymous_read = anonymous_read
        self._lock = asyncio.Lock()
        self._generated: _Generated | None = None

    def install(self, app: web.Application) -> None:
        app.router.add_get("/openapi.json", self._get_openapi)
        app.router.add_get("/docs", self._get_docs)

    @described(
        EndpointDescription(None, summary="Get the OpenAPI document", response=_Document, other_statuses=_NOT_MODIFIED)
    )
    async def _get_openapi(self, request: web.Request) -> web.Response:
        """The document is generated from the models that validate requests. The WebSockets are in `x-websockets`."""
        return (await self._content(request.app)).document.response(request)

    @described(
        EndpointDescription(
            None,
            summary="Get the documentation page",
            response=_Page,
            other_statuses=_NOT_MODIFIED,
            response_type="text/html",
        )
    )
    async def _get_docs(self, request: web.Request) -> web.Response:
        """The OpenAPI document as a page without scripts and external resources."""
        return (await self._content(request.app)).page.response(request, _PAGE_HEADERS)

    async def _content(self, app: web.Application) -> _Generated:
        async with self._lock:
            if self._generated is None:
                self._generated = await asyncio.to_thread(self._generate, app)
            return self._generated

    def _generate(self, app: web.Application) -> _Generated:
        document = openapi_document(app, anonymous_read=self._anonymous_read)
        return _Generated(
            _StaticResponse.of(orjson.dumps(document), "application/json"),
            _StaticResponse.of(page_of(document).encode(), "text/html"),
        )
