"""Conversion between contents and the columns ``body``, ``formatted_body``, ``msgtype``, ``media``, ``mentions``, ``details``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import orjson

from ..city.message_kinds import NO_DETAILS, Details, Location, Poll, PollKind, PollOption, PollResults
from ..city.types import Content, Media, SubjectId

_NONE: Final = "[]"


def content_values(content: Content) -> dict[str, Any]:
    return {
        "body": content.body,
        "formatted_body": content.formatted_body,
        "msgtype": content.msgtype,
        "media": None if content.media is None else orjson.dumps(asdict(content.media)).decode(),
        "mentions": orjson.dumps(content.mentions).decode() if content.mentions else _NONE,
        "details": None if content.details == NO_DETAILS else orjson.dumps(content.details).decode(),
    }


def media_of(text: str | None) -> Media | None:
    if not text:
        return None
    stored = orjson.loads(text)
    return Media(**stored | {"waveform": tuple(stored.get("waveform", ()))})


def mentions_of(text: str) -> tuple[SubjectId, ...]:
    return () if text == _NONE else tuple(orjson.loads(text))


def details_of(text: str | None) -> Details:
    if not text:
        return NO_DETAILS
    stored = orjson.loads(text)
    poll, location = stored.pop("poll"), stored.pop("location")
    return Details(poll and _poll(poll), location and Location(**location), **stored)


def _poll(stored: dict[str, Any]) -> Poll:
    options = tuple(PollOption(**option) for option in stored["options"])
    return Poll(**stored | {"options": options, "kind": PollKind(stored["kind"])})


def results_values(results: PollResults | None) -> str | None:
    return None if results is None else orjson.dumps(results).decode()


def results_of(text: str | None) -> PollResults | None:
    if not text:
        return None
    stored = orjson.loads(text)
    return PollResults(**stored | {"votes": tuple(stored["votes"])})
