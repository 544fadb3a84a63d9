"""Keeps the content of an event within the size that its ciphertext may have."""

from __future__ import annotations

from typing import Any, Final

from ...json_encoding import encode_json

_MAX_BYTES: Final = 46_000
"""Bytes of the content as JSON: in base64, with the fields of the envelope, an event of at most 65,536 bytes."""
_HTML: Final = ("format", "formatted_body")


def fitting_content(content: dict[str, Any]) -> dict[str, Any]:
    """Return a content whose ciphertext fits into an event: without its HTML, if it must be, and with a shorter body.

    Args:
        content: the content of an ``m.room.message``; an edit has its new content in ``m.new_content``.
    """
    if _size(content) <= _MAX_BYTES:
        return content
    fitting = _without_html(content)
    texts = [part for part in (fitting, fitting.get("m.new_content")) if isinstance(part, dict) and "body" in part]
    if (excess := _size(fitting) - _MAX_BYTES) > 0 and texts:
        for part in texts:
            part["body"] = _shortened(str(part["body"]), excess // len(texts) + 8)
    return fitting


def _without_html(content: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in content.items() if name not in _HTML}
    if isinstance(inner := kept.get("m.new_content"), dict):
        kept["m.new_content"] = _without_html(inner)
    return kept


def _shortened(body: str, by_bytes: int) -> str:
    """Return ``body`` without its end of ``by_bytes`` bytes of JSON, in which one character has at most six."""
    max_bytes = _size(body) - by_bytes
    while body and (excess := _size(body) - max_bytes) > 0:
        body = body[: -max(1, excess // 6)]
    return f"{body}…"


def _size(content: Any) -> int:
    return len(encode_json(content))
