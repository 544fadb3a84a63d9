"""Encodes JSON for responses, WebSocket frames and events, without errors for any content that a client can send."""

from __future__ import annotations

from typing import Any

import orjson

from .city.text_sanitizing import storable

JSON = dict[str, Any]
"""A JSON object."""


def encode_json(content: Any) -> bytes:
    """Encode ``content`` as JSON in UTF-8.

    Lone surrogates, which headers and JSON escapes may contain, become U+FFFD. An integer of more than 64 bits becomes a
    float.

    Raises:
        TypeError: ``content`` has a value of a type that JSON does not have.
    """
    try:
        return orjson.dumps(content)
    except TypeError:
        return orjson.dumps(_encodable(content))


def _encodable(content: Any) -> Any:
    match content:
        case str():
            return storable(content)
        case bool():
            return content
        case int() if not -(1 << 63) <= content < 1 << 64:
            return float(content) if abs(content) < 1 << 1000 else None
        case dict():
            return {storable(str(key)): _encodable(value) for key, value in content.items()}
        case list() | tuple():
            return [_encodable(each) for each in content]
    return content
