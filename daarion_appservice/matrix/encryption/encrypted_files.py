"""Replaces the files of an outgoing message by encrypted copies, and reads the keys of those in incoming messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson

from ...city.event_fields import ENCRYPTED_FILE
from ...city.media import is_mxc
from ...city.types import UserId
from ...encryption.attachments import EncryptedFile, encrypt_attachment
from ...encryption.errors import EncryptionError
from ...errors import HomeserverRefused

_MAX_FILE_BYTES: Final = 50 * 1024 * 1024
"""Bytes of a file, which is encrypted in memory; Synapse's default limit of an upload."""

Download = Callable[[str, int], Awaitable[bytes | None]]
"""Downloads a file by its ``mxc://`` URI with a maximum size; None if it is larger."""
Upload = Callable[[UserId, bytes], Awaitable[str]]
"""Uploads bytes as a ghost; returns the ``mxc://`` URI."""


class EncryptedFiles:
    """Encrypts files with one copy in the media repository for each message."""

    def __init__(self, download: Download, upload: Upload) -> None:
        self._download = download
        self._upload = upload
        self._one_at_a_time = asyncio.Lock()

    async def encrypted(self, ghost: UserId, content: dict[str, Any]) -> dict[str, Any]:
        """Return the content with ``file`` instead of ``url``, and without a thumbnail that is not encrypted.

        Raises:
            HomeserverUnavailable, HomeserverRefused: the file cannot be copied, or is too large to be.
        """
        url = content.get("url")
        if not isinstance(url, str) or not is_mxc(url):
            return content
        async with self._one_at_a_time:
            file = await self._copied(ghost, url)
        kept = {name: value for name, value in content.items() if name != "url"}
        if isinstance(info := kept.get("info"), dict):
            kept["info"] = {name: value for name, value in info.items() if not name.startswith("thumbnail_")}
        return kept | {"file": file.to_content()}

    async def _copied(self, ghost: UserId, url: str) -> EncryptedFile:
        plaintext = await self._download(url, _MAX_FILE_BYTES)
        if plaintext is None:
            raise HomeserverRefused(
                413, "M_TOO_LARGE", f"a file of more than {_MAX_FILE_BYTES} bytes cannot be encrypted"
            )
        attachment = await asyncio.to_thread(encrypt_attachment, plaintext)
        return attachment.at(await self._upload(ghost, attachment.ciphertext))


def with_file_keys(content: dict[str, Any]) -> dict[str, Any]:
    """Return a decrypted content in which ``url`` names the encrypted file, and `ENCRYPTED_FILE` has its key as JSON.

    A file that cannot be decrypted is left out, and only its name is shown.
    """
    new = content.get("m.new_content")
    # Only once: a sender may nest a thousand of them.
    replaced = {"m.new_content": _with_file_key(new)} if isinstance(new, dict) else {}
    return _with_file_key(content) | replaced


def _with_file_key(content: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in content.items() if name not in {"url", "file", ENCRYPTED_FILE}}
    if isinstance(info := kept.get("info"), dict):
        kept["info"] = {name: value for name, value in info.items() if not name.startswith("thumbnail_")}
    file = content.get("file")
    try:
        parsed = EncryptedFile.parse(file) if isinstance(file, dict) else None
    except EncryptionError:
        parsed = None
    if parsed is not None and is_mxc(parsed.url):
        kept |= {"url": parsed.url, ENCRYPTED_FILE: orjson.dumps(parsed.to_content()).decode()}
    return kept
