"""Serves the city's pages as built by ``make web``: one HTML document with the tags of each page, and its assets.

The pages are a client of the API and not a part of it: ``/openapi.json`` does not contain them, and routes of the API take
precedence. All files are read at the start and served from memory, so the path of a request never reaches the file system.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ..city.slugs import RESERVED
from ..config import WebSettings
from ..errors import NotFound
from .auth.principals import Anonymous
from .compressed_file import CompressedFile
from .content_coding import CODING_SUFFIXES
from .limits.request_limits import RequestLimits
from .link_previews import LinkPreviews

log = structlog.get_logger()

DIST: Final = Path(__file__).parents[1] / "web_dist"
"""The folder that ``make web`` builds into, which a wheel contains."""

_DOCUMENT: Final = "index.html"
_MANIFEST: Final = "manifest.webmanifest"
"""The Web App Manifest (https://www.w3.org/TR/appmanifest/), by which browsers install the pages."""
_ASSETS: Final = "assets"
"""The folder of files whose names contain a hash of their content."""

PAGES: Final = (
    "/",
    "/city",
    f"/city/{{slug:(?!(?:{'|'.join(sorted(RESERVED))})$)[^/]+}}",
    f"/city/{{slug:(?!(?:{'|'.join(sorted(RESERVED))})/)[^/]+}}/{{message_id}}",
    "/secondme",
    "/search",
    "/places",
    "/agents",
    "/agents/{id}",
    "/nodes/{node_id}",
    "/microdao/{slug}",
)
"""The paths of the pages."""

EMBEDDED_PAGE: Final = "/embed/{slug:[^/]+}"
"""The chat of a room, in a frame of another site."""
SIGN_IN_WINDOW: Final = "/embed/sign-in"
"""The window that signs a reader of an embedded chat in. No room has this slug: it is reserved."""
WIDGET_SCRIPT: Final = "widget.js"
"""The script that other sites load."""

_RESOURCE_POLICY: Final = "Cross-Origin-Resource-Policy"
_OPENER_POLICY: Final = "Cross-Origin-Opener-Policy"
_COMMON_HEADERS: Final[dict[str, str]] = {"X-Content-Type-Options": "nosniff", _RESOURCE_POLICY: "same-origin"}
_IMMUTABLE: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "public, max-age=31536000, immutable"}
_REVALIDATE: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-cache"}
"""Clients cache the response and revalidate it by its ETag, so an upgrade takes effect at once."""
_NO_STORE: Final[dict[str, str]] = {hdrs.CACHE_CONTROL: "no-store"}
_WIDGET_HEADERS: Final[dict[str, str]] = {
    # Other sites load the script with each page: their browsers revalidate it once an hour at most, and in the background.
    hdrs.CACHE_CONTROL: "public, max-age=3600, stale-while-revalidate=86400",
    _RESOURCE_POLICY: "cross-origin",
    # For `crossorigin` and `integrity` of the script element. The script is the same for everyone.
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
}
_NO_INDEX: Final[dict[str, str]] = {"X-Robots-Tag": "noindex"}
_PAGE_HEADERS: Final[dict[str, str]] = {
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()",
    _OPENER_POLICY: "same-origin",
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


def content_security_policy(frame_ancestors: Sequence[str]) -> str:
    """Return the Content-Security-Policy: all resources come from the city, and only ``frame_ancestors`` may embed it."""
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


def _headers(frame_ancestors: Sequence[str]) -> dict[str, str]:
    policy = content_security_policy(frame_ancestors)
    return _COMMON_HEADERS | _PAGE_HEADERS | {"Content-Security-Policy": policy}


class StaticPages:
    """The routes of the pages. They are installed last: after the routes of the API, and without CORS."""

    def __init__(
        self, settings: WebSettings, limits: RequestLimits, previews: LinkPreviews, dist: Path, city_name: str
    ) -> None:
        self._limits = limits
        self._previews = previews
        self._files = dict(_read(dist))
        if manifest := self._files.get(_MANIFEST):
            self._files[_MANIFEST] = _named_manifest(manifest, city_name)
        self._document = self._files.get(_DOCUMENT)
        self._page_headers = _headers(settings.frame_ancestors)
        # A site with `Cross-Origin-Embedder-Policy` refuses frames without the other policy.
        self._embed_headers = _headers(settings.embed_ancestors) | _NO_INDEX | {_RESOURCE_POLICY: "cross-origin"}
        # `same-origin` would hide the window from the frame that opened it, because the document around the frame is another's.
        self._window_headers = _headers([]) | _NO_INDEX | {_OPENER_POLICY: "unsafe-none"}
        self._may_be_embedded = bool(settings.embed_ancestors)

    def install(self, app: web.Application) -> None:
        if self._document is None:
            log.warning("pages_missing", help="`make web` builds them; web.enabled: false serves the API without")
        for path in PAGES:
            app.router.add_get(path, self._page)
        app.router.add_get(SIGN_IN_WINDOW, self._sign_in_window)
        app.router.add_get(EMBEDDED_PAGE, self._embedded_page)
        app.router.add_get(f"/{WIDGET_SCRIPT}", self._widget)
        app.router.add_get(f"/{_ASSETS}/{{name:.+}}", self._asset)
        for name in self._files:
            if name not in (_DOCUMENT, WIDGET_SCRIPT) and not name.startswith(f"{_ASSETS}/"):
                app.router.add_get(f"/{name}", self._file)
        app.middlewares.append(self._not_found_page)

    @property
    def _not_found_page(self) -> Middleware:
        """The middleware for unknown paths: browsers get the page with its 404 view, other clients the problem document."""

        @web.middleware
        async def not_found_page(request: web.Request, handler: Handler) -> web.StreamResponse:
            is_unknown = isinstance(request.match_info.http_exception, web.HTTPNotFound)
            document = self._document
            if document is None or not is_unknown or "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
                return await handler(request)
            return document.response(request, self._page_headers | _REVALIDATE, status=404)

        return not_found_page

    async def _page(self, request: web.Request) -> web.Response:
        await self._limits.count(request, Anonymous())
        if self._document is None:
            return self._not_built()
        document = await self._previews.document(request, self._document)
        return document.response(request, self._page_headers | _REVALIDATE)

    async def _embedded_page(self, request: web.Request) -> web.Response:
        return await self._plain_page(request, self._embed_headers)

    async def _sign_in_window(self, request: web.Request) -> web.Response:
        return await self._plain_page(request, self._window_headers)

    async def _plain_page(self, request: web.Request, headers: dict[str, str]) -> web.Response:
        """Return the document without tags for crawlers."""
        await self._limits.count(request, Anonymous())
        if self._document is None:
            return self._not_built()
        return self._document.response(request, headers | _REVALIDATE)

    def _not_built(self) -> web.Response:
        headers = self._page_headers | _NO_STORE
        return web.Response(status=503, text=_NOT_BUILT, content_type="text/html", headers=headers)

    async def _widget(self, request: web.Request) -> web.Response:
        """Return the script for other sites; 404 if none may embed the chat, so that a site's console shows why."""
        if not self._may_be_embedded:
            raise NotFound(
                "embedding_off", "no site may embed the chat: web.embed_ancestors in the configuration is empty"
            )
        return await self._file_response(request, _WIDGET_HEADERS)

    async def _asset(self, request: web.Request) -> web.Response:
        return await self._file_response(request, _IMMUTABLE)

    async def _file(self, request: web.Request) -> web.Response:
        return await self._file_response(request, _REVALIDATE)

    async def _file_response(self, request: web.Request, caching: dict[str, str]) -> web.Response:
        await self._limits.count(request, Anonymous())
        file = self._files.get(request.path.removeprefix("/"))
        if file is None:
            raise web.HTTPNotFound
        # With the policy of a page: a browser may open an SVG as a document, and an SVG may contain a script.
        return file.response(request, self._page_headers | caching)


def _read(dist: Path) -> dict[str, CompressedFile]:
    """Read every file by its path below ``dist``; return no files if the folder does not exist."""
    suffixes = tuple(CODING_SUFFIXES.values())
    paths = [path for path in dist.rglob("*") if path.is_file() and not path.name.endswith(suffixes)]
    return {path.relative_to(dist).as_posix(): CompressedFile.read(path) for path in sorted(paths)}


def _named_manifest(manifest: CompressedFile, city_name: str) -> CompressedFile:
    """Return the manifest with the name of this city, under which an installed city stands among the programs."""
    members = json.loads(manifest.content) | {"name": city_name, "short_name": city_name}
    content = json.dumps(members, ensure_ascii=False).encode()
    return replace(manifest, content=content, compressed={}, etag=hashlib.sha256(content).hexdigest()[:32])
