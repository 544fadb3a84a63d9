"""Conversion of Matrix event content to the content of the city's messages (client-server API, "m.room.message")."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from ...city.event_fields import POLLS, Event, inner, optional_text
from ...city.file_types import normalize_type
from ...city.identity import Identities, is_user_id
from ...city.media import is_mxc, sanitize_filename
from ...city.parsing_threads import html_of, names_in
from ...city.reply_fallback import strip_reply_fallback
from ...city.text_sanitizing import one_line, strip_bidi_controls
from ...city.types import Content, EventId, Media, SubjectId, UserId
from .polls import poll_text

_LINK: Final = re.compile(r"""https://matrix\.to/#/((?:@|%40)[^"'?<>\s]{1,768})""")
HTML_FORMAT: Final = "org.matrix.custom.html"
_TEXTS: Final = frozenset({"m.text", "m.notice", "m.emote"})
_MEDIA: Final = frozenset({"m.image", "m.file", "m.audio", "m.video"})
_MAX_MENTIONS: Final = 50
SHORTCODE_KEYS: Final = ("shortcode", "com.beeper.reaction.shortcode")
"""The keys of a reaction's shortcode (MSC4027): the proposed one and the one in use."""
_MAX_SHORTCODE_CHARS: Final = 64
_MAX_SIZE: Final = 1 << 53
_MAX_ID_CHARS: Final = 255
_MAX_LOCATION_CHARS: Final = 100


def read_message_content(event_type: str, content: Event, identities: Identities) -> Content | None:
    """Convert the content of an event of one of the types `MESSAGES`; return None if it has nothing to display."""
    if event_type == "m.sticker":
        return _read_sticker(content)
    return _read_poll(content, identities) if event_type in POLLS else _read_message(content, identities)


def _read_message(content: Event, identities: Identities) -> Content | None:
    body, msgtype = optional_text(content, "body"), optional_text(content, "msgtype")
    if body is None or msgtype is None or msgtype.startswith("m.key.verification."):
        return None
    media = _read_media(content, body) if msgtype in _MEDIA else None
    is_supported = msgtype in _TEXTS or media is not None
    text, html = strip_reply_fallback(body) if "m.relates_to" in content else body, _read_html(content)
    if msgtype in _MEDIA and optional_text(content, "filename") in {None, body}:
        text = strip_bidi_controls(text)  # The body is the file name.
    return Content(
        text,
        html,
        # An unknown msgtype is displayed by its body, as the specification requires.
        msgtype if is_supported else "m.text",
        media,
        _read_mentions(content, text, html, identities),
    )


def with_location(message: Content, content: Event) -> Content:
    """Append the coordinates of a location (``geo:`` URI, RFC 5870), which clients show on a map, to its text."""
    location = optional_text(content, "geo_uri") if optional_text(content, "msgtype") == "m.location" else None
    return (
        replace(message, body=f"{message.body} ({location[:_MAX_LOCATION_CHARS]})")
        if location and location not in message.body
        else message
    )


def msgtype_of_file(content: Event) -> str | None:
    """Return the msgtype of a file, even one that cannot be downloaded; None for a message without a file."""
    msgtype = optional_text(content, "msgtype")
    return msgtype if msgtype in _MEDIA else None


def _read_poll(content: Event, identities: Identities) -> Content | None:
    body = poll_text(content)
    return Content(body, mentions=_read_mentions(content, body, None, identities)) if body else None


def _read_sticker(content: Event) -> Content | None:
    """Convert a sticker to a picture."""
    body = optional_text(content, "body")
    media = _read_media(content, body) if body is not None else None
    if body is None or not (media or body.strip()):
        return None
    # A sticker that cannot be downloaded becomes a text message with its name.
    return Content(strip_bidi_controls(body), msgtype="m.image" if media else "m.text", media=media)


def shortcode_of(content: Event) -> str | None:
    """Return the shortcode of a reaction with a picture (MSC4027), or None for any other reaction."""
    if not is_mxc(optional_text(inner(content, "m.relates_to"), "key") or ""):
        return None
    named = (optional_text(content, each) for each in SHORTCODE_KEYS)
    return one_line(next(filter(None, named), ""), _MAX_SHORTCODE_CHARS) or None


def replied_to(content: Event) -> EventId | None:
    """Return the event that this one replies to.

    In a thread, a reply that is only the fallback for clients without threads is none (client-server API, "Fallback for
    unthreaded clients").
    """
    relation = inner(content, "m.relates_to")
    if relation.get("rel_type") == "m.thread" and relation.get("is_falling_back") is True:
        return None
    event = optional_text(inner(relation, "m.in_reply_to"), "event_id")
    return EventId(event) if event else None


def thread_root_of(content: Event) -> EventId | None:
    """Return the root of the thread that this event belongs to (``m.thread``), or None if it belongs to none."""
    relation = inner(content, "m.relates_to")
    event = optional_text(relation, "event_id")
    is_in_thread = relation.get("rel_type") == "m.thread" and event is not None and len(event) <= _MAX_ID_CHARS
    return EventId(event) if event and is_in_thread else None


def replaced(content: Event) -> EventId | None:
    """Return the event that this one edits (``m.replace``), or None if it is no edit."""
    relation = inner(content, "m.relates_to")
    event = optional_text(relation, "event_id")
    return EventId(event) if relation.get("rel_type") == "m.replace" and event else None


def _read_html(content: Event) -> str | None:
    html = optional_text(content, "formatted_body") if content.get("format") == HTML_FORMAT else None
    return html_of(html) if html else None


def _read_mentions(content: Event, body: str, html: str | None, identities: Identities) -> tuple[SubjectId, ...]:
    users = (
        inner(content, "m.mentions").get("user_ids")
        if "m.mentions" in content
        else _named_users(body, html or "", identities)
    )
    if not isinstance(users, list):
        return ()
    subjects = (
        identities.subject(UserId(user)) for user in users[:_MAX_MENTIONS] if isinstance(user, str) and is_user_id(user)
    )
    return tuple(dict.fromkeys(subject for subject in subjects if subject))


def _named_users(body: str, html: str, identities: Identities) -> list[str]:
    """Return the service's users that the text names: clients from before spec 1.7 send no ``m.mentions``."""
    names = [f"@{name}" for name in names_in(body)]
    links = [unquote(link) for link in _LINK.findall(html)]
    return [user for user in (*links, *names) if is_user_id(user) and identities.is_ours(UserId(user))]


def _read_media(content: Event, body: str) -> Media | None:
    """Read the description of a file; None if it cannot be downloaded: it has no ``mxc://`` URI or is encrypted."""
    mxc, info = optional_text(content, "url"), inner(content, "info")
    if mxc is None or not is_mxc(mxc):
        return None
    thumbnail = optional_text(info, "thumbnail_url")
    mimetype = normalize_type(optional_text(info, "mimetype") or "")
    return Media(
        mxc=mxc,
        mimetype=mimetype,
        filename=sanitize_filename(optional_text(content, "filename") or body, mimetype),
        size=_number(info, "size"),
        width=_number(info, "w"),
        height=_number(info, "h"),
        duration_ms=_number(info, "duration"),
        thumbnail_mxc=thumbnail if thumbnail and is_mxc(thumbnail) else None,
    )


def _number(info: Event, key: str) -> int | None:
    value = info.get(key)
    return value if type(value) is int and 0 <= value < _MAX_SIZE else None
