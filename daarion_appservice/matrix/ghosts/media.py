"""Streaming upload and download of media, chunk by chunk: no file is in memory as a whole.

Downloads use authenticated media (spec 1.11) with the ``as_token``, or the older endpoints on an older homeserver.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

import aiohttp
from mautrix.api import Method, PathBuilder

from ...city.file_types import HEAD_BYTES, served_type
from ...city.media import MESSAGE_THUMBNAIL, Thumbnail, is_mxc, split_mxc
from ...city.types import UserId
from ...encryption.attachments import EncryptedFile, decrypt_attachment
from ...encryption.json_fields import parse_object
from ...errors import HomeserverRefused, HomeserverTimeout, HomeserverUnavailable, HomeserverUnreachable
from ..client.homeserver import Homeserver
from ..client.monitor import HomeserverMonitor
from ..client.refusals import is_unregistered
from .ghosts import Ghosts

_PIECE_BYTES: Final = 64 * 1024
_LIMIT_LASTS_S: Final = 600.0
"""How long the upload limit of the homeserver is cached."""
_V1: Final = PathBuilder("_matrix/client/v1/media")
_V3: Final = PathBuilder("_matrix/media/v3")


class Incoming:
    """A media download whose body is read as a stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        headers = response.headers
        self.content_type = headers.get("Content-Type", "")
        """The media type that the uploader declared, unverified."""
        disposition = response.content_disposition
        self.filename = disposition.filename if disposition else None
        # A proxy may have compressed the body in spite of `Accept-Encoding: identity`; its length then is another.
        self.size = None if "Content-Encoding" in headers else response.content_length
        """The size in bytes, or None if it is unknown before the download."""

    async def beginning(self, size: int) -> bytes:
        """Return the first ``size`` bytes, or the whole body if it is shorter."""
        pieces: list[bytes] = []
        missing = size
        while missing and (piece := await self._read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    async def rest(self) -> AsyncIterator[bytes]:
        """Yield the rest of the body in chunks."""
        while piece := await self._read(_PIECE_BYTES):
            yield piece

    async def _read(self, size: int) -> bytes:
        """Read up to ``size`` bytes. Raises HomeserverUnavailable if the connection breaks or times out."""
        try:
            return await self._response.content.read(size)
        except TimeoutError as error:
            raise HomeserverTimeout("the homeserver stopped in the middle of a file") from error
        except aiohttp.ClientError as error:
            raise HomeserverUnavailable(f"the homeserver stopped in the middle of a file: {error}") from error


class HomeserverMedia:
    """The homeserver's media repository. All methods raise HomeserverUnavailable or HomeserverRefused."""

    def __init__(self, homeserver: Homeserver, monitor: HomeserverMonitor, ghosts: Ghosts) -> None:
        self._homeserver = homeserver
        self._monitor = monitor
        self._ghosts = ghosts
        self._limit: int | None = None
        self._ask_again_s = 0.0

    async def upload_limit(self) -> int | None:
        """Return the homeserver's maximum upload size in bytes (``m.upload.size``), or None if it declares none."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._ask_again_s:
            self._check_up()
            limit = (await self._homeserver.media_config()).get("m.upload.size")
            self._limit = limit if isinstance(limit, int) else None
            self._ask_again_s = now_s + _LIMIT_LASTS_S
        return self._limit

    async def upload(self, body: AsyncIterable[bytes], *, size: int, mimetype: str, filename: str, by: UserId) -> str:
        """Upload a file as a ghost and return its ``mxc://`` URI.

        Args:
            body: the chunks of the file.
            size: the size of the file in bytes.
            by: the ghost that uploads the file; it is registered if it is unknown.
        """
        self._check_up()
        if not self._ghosts.is_known(by):
            # An upload needs the registration only; the outbound worker sets the profile and joins the room later.
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
                "the homeserver was reinstalled, and did not know this user any more"
            ) from error
        if not is_mxc(mxc):
            raise HomeserverUnreachable(
                f"{self._homeserver.address} did not answer as a homeserver does: no content_uri"
            )
        return mxc

    @asynccontextmanager
    async def download(self, mxc: str, thumbnail: Thumbnail | None = None) -> AsyncIterator[Incoming]:
        """Download a file, or a thumbnail of it."""
        self._check_up()
        parts = split_mxc(mxc)
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
        """Return a picture and its media type, or its thumbnail if it is larger than ``max_bytes``.

        Returns:
            The bytes and the media type, or None if the thumbnail is larger as well.
        """
        for thumbnail in (None, MESSAGE_THUMBNAIL):
            async with self.download(mxc, thumbnail) as incoming:
                if (incoming.size or 0) > max_bytes:
                    continue
                data = await incoming.beginning(max_bytes + 1)
                if len(data) <= max_bytes:
                    return data, served_type(incoming.content_type, data[:HEAD_BYTES])
        return None

    async def content(self, mxc: str, max_bytes: int) -> bytes | None:
        """Return a whole file, or None if it is larger than ``max_bytes``."""
        async with self.download(mxc) as incoming:
            if (incoming.size or 0) > max_bytes:
                return None
            data = await incoming.beginning(max_bytes + 1)
        return data if len(data) <= max_bytes else None

    async def decrypted_picture(self, mxc: str, file_key: str, max_bytes: int) -> tuple[bytes, str] | None:
        """Return a picture of an encrypted chat and its media type.

        Args:
            mxc: the file.
            file_key: its ``EncryptedFile`` as JSON.
            max_bytes: the maximum size.

        Returns:
            The bytes and the media type, or None if the file is larger.

        Raises:
            InvalidAttachment, InvalidContent: the file is not the one that its sender encrypted.
        """
        ciphertext = await self.content(mxc, max_bytes)
        if ciphertext is None:
            return None
        file = EncryptedFile.parse(parse_object(file_key.encode(), what="the key of the file"))
        data = await asyncio.to_thread(decrypt_attachment, ciphertext, file)
        return data, served_type("", data[:HEAD_BYTES])

    def _get(self, path: PathBuilder, query: dict[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._homeserver.streaming(Method.GET, path, query=query, headers={"Accept-Encoding": "identity"})

    def _check_up(self) -> None:
        """Raise HomeserverUnavailable at once while the monitor reports the homeserver as lost."""
        if not self._monitor.is_up:
            raise HomeserverUnavailable(self._monitor.reason or "not checked yet")


async def _address_in(response: aiohttp.ClientResponse) -> str:
    try:
        answer = await response.json(content_type=None)
    except (aiohttp.ClientError, ValueError) as error:
        raise HomeserverUnreachable("the homeserver's answer to an upload is no JSON") from error
    return str(answer.get("content_uri", "")) if isinstance(answer, dict) else ""
