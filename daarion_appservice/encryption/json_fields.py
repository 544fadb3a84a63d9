"""Reads fields of JSON that other devices and users wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .errors import InvalidContent

Json = Mapping[str, Any]
"""A JSON object."""

MAX_ID_LENGTH = 255
"""Bytes of a user, room, event or device id: the limit of the specification for ids."""


def text_field(content: Json, key: str) -> str:
    """Return a field that must be a string.

    Raises:
        InvalidContent: The field is missing or not a string, or is not valid Unicode.
    """
    value = content.get(key)
    if not isinstance(value, str):
        raise InvalidContent(f"{key} is not a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidContent(f"{key} is not valid Unicode") from error
    return value


def id_field(content: Json, key: str) -> str:
    """Return a field that must be an id of at most 255 bytes, not empty and without a NUL, which PostgreSQL refuses.

    Raises:
        InvalidContent: The field is no such string.
    """
    value = text_field(content, key)
    if not value or "\0" in value or len(value.encode()) > MAX_ID_LENGTH:
        raise InvalidContent(f"{key} is not an id of at most {MAX_ID_LENGTH} bytes")
    return value


def object_field(content: Json, key: str) -> dict[str, Any]:
    """Return a field that must be a JSON object.

    Raises:
        InvalidContent: The field is missing or not an object.
    """
    value = content.get(key)
    if not isinstance(value, dict):
        raise InvalidContent(f"{key} is not an object")
    return value


def parse_object(encoded: bytes, *, what: str) -> dict[str, Any]:
    """Parse bytes that must be a JSON object in UTF-8.

    Raises:
        InvalidContent: The bytes are not JSON, are nested too deeply, or are not an object.
    """
    try:
        value = orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        raise InvalidContent(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise InvalidContent(f"{what} is not a JSON object")
    return value


def as_object(value: object, *, what: str) -> dict[str, Any]:
    """Return a value that must be a JSON object.

    Raises:
        InvalidContent: The value is anything else.
    """
    if not isinstance(value, dict):
        raise InvalidContent(f"{what} is not an object")
    return value
