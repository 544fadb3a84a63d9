"""Pictures that people choose for themselves and for rooms, among the files that they uploaded."""

from __future__ import annotations

from typing import Final

from ..errors import InvalidInput
from .ports import CityTransaction
from .types import Author, Media

PICTURE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
_MAX_PICTURE_BYTES: Final = 10 * 1024 * 1024


async def find_picture(tx: CityTransaction, uploader: Author, mxc: str) -> Media:
    """Return an uploaded picture.

    Args:
        tx: The transaction.
        uploader: The author who chooses the picture.
        mxc: The ``mxc://`` URI of the upload.

    Raises:
        InvalidInput: The file is no upload of this author, no picture, or too large.
    """
    upload = await tx.media.upload_of(uploader, mxc)
    if upload is None:
        raise InvalidInput("avatar_unknown", "the avatar must be a file that you uploaded", status=422)
    if upload.mimetype not in PICTURE_TYPES or (upload.size or 0) > _MAX_PICTURE_BYTES:
        raise InvalidInput(
            "avatar_invalid", "the avatar must be a PNG, JPEG, GIF, WebP or AVIF of 10 MiB at most", status=422
        )
    return upload
