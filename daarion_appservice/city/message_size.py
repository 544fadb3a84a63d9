"""Limits of a message's text: not empty, and small enough for a Matrix event."""

from __future__ import annotations

import json
from typing import Final

from ..errors import InvalidInput
from .types import Content

MAX_BODY_BYTES: Final = 48_000
"""The largest body as JSON: an event has 65,536 bytes at most, and its other fields need room too."""


def check_content(content: Content) -> None:
    """Raise InvalidInput unless this can be the content of a message."""
    if not content.body.strip():
        raise InvalidInput("message_empty", "the message is empty; send a text", status=422)
    check_body_size(content.body)


def check_body_size(body: str) -> None:
    """Raise InvalidInput for a body that is too large for an event.

    The check is cheap and precedes the expensive steps.
    """
    # A character has at least one byte.
    if len(body) > MAX_BODY_BYTES or _json_bytes(body) > MAX_BODY_BYTES:
        raise InvalidInput(
            "message_too_long",
            f"a message may have {MAX_BODY_BYTES} bytes at most; send a longer one in parts",
            status=413,
        )


def truncate_body(body: str) -> str:
    """Return the longest start of ``body`` that fits into a message, with an ellipsis if anything is cut."""
    if _json_bytes(body) <= MAX_BODY_BYTES:
        return body
    max_bytes = MAX_BODY_BYTES - _json_bytes("…")
    fits, too_long = 0, len(body)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _json_bytes(body[:middle]) <= max_bytes:
            fits = middle
        else:
            too_long = middle
    return body[:fits] + "…"


def _json_bytes(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())
