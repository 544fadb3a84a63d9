"""A scripted media repository of a homeserver, which records its requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

SERVER = "city.localhost"

HttpResponse = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeMediaRepository:
    files: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """Media id → what is in it, and what it is called."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each request, but for those that bring nothing in and take nothing out."""
    uploads: list[web.Request] = field(default_factory=list)
    max_upload_bytes: int | None = 1024 * 1024
    is_old: bool = False
    """From before authenticated media."""
    answer: HttpResponse | None = None
    """The response to all later downloads and uploads."""
    url: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application(client_max_size=1024**3)
        app.router.add_route("*", "/{path:.*}", self._handle)
        server = TestServer(app)
        await server.start_server()
        self.url = str(server.make_url("")).rstrip("/")
        try:
            yield
        finally:
            await server.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/_matrix/client/v3/register":
            return web.json_response({"user_id": "@somebody:city.localhost"})
        if path.startswith("/_matrix/client/v1/media/") and self.is_old:
            return refused(404, "M_UNRECOGNIZED")
        if path.endswith("/config"):
            limit = {} if self.max_upload_bytes is None else {"m.upload.size": self.max_upload_bytes}
            return web.json_response(limit)
        assert request.headers["Authorization"] == "Bearer a token of ours"
        self.requests.append(f"{request.method} {path}")
        if self.answer is not None:
            return await self.answer(request)
        if path == "/_matrix/media/v3/upload":
            return await self._take(request)
        return self._give(request)

    async def _take(self, request: web.Request) -> web.Response:
        media_id = f"file{len(self.uploads)}"
        self.files[media_id] = (await request.read(), request.content_type)
        self.uploads.append(request)
        return web.json_response({"content_uri": f"mxc://{SERVER}/{media_id}"})

    def _give(self, request: web.Request) -> web.Response:
        media_id = request.path.rpartition("/")[2]
        if media_id not in self.files:
            return refused(404, "M_NOT_FOUND")
        content, content_type = self.files[media_id]
        return web.Response(body=content, headers={"Content-Type": content_type})


def refused(status: int, errcode: str, error: str = "no", **more: Any) -> web.Response:
    return web.json_response({"errcode": errcode, "error": error} | more, status=status)
