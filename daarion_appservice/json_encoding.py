"""JSON of whatever content, for answers, frames and events: encoding it never raises because of what somebody sent."""

from __future__ import annotations

from typing import Any

import orjson

from .city.text_sanitizing import storable


def encode_json(content: Any) -> bytes:
    """``content`` as JSON in UTF-8. Halves of surrogate pairs, which headers and JSON's escapes may hold, become U+FFFD, and
    an integer of more than 64 bits becomes a float. Raises TypeError for what is no JSON at all."""
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
