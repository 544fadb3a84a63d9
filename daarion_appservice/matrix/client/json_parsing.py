"""Parsing of JSON that Synapse serializes with Python's ``json``, which emits more than orjson accepts.

Events of old room versions, and receipts and presence from other homeservers, are not canonical JSON (spec, appendix
"Canonical JSON"): a homeserver can send any number and any nesting. Synapse repeats a transaction until it is accepted,
so that one such value would stop all traffic.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import orjson

_MAX_DEPTH: Final = 500
"""Deeper arrays and objects are read as null if Python's parser reaches its recursion limit of 1,000 frames."""
_MAX_DIGITS: Final = 19
"""Longer integers are read as floats: they exceed 64 bits, and parsing them as integers takes quadratic time."""
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{\]}]', re.DOTALL)


def loads(body: bytes) -> Any:
    """Parse JSON.

    Returns:
        The value. Unpaired surrogates become question marks; numbers beyond the range of a float, and values nested too
        deeply to parse, become None.

    Raises:
        ValueError: the body is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return _parse(body)
    except RecursionError:
        return _parse(_flattened(body))


def _parse(body: bytes) -> Any:
    parsed = json.loads(body, parse_int=_integer, parse_float=_finite, parse_constant=_reject_constant)
    return orjson.loads(json.dumps(parsed, ensure_ascii=False).encode("utf-8", "replace"))


def _integer(digits: str) -> int | float | None:
    return int(digits) if len(digits) <= _MAX_DIGITS else _finite(digits)


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _flattened(body: bytes) -> bytes:
    """Replace arrays and objects that are nested deeper than ``_MAX_DEPTH`` with null."""
    parts: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(body):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth == _MAX_DEPTH + 1:
                    parts += [body[start : token.start()], b"null"]
            case b"]" | b"}":
                depth -= 1
                if depth == _MAX_DEPTH:
                    start = token.end()
    # A body that ends within such a value stays incomplete, so that the parser rejects it.
    return b"".join(parts if depth > _MAX_DEPTH else [*parts, body[start:]])
