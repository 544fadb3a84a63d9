"""Conversion of Matrix event content to the content of the city's messages (client-server API, "m.room.message")."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape
from typing import Any, Final
from urllib.parse import unquote

from ...city.background_parsing import html_of, names_in, text_in
from ...city.event_fields import ENCRYPTED_FILE, POLLS, Event, fallback_text, inner, optional_text, text
from ...city.file_types import normalize_type
from ...city.identity import Identities, is_user_id
from ...city.media import is_mxc, sanitize_filename
from ...city.message_kinds import Details, Location, parse_geo_uri
from ...city.reply_fallback import strip_reply_fallback
from ...city.text_sanitizing import one_line, strip_bidi_controls
from ...city.types import Content, EventId, Media, SubjectId, UserId
from .polls import poll_event_text, read_poll

_LINK: Final = re.compile(r"""https://matrix\.to/#/((?:@|%40)[^"'?<>\s]{1,768})""")
HTML_FORMAT: Final = "org.matrix.custom.html"
_TEXTS: Final = frozenset({"m.text", "m.notice", "m.emote"})
_MEDIA: Final = frozenset({"m.image", "m.file", "m.audio", "m.video"})
_KNOWN: Final = _TEXTS | _MEDIA | {"m.location", "m.server_notice"}
_VERIFICATION: Final = "m.key.verification."
_MAX_MENTIONS: Final = 50
SHORTCODE_KEYS: Final = ("shortcode", "com.beeper.reaction.shortcode")
"""The keys of a reaction's shortcode (MSC4027): the proposed one and the one in use."""
_MAX_SHORTCODE_CHARS: Final = 64
_MAX_SIZE: Final = 1 << 53
_MAX_ID_CHARS: Final = 255
_MAX_LOCATION_CHARS: Final = 100
_LOCATIONS: Final = ("m.location", "org.matrix.msc3488.location")
_AUDIO: Final = ("m.audio", "org.matrix.msc1767.audio")
_VOICES: Final = ("m.voice", "org.matrix.msc3245.voice", "org.matrix.msc2516.voice")
_MAX_WAVEFORM: Final = 256
_MAX_LOUDNESS: Final = 1024


def read_message_content(event_type: str, content: Event, identities: Identities) -> Content | None:
    """Convert the content of an event that is a message (`is_message`); return None if it has nothing to display."""
    if event_type == "m.sticker":
        return _read_sticker(content)
    if event_type in POLLS:
        return _read_poll(content, identities)
    msgtype = optional_text(content, "msgtype")
    has_text = optional_text(content, "body") is not None or _read_html(content) is not None
    if event_type != "m.room.message" or msgtype is None or not has_text:
        return _read_unknown(msgtype or event_type, content, identities)
    return _read_message(content, identities)


def _read_unknown(original_type: str, content: Event, identities: Identities) -> Content | None:
    """Convert content of a kind that the city does not know to its fallback text."""
    body = fallback_text(content)
    if body is None or original_type.startswith(_VERIFICATION):
        return None
    mentions = _read_mentions(content, body, None, identities)
    return Content(body, mentions=mentions, details=Details(original_type=one_line(original_type)))


def _read_message(content: Event, identities: Identities) -> Content | None:
    body, msgtype = text(content, "body"), text(content, "msgtype")
    if msgtype.startswith(_VERIFICATION):
        return None
    media = _read_media(content, body) if msgtype in _MEDIA else None
    if media is not None and msgtype == "m.audio":
        media = _with_voice(media, content)
    location = _read_location(content) if msgtype == "m.location" else None
    is_supported = msgtype in _TEXTS or media is not None or location is not None
    shown, html = _read_text(content) if msgtype not in _MEDIA else _read_caption(content, media)
    return Content(
        shown,
        html,
        # An unknown msgtype is displayed by its body, as the specification requires.
        msgtype if is_supported else "m.text",
        media,
        _read_mentions(content, shown, html, identities),
        Details(
            location=location,
            original_type=None if msgtype in _KNOWN else one_line(msgtype),
            mentions_room=_mentions_room(content, shown),
        ),
    )


