"""Fetches the images of requests for models with image input."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from ..city.media import THUMBNAIL_TYPES
from ..encryption.errors import EncryptionError
from ..errors import CityError, HomeserverRefused, HomeserverUnavailable
from .request import AgentRequest, Attachment

_TIMEOUT_S: Final = 15.0

Fetch = Callable[[str, int], Awaitable[tuple[bytes, str] | None]]
"""Fetch a file by its ``mxc://`` URI with a maximum size; return bytes and media type, None if it is larger."""
FetchDecrypted = Callable[[str, str, int], Awaitable[tuple[bytes, str] | None]]
"""Fetch and decrypt a file by its ``mxc://`` URI, its ``EncryptedFile`` as JSON, and a maximum size."""

log = structlog.get_logger()


class ImageInputs:
    """Adds images to requests as ``data:`` URLs (RFC 2397).

    Args:
        max_bytes: maximum size of an image; 0 adds none.
    """

    def __init__(self, fetch: Fetch, fetch_decrypted: FetchDecrypted, *, max_bytes: int) -> None:
        self._fetch = fetch
        self._fetch_decrypted = fetch_decrypted
        self._max_bytes = max_bytes

    async def with_images(self, request: AgentRequest) -> AgentRequest:
        """Return the request with its images; an image that cannot be fetched remains a description."""
        if not self._max_bytes or not request.attachments:
            return request
        return replace(request, attachments=tuple([await self._with_image(each) for each in request.attachments]))

    async def _with_image(self, attachment: Attachment) -> Attachment:
        if attachment.kind != "image" or attachment.mxc is None:
            return attachment
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                fetched = await self._fetched(attachment.mxc, attachment.encrypted_file)
        except (HomeserverUnavailable, HomeserverRefused, CityError, EncryptionError, OSError) as error:
            log.info("picture_not_fetched", mxc=attachment.mxc, error=str(error))
            return attachment
        if fetched is None or fetched[1] not in THUMBNAIL_TYPES:
            return attachment
        data, mimetype = fetched
        return replace(attachment, data_url=f"data:{mimetype};base64,{b64encode(data).decode()}")

    async def _fetched(self, mxc: str, encrypted_file: str | None) -> tuple[bytes, str] | None:
        if encrypted_file is not None:
            return await self._fetch_decrypted(mxc, encrypted_file, self._max_bytes)
        return await self._fetch(mxc, self._max_bytes)
