"""The city's pages, as ``make web`` built them: one document for every page, with the tags of that one (``link_previews``), and
the files that it needs.

They are a client of the API like any other and no part of it: ``/openapi.json`` does not name them, and a route of the API
goes before a page. All of it is read at the start and answered from memory, so no path of a request ever meets the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from ..city.slugs import RESERVED
from ..config import WebSettings
from .auth.principals import Anonymous
from .compressed_file import PACKINGS, CompressedFile
from .limits.limits import Handle, Limits
from .link_previews import LinkPreviews

log = structlog.get_logger()

DIST: Final = Path(__file__).parents[1] / "web_dist"
"""Where ``make web`` puts them; a wheel carries them there."""

_DOCUMENT: Final = "index.html"
_ASSETS: Final = "assets"
"""The folder of files whose names change with what is in them."""

PAGES: Final = (
    "/",
    "/city",
    f"/city/{{slug:(?!(?:{'|'.join(sorted(RESERVED))})$)[^/]+}}",
    "/secondme",
    "/agents",
    "/agents/{id}",
    "/nodes/{node_id}",
    "/microdao/{slug}",
)
"""Contract §7."""

_ALWAYS: Final[dict[str, str]] = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
_FOR_EVER: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable"}
_ASKED_FOR_AGAIN: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-cache"}
"""It is kept, and asked for by its ETag: an upgrade shows at once."""
_NOT_KEPT: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-store"}
_OF_A_PAGE: Final[dict[str, str]] = {
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_NOT_BUILT: Final = """\
<!doctype html>
<html lang="en">
<title>The pages are missing</title>
<h1>The city is open, but its pages are missing</h1>
<p>They were not built into this installation. In the source tree, <code>make web</code> builds them and
<code>make wheel</code> makes a package that has them; then restart the service.</p>
<p>The API needs none of them: <a href="/docs">what it can do</a>. With <code>web.enabled: false</code> it is served alone.</p>
"""


def policy(frame_ancestors: Sequence[str]) -> str:
    """The Content-Security-Policy: everything comes from the city itself, and nobody but these shows it in a frame."""
    ancestors = " ".join(frame_ancestors) or "'none'"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "font-src 'self'",
            "worker-src 'self'",
            "manifest-src 'self'",
            "media-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'self'",
            f"frame-ancestors {ancestors}",
        )
    )


class StaticPages:
    """To be installed last: the API's routes go before, and other origins have no business here."""

    def __init__(self, settings: WebSettings, limits: Limits, previews: LinkPreviews, dist: Path) -> None:
        self._limits = limits
        self._previews = previews
        self._files = _read(dist)
        self._document = self._files.get(_DOCUMENT)
        self._page_headers = _ALWAYS | _OF_A_PAGE | {"Content-Security-Policy": policy(settings.frame_ancestors)}

    def install(self, app: web.Application) -> None:
        if self._document is None:
            log.warning("pages_missing", help="`make web` builds them; web.enabled: false serves the API without")
        for path in PAGES:
            app.router.add_get(path, self._page)
        app.router.add_get(f"/{_ASSETS}/{{name:.+}}", self._asset)
        for name in self._files:
            if name != _DOCUMENT and not name.startswith(f"{_ASSETS}/"):
                app.router.add_get(f"/{name}", self._file)
        app.middlewares.append(self._somewhere)

    @property
    def _somewhere(self) -> Middleware:
        """Whoever opens an address that is none in a browser sees a page that says so; programs get the API's problem."""

        @web.middleware
        async def somewhere(request: web.Request, handler: Handle) -> web.StreamResponse:
            is_nowhere = isinstance(request.match_info.http_exception, web.HTTPNotFound)
            document = self._document
            if document is None or not is_nowhere or "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
                return await handler(request)
            return document.answer(request, self._page_headers | _ASKED_FOR_AGAIN, status=404)

        return somewhere

    async def _page(self, request: web.Request) -> web.Response:
        await self._limits.count(request, Anonymous())
        if self._document is None:
            headers = self._page_headers | _NOT_KEPT
            return web.Response(status=503, text=_NOT_BUILT, content_type="text/html", headers=headers)
        document = await self._previews.document(request, self._document)
        return document.answer(request, self._page_headers | _ASKED_FOR_AGAIN)

    async def _asset(self, request: web.Request) -> web.Response:
        return await self._answer(request, _FOR_EVER)

    async def _file(self, request: web.Request) -> web.Response:
        return await self._answer(request, _ASKED_FOR_AGAIN)

    async def _answer(self, request: web.Request, caching: dict[str, str]) -> web.Response:
        await self._limits.count(request, Anonymous())
        file = self._files.get(request.path.removeprefix("/"))
        if file is None:
            raise web.HTTPNotFound
        # A picture may be opened by itself, and one of SVG may hold a script.
        return file.answer(request, self._page_headers | caching)


def _read(dist: Path) -> dict[str, CompressedFile]:
    """Every file by its path below ``dist``; none where there is no such folder."""
    packed = tuple(PACKINGS.values())
    paths = [path for path in dist.rglob("*") if path.is_file() and not path.name.endswith(packed)]
    return {path.relative_to(dist).as_posix(): CompressedFile.read(path) for path in sorted(paths)}
