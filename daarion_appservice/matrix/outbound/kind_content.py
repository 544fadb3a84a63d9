"""Parts of the content of Matrix events: files, polls, votes and places, in the forms that clients understand."""

from __future__ import annotations

from typing import Any, Final

from ...city.event_fields import RESPONSE_ID
from ...city.message_kinds import Location, Poll, PollKind, PollResults, closing_text, geo_uri
from ...city.poll_responses import PollResponse
from ...city.types import EventId, Media

_TEXT: Final = "org.matrix.msc1767.text"
_KINDS: Final = {kind: f"org.matrix.msc3381.poll.{kind}" for kind in PollKind}


def poll_content(poll: Poll, text: str) -> dict[str, Any]:
    """Return the content of ``org.matrix.msc3381.poll.start``, with ``text`` as the fallback."""
    return {
        "org.matrix.msc3381.poll.start": {
            "question": {"msgtype": "m.text", "body": poll.question, _TEXT: poll.question},
            "kind": _KINDS[poll.kind],
            "max_selections": poll.max_selections,
            "answers": [{"id": option.id, _TEXT: option.text} for option in poll.options],
        },
        _TEXT: text,
    }


def vote_content(poll: Poll, original: EventId, vote: PollResponse) -> dict[str, Any]:
    """Return the content of the event for a vote in the poll of the event ``original``, in the form of the poll."""
    selections = list(vote.selections)
    form = (
        {"m.selections": selections}
        if poll.is_stable
        else {"org.matrix.msc3381.poll.response": {"answers": selections}}
    )
    return form | _reference(original, vote)


def end_content(poll: Poll, results: PollResults | None, original: EventId, end: PollResponse) -> dict[str, Any]:
    """Return the content of the event for the end of a poll, in the form of the poll."""
    text = closing_text(poll, results)
    if not poll.is_stable:
        return {"org.matrix.msc3381.poll.end": {}, _TEXT: text} | _reference(original, end)
    counts = {option.id: votes for option, votes in zip(poll.options, results.votes if results else (), strict=False)}
    return {"m.text": [{"body": text}], "m.poll.results": counts} | _reference(original, end)


def location_content(location: Location, text: str) -> dict[str, Any]:
    """Return the fields of an ``m.location`` besides msgtype and body (MSC3488)."""
    uri = geo_uri(location)
    block = {"uri": uri} | ({"description": location.description} if location.description else {})
    return {
        "geo_uri": uri,
        "org.matrix.msc3488.location": block,
        "org.matrix.msc3488.asset": {"type": "m.pin"},
        _TEXT: text,
    }


def media_content(media: Media) -> dict[str, Any]:
    """Return the fields of a message with a file besides msgtype and body."""
    info = {
        "mimetype": media.mimetype,
        "size": media.size,
        "w": media.width,
        "h": media.height,
        "duration": media.duration_ms,
        "thumbnail_url": media.thumbnail_mxc,
    }
    content: dict[str, Any] = {
        "url": media.mxc,
        "filename": media.filename,
        "info": {key: value for key, value in info.items() if value is not None},
    }
    if media.is_voice:
        content["org.matrix.msc3245.voice"] = {}
    if media.is_voice or media.waveform:
        content["org.matrix.msc1767.audio"] = {"duration": media.duration_ms or 0, "waveform": list(media.waveform)}
    return content


def _reference(original: EventId, response: PollResponse) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": "m.reference", "event_id": original}, RESPONSE_ID: response.id}
