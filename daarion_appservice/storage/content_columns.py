"""Conversion between contents and the columns ``body``, ``formatted_body``, ``msgtype``, ``media`` and ``mentions``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import orjson

from ..city.types import Content, Media, SubjectId

_NONE: Final = "[]"


def content_values(content: Content) -> dict[str, Any]:
    return {
        "body": content.body,
        "formatted_body": content.formatted_body,
        "msgtype": content.msgtype,
        "media": None if content.media is None else orjson.dumps(asdict(content.media)).decode(),
        "mentions": orjson.dumps(content.mentions).decode() if content.mentions else _NONE,
    }


def media_of(text: str | None) -> Media | None:
    return Media(**orjson.loads(text)) if text else None


def mentions_of(text: str) -> tuple[SubjectId, ...]:
    return () if text == _NONE else tuple(orjson.loads(text))
