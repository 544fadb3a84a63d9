"""Files on their way to and from the homeserver, piece by piece: none is ever held as a whole.

Fetched is what authenticated media are fetched by (spec 1.11), with the service's own token; a homeserver that is older than that
is asked as it was before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

import aiohttp
from mautrix.api import Method, PathBuilder

from ...city.file_types import HEAD_BYTES, shown_as
from ...city.media import USUAL, Thumbnail, is_mxc, parts_of
from ...city.types import UserId
from ...errors import HomeserverRefused, HomeserverTimeout, HomeserverUnavailable, HomeserverUnreachable
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from .ghosts import Ghosts, is_unregistered

_PIECE_BYTES: Final = 64 * 1024
_LIMIT_LASTS_S: Final = 600.0
"""How long it counts what the homeserver said that it takes."""
_V1: Final = PathBuilder("_matrix/client/v1/media")
_V3: Final = PathBuilder("_matrix/media/v3")


class Incoming:
    """A file that the homeserver sends."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        headers = response.headers
        self.content_type = headers.get("Content-Type", "")
        """As whoever brought it in called it, and nobody has checked."""
        disposition = response.content_disposition
        self.filename = disposition.filename if disposition else None
        # Something between us and the homeserver may have packed it, in spite of what we asked for.
        self.size = None if "Content-Encoding" in headers else response.content_length
        """Bytes; None when that is not known beforehand."""

    async def beginning(self, size: int) -> bytes:
        """So many bytes, or all that there are if they are fewer."""
        pieces: list[bytes] = []
        missing = size
        while missing and (piece := await self._read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    async def rest(self) -> AsyncIterator[bytes]:
        while piece := await self._read(_PIECE_BYTES):
            yield piece

    async def _read(self, size: int) -> bytes:
        """Raises HomeserverUnavailable when the homeserver stops in the middle of it."""
        try:
            return await self._response.content.read(size)
        except TimeoutError as error:
            raise HomeserverTimeout("the homeserver stopped in the middle of a file") from error
        except aiohttp.ClientError as error:
            raise HomeserverUnavailable(f"the homeserver stopped in the middle of a file: {error}") from error


class MediaRepository:
    """All calls raise HomeserverUnavailable or HomeserverRefused."""

    def __init__(self, homeserver: Homeserver, monitor: HomeserverMonitor, ghosts: Ghosts) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._ghosts = ghosts
        self._limit: int | None = None
        self._ask_again_s = 0.0

    async def upload_limit(self) -> int | None:
        """The largest file that the homeserver takes, in bytes; None when it does not say."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._ask_again_s:
            self._check_up()
            limit = (await self._homeserver.media_config()).get("m.upload.size")
            self._limit = limit if isinstance(limit, int) else None
            self._ask_again_s = now_s + _LIMIT_LASTS_S
        return self._limit

    async def upload(self, body: AsyncIterable[bytes], *, size: int, mimetype: str, filename: str, by: UserId) -> str:
        """Bring in a file as one of our users, and return its address."""
        self._check_up()
        if not self._ghosts.is_known(by):
            # Only registered: how it looks, and whether it is there, is seen to when it speaks.
            await self._homeserver.register(by)
        headers = {"Content-Type": mimetype, "Content-Length": str(size)}
        try:
            async with self._homeserver.streaming(
                Method.POST, _V3.upload, body, as_user=by, query={"filename": filename}, headers=headers
            ) as response:
                mxc = await _address_in(response)
        except HomeserverRefused as error:
            if not is_unregistered(error):
                raise
            await self._ghosts.forget(by)
            raise HomeserverUnavailable(
                "the homeserver was set up anew, and did not know this user any more"
            ) from error
        if not is_mxc(mxc):
            raise HomeserverUnreachable(
                f"{self._homeserver.address} did not answer as a homeserver does: no content_uri"
            )
        return mxc

    @asynccontextmanager
    async def download(self, mxc: str, thumbnail: Thumbnail | None = None) -> AsyncIterator[Incoming]:
        """Have a file, or a smaller picture of it, sent."""
        self._check_up()
        parts = parts_of(mxc)
        assert parts is not None, mxc
        server, media_id = parts
        what, query = "download", {}
        if thumbnail is not None:
            what = "thumbnail"
            query = {"width": str(thumbnail.width), "height": str(thumbnail.height), "method": thumbnail.method}
        path = PathBuilder(f"/{what}")[server][media_id].path
        query |= {"allow_redirect": "false"}
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(self._get(_V1.raw(path), query))
            except HomeserverRefused as error:
                if error.errcode != "M_UNRECOGNIZED":
                    raise
                response = await stack.enter_async_context(self._get(_V3.raw(path), query))
            yield Incoming(response)

    async def picture(self, mxc: str, max_bytes: int) -> tuple[bytes, str] | None:
        """A picture with its media type, or its thumbnail when it is larger than ``max_bytes``; None when that is, too."""
        for thumbnail in (None, USUAL):
            async with self.download(mxc, thumbnail) as incoming:
                if (incoming.size or 0) > max_bytes:
                    continue
                data = await incoming.beginning(max_bytes + 1)
                if len(data) <= max_bytes:
                    return data, shown_as(incoming.content_type, data[:HEAD_BYTES])
        return None

    def _get(self, path: PathBuilder, query: dict[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._homeserver.streaming(Method.GET, path, query=query, headers={"Accept-Encoding": "identity"})

    def _check_up(self) -> None:
        """While the homeserver is known to be gone, nobody has to wait to learn that."""
        if not self._monitor.is_up:
            raise HomeserverUnavailable(self._monitor.reason or "not asked yet")


async def _address_in(response: aiohttp.ClientResponse) -> str:
    try:
        answer = await response.json(content_type=None)
    except (aiohttp.ClientError, ValueError) as error:
        raise HomeserverUnreachable("the homeserver's answer to an upload is no JSON") from error
    return str(answer.get("content_uri", "")) if isinstance(answer, dict) else ""