def _read_text(content: Event) -> tuple[str, str | None]:
    """Return the text of a message and its HTML; a message without plain text has that of its HTML."""
    body, html = text(content, "body"), _read_html(content)
    shown = strip_reply_fallback(body) if "m.relates_to" in content else body
    return text_in(html) if html and not shown.strip() else shown, html


def _read_caption(content: Event, media: Media | None) -> tuple[str, str | None]:
    """Return the text of a file and its HTML: the caption, or the file name without one (MSC2530).

    A file that cannot be downloaded is named in the text, above its caption.
    """
    body, name = text(content, "body"), optional_text(content, "filename")
    shown, html = _read_text(content)
    if name is None or name == body:
        return (strip_bidi_controls(shown), None) if body.strip() else (shown, html)
    name = sanitize_filename(name, normalize_type(optional_text(inner(content, "info"), "mimetype") or ""))
    if media is not None:
        return shown, html
    return "\n".join(filter(None, (name, shown))), html and f"<p>{escape(name)}</p>{html}"


def _read_location(content: Event) -> Location | None:
    """Read the place of an ``m.location`` (MSC3488 puts it into a block of its own, too); None if it is not valid."""
    for key in _LOCATIONS:
        block = inner(content, key)
        uri = optional_text(block, "uri")
        if uri and (location := parse_geo_uri(uri, description=one_line(text(block, "description")) or None)):
            return location
    return parse_geo_uri(text(content, "geo_uri"))


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
    body = poll_event_text(content)
    if not body:
        return None
    return Content(
        body, mentions=_read_mentions(content, body, None, identities), details=Details(poll=read_poll(content))
    )


def _read_sticker(content: Event) -> Content | None:
    """Convert a sticker to a picture."""
    body = optional_text(content, "body")
    media = _read_media(content, body) if body is not None else None
    if body is None or not (media or body.strip()):
        return None
    # A sticker that cannot be downloaded becomes a text message with its name.
    if media is None:
        return Content(strip_bidi_controls(body))
    return Content(strip_bidi_controls(body), msgtype="m.image", media=replace(media, is_sticker=True))


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


def _mentions_room(content: Event, body: str) -> bool:
    """Return whether a message mentions all members, if its sender may: by its field, or by name before spec 1.7."""
    if "m.mentions" in content:
        return inner(content, "m.mentions").get("room") is True
    return "@room" in body and "room" in names_in(body)


def _named_users(body: str, html: str, identities: Identities) -> list[str]:
    """Return the service's users that the text names: clients from before spec 1.7 send no ``m.mentions``."""
    names = [f"@{name.lower()}" for name in names_in(body)]
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
        encrypted_file=optional_text(content, ENCRYPTED_FILE),
    )


def _with_voice(media: Media, content: Event) -> Media:
    """Add what an audio file has besides its ``info``: whether it is a voice message, duration and waveform."""
    block = next((inner(content, key) for key in _AUDIO if isinstance(content.get(key), dict)), {})
    duration = _number(block, "duration")
    return replace(
        media,
        is_voice=any(isinstance(content.get(key), dict) for key in _VOICES),
        duration_ms=media.duration_ms if duration is None else duration,
        waveform=_read_waveform(block.get("waveform")),
    )


def _read_waveform(values: Any) -> tuple[int, ...]:
    """Return a waveform of at most 256 loudness values of 0 to 1024, longer ones with fewer; none if it is not valid."""
    if not isinstance(values, list) or not all(type(each) is int for each in values):
        return ()
    count = min(len(values), _MAX_WAVEFORM)
    picked = (values[index * len(values) // count] for index in range(count))
    return tuple(min(max(each, 0), _MAX_LOUDNESS) for each in picked)


def _number(info: Event, key: str) -> int | None:
    value = info.get(key)
    return value if type(value) is int and 0 <= value < _MAX_SIZE else None
