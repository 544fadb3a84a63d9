"""Polls (MSC3381) and votes in the content of Matrix events.

A poll also has a text, the question and its numbered options, as clients without poll support show them.

Clients send the unstable form, with texts under ``org.matrix.msc1767.text``; the stable one has lists under ``m.text``.
"""

from __future__ import annotations

from typing import Any, Final

from ...city.event_fields import Event, inner, plain_text, text
from ...city.message_kinds import Poll, PollKind, PollOption
from ...city.text_sanitizing import one_line, storable

_DISCLOSED: Final = frozenset({"m.disclosed", "m.poll.disclosed", "org.matrix.msc3381.poll.disclosed"})
_RESPONSE: Final = "org.matrix.msc3381.poll.response"
_MAX_ID_CHARS: Final = 255
_FORMS: Final = (("m.poll", "m.text"), ("org.matrix.msc3381.poll.start", "org.matrix.msc1767.text"))
"""The key of the poll in the content, and the key of the texts in the poll."""
_MAX_OPTIONS: Final = 20
"""The most options of a poll; clients have to ignore further ones (MSC3381)."""
_MAX_CHARS: Final = 1000


def poll_event_text(content: Event) -> str | None:
    """Return the question and the options, one per line; without a poll the event's fallback text, or None."""
    for key, text_key in _FORMS:
        poll = inner(content, key)
        if question := one_line(_text(inner(poll, "question"), text_key), _MAX_CHARS):
            return "\n".join([question, *_options(poll, text_key)])
    fallbacks = (_text(content, text_key).strip() for _, text_key in _FORMS)
    return next(filter(None, fallbacks), None)


def read_poll(content: Event) -> Poll | None:
    """Return the poll that an event starts; None if it has no question, or no options with different ids."""
    for key, text_key in _FORMS:
        poll = inner(content, key)
        question = one_line(_text(inner(poll, "question"), text_key), _MAX_CHARS)
        options = _read_options(poll, text_key)
        if question and options:
            most = poll.get("max_selections")
            return Poll(
                question,
                options,
                # A client that does not know the kind assumes an undisclosed poll (MSC3381).
                PollKind.DISCLOSED if _is_disclosed(poll.get("kind")) else PollKind.UNDISCLOSED,
                min(most, len(options)) if type(most) is int and most >= 1 else 1,
                is_stable=key == "m.poll",
            )
    return None


def read_selections(content: Event) -> tuple[str, ...]:
    """Return the ids of the options that a vote selects; none if it is spoiled, as by ids that no option can have."""
    selections = content.get("m.selections")
    if not isinstance(selections, list):
        selections = inner(content, _RESPONSE).get("answers")
    if not isinstance(selections, list) or not all(map(_is_id, selections[: _MAX_OPTIONS + 1])):
        return ()
    found = tuple(dict.fromkeys(map(storable, selections[: _MAX_OPTIONS + 1])))
    return found if len(selections) <= _MAX_OPTIONS else ()


def _is_disclosed(kind: Any) -> bool:
    return isinstance(kind, str) and kind in _DISCLOSED


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_ID_CHARS


def _read_options(poll: Event, text_key: str) -> tuple[PollOption, ...]:
    answers = poll.get("answers")
    found: dict[str, PollOption] = {}
    for answer in answers[:_MAX_OPTIONS] if isinstance(answers, list) else []:
        if not isinstance(answer, dict):
            continue
        option_id = answer.get("m.id") or answer.get("id")
        words = one_line(_text(answer, text_key), _MAX_CHARS)
        if isinstance(option_id, str) and _is_id(option_id) and words:
            found.setdefault(storable(option_id), PollOption(storable(option_id), words))
    return tuple(found.values())


def _options(poll: Event, text_key: str) -> list[str]:
    answers = poll.get("answers")
    options = [each for each in answers if isinstance(each, dict)] if isinstance(answers, list) else []
    return [
        f"{number}. {one_line(_text(option, text_key), _MAX_CHARS)}"
        for number, option in enumerate(options[:_MAX_OPTIONS], start=1)
    ]


def _text(content: Event, text_key: str) -> str:
    """Return the plain text of extensible content (MSC1767), a string or a list of representations, or its ``body``."""
    return storable(plain_text(content.get(text_key)) or text(content, "body"))
