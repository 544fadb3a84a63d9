"""Keeps the content of an event within the size that its ciphertext may have."""

from __future__ import annotations

from typing import Any, Final

from ...json_encoding import encode_json

_MAX_BYTES: Final = 46_000
"""Bytes of the content as JSON: in base64, with the fields of the envelope, an event of at most 65,536 bytes."""
_HTML: Final = ("format", "formatted_body")
_ELLIPSIS: Final = "…"


def fitting_content(content: dict[str, Any]) -> dict[str, Any]:
    """Return a content whose ciphertext fits into an event: without its HTML, if it must be, and with a shorter body.

    Args:
        content: the content of an ``m.room.message``; an edit has its new content in ``m.new_content``.
    """
    if _size(content) <= _MAX_BYTES:
        return content
    fitting = _without_html(content)
    texts = [part for part in (fitting, fitting.get("m.new_content")) if isinstance(part, dict) and "body" in part]
    excess = _size(fitting) - _MAX_BYTES
    if excess > 0 and texts:
        _shorten(texts, sum(_size(part["body"]) for part in texts) - excess)
    return fitting


def _shorten(texts: list[dict[str, Any]], max_bytes: int) -> None:
    """Shorten the longest bodies so that all together have at most ``max_bytes`` of JSON."""
    by_size = sorted(texts, key=lambda part: _size(part["body"]))
    for others, part in zip(range(len(by_size) - 1, -1, -1), by_size, strict=True):
        part["body"] = _shortened(str(part["body"]), max_bytes // (others + 1))
        max_bytes -= _size(part["body"])


def _without_html(content: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in content.items() if name not in _HTML}
    if isinstance(inner := kept.get("m.new_content"), dict):
        kept["m.new_content"] = _without_html(inner)
    return kept


def _shortened(body: str, max_bytes: int) -> str:
    """Return ``body`` without so much of its end that it has at most ``max_bytes`` of JSON."""
    if _size(body) <= max_bytes:
        return body
    max_bytes -= len(_ELLIPSIS.encode())
    while body and (excess := _size(body) - max_bytes) > 0:
        # One character has at most six bytes of JSON.
        body = body[: -max(1, excess // 6)]
    return f"{body}{_ELLIPSIS}"


def _size(content: Any) -> int:
    return len(encode_json(content))
