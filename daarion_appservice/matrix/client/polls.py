"""Polls (MSC3381) as text: the question and its numbered options, as clients without poll support show them.

Clients send the unstable form, with texts under ``org.matrix.msc1767.text``; the stable one has lists under ``m.text``.
"""

from __future__ import annotations

from typing import Any, Final

from ...city.event_fields import Event, inner
from ...city.text_sanitizing import one_line, storable

_FORMS: Final = (("m.poll", "m.text"), ("org.matrix.msc3381.poll.start", "org.matrix.msc1767.text"))
"""The key of the poll in the content, and the key of the texts in the poll."""
_MAX_OPTIONS: Final = 20
"""The most options of a poll; clients have to ignore further ones (MSC3381)."""
_MAX_CHARS: Final = 1000


def poll_text(content: Event) -> str | None:
    """Return the question and the options, one per line; without a poll the event's fallback text, or None."""
    for key, text_key in _FORMS:
        poll = inner(content, key)
        if question := one_line(_text(inner(poll, "question"), text_key), _MAX_CHARS):
            return "\n".join([question, *_options(poll, text_key)])
    fallbacks = (_text(content, text_key).strip() for _, text_key in _FORMS)
    return next(filter(None, fallbacks), None)


def _options(poll: Event, text_key: str) -> list[str]:
    answers = poll.get("answers")
    options = [each for each in answers if isinstance(each, dict)] if isinstance(answers, list) else []
    return [
        f"{number}. {one_line(_text(option, text_key), _MAX_CHARS)}"
        for number, option in enumerate(options[:_MAX_OPTIONS], start=1)
    ]


def _text(content: Event, text_key: str) -> str:
    """Return the plain text of extensible content (MSC1767), a string or a list of representations, or its ``body``."""
    value: Any = content.get(text_key)
    if isinstance(value, list):
        value = next((each.get("body") for each in value if _is_plain(each)), None)
    value = value if isinstance(value, str) else content.get("body")
    return storable(value) if isinstance(value, str) else ""


def _is_plain(representation: Any) -> bool:
    return isinstance(representation, dict) and representation.get("mimetype", "text/plain") == "text/plain"
