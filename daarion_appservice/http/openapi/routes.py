"""``/openapi.json`` and ``/docs``: made once, when all other routes are there, and answered from memory."""

from __future__ import annotations

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
    hdrs.CACHE_CONTROL: "public, no-cache",  # may be kept, and is asked for by its ETag: an upgrade shows at once
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
    "X-Content-Type-Options": "nosniff",
}
_PAGE_HEADERS: Final = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}

_Document = Annotated[dict[str, Any], Field(description="An OpenAPI 3.1 document.", examples=[{"openapi": "3.1.0"}])]
_Page = Annotated[str, Field(description="A page.", examples=['<!doctype html><html lang="en">…</html>'])]
_ALSO: Final = {304: "`If-None-Match` names the `ETag` of what would be answered."}


@dataclass(frozen=True, slots=True)
class _Kept:
    """Something that is always answered the same."""

    content: bytes
    gzipped: bytes
    content_type: str
    etag: str

    @classmethod
    def of(cls, content: bytes, content_type: str) -> _Kept:
        etag = hashlib.sha256(content).hexdigest()[:32]
        return cls(content, gzip.compress(content, mtime=0), content_type, etag)

    def answer(self, request: web.Request, headers: dict[str, str] | None = None) -> web.Response:
        is_known = any(each.value in {self.etag, "*"} for each in request.if_none_match or ())
        if is_known:
            response = web.Response(status=304)
        elif "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            response = web.Response(body=self.gzipped, content_type=self.content_type, charset="utf-8")
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        else:
            response = web.Response(body=self.content, content_type=self.content_type, charset="utf-8")
        # Weak, as it is the same for both encodings.
        response.etag = ETag(self.etag, is_weak=True)
        response.headers.update(_HEADERS | (headers or {}))
        return response


class Documentation:
    """To be installed after whatever it shall describe."""

    def __init__(self, *, anonymous_read: bool) -> None:
        self._anonymous_read = anonymous_read

    def install(self, app: web.Application) -> None:
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_get("/docs", self._docs)
        document = openapi_document(app, anonymous_read=self._anonymous_read)
        self._document = _Kept.of(orjson.dumps(document), "application/json")
        self._page = _Kept.of(page_of(document).encode(), "text/html")

    @described(EndpointDescription(None, summary="This API as an OpenAPI 3.1 document", answer=_Document, also=_ALSO))
    async def _openapi(self, request: web.Request) -> web.Response:
        return self._document.answer(request)

    @described(
        EndpointDescription(None, summary="This API as a page to read", answer=_Page, also=_ALSO, gives="text/html")
    )
    async def _docs(self, request: web.Request) -> web.Response:
        """Made of the same document. It has no scripts, and asks nobody for anything."""
        return self._page.answer(request, _PAGE_HEADERS)
