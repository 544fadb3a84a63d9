"""Conversion between Matrix event content and the city's messages (client-server API, "m.room.message msgtypes")."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

from ...city.event_fields import EDIT_ID, MESSAGE_ID, POLLS, REACTION_ID, Event, inner, optional_text
from ...city.file_types import tidy_type
from ...city.identity import Identities, is_user_id
from ...city.media import is_mxc, tidy_filename
from ...city.parsing_threads import html_of, names_in
from ...city.reply_fallback import strip_reply_fallback
from ...city.text_sanitizing import one_line, without_turning
from ...city.types import Content, EventId, Media, Message, Reaction, SubjectId, UserId
from .polls import poll_text

_LINK: Final = re.compile(r"""https://matrix\.to/#/((?:@|%40)[^"'?<>\s]{1,768})""")
_HTML: Final = "org.matrix.custom.html"
_TEXTS: Final = frozenset({"m.text", "m.notice", "m.emote"})
_MEDIA: Final = frozenset({"m.image", "m.file", "m.audio", "m.video"})
_MAX_MENTIONS: Final = 50
_SHORTCODES: Final = ("shortcode", "com.beeper.reaction.shortcode")
_MAX_SHORTCODE_CHARS: Final = 64
_MAX_SIZE: Final = 1 << 53
_MAX_LOCATION_CHARS: Final = 100
_MAX_EXCERPT_CHARS: Final = 250


# --- from Matrix ---------------------------------------------------------------------------------------


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
        text = without_turning(text)  # The body is the file name.
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
    return Content(without_turning(body), msgtype="m.image" if media else "m.text", media=media)


def shortcode_of(content: Event) -> str | None:
    """Return the shortcode of a reaction with a picture (MSC4027), or None for any other reaction."""
    if not is_mxc(optional_text(inner(content, "m.relates_to"), "key") or ""):
        return None
    named = (optional_text(content, each) for each in _SHORTCODES)
    return one_line(next(filter(None, named), ""), _MAX_SHORTCODE_CHARS) or None


def replied_to(content: Event) -> EventId | None:
    """Return the event that this one replies to; for an event in a thread without a reply, the root of the thread."""
    relation = inner(content, "m.relates_to")
    if relation.get("rel_type") == "m.thread" and relation.get("is_falling_back") is True:
        # The city has no threads: a message in a thread counts as a reply to the thread's root.
        event = optional_text(relation, "event_id")
    else:
        event = optional_text(inner(relation, "m.in_reply_to"), "event_id")
    return EventId(event) if event else None


def replaced(content: Event) -> EventId | None:
    """Return the event that this one edits (``m.replace``), or None if it is no edit."""
    relation = inner(content, "m.relates_to")
    event = optional_text(relation, "event_id")
    return EventId(event) if relation.get("rel_type") == "m.replace" and event else None


def _read_html(content: Event) -> str | None:
    html = optional_text(content, "formatted_body") if content.get("format") == _HTML else None
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
    mimetype = tidy_type(optional_text(info, "mimetype") or "")
    return Media(
        mxc=mxc,
        mimetype=mimetype,
        filename=tidy_filename(optional_text(content, "filename") or body, mimetype),
        size=_number(info, "size"),
        width=_number(info, "w"),
        height=_number(info, "h"),
        duration_ms=_number(info, "duration"),
        thumbnail_mxc=thumbnail if thumbnail and is_mxc(thumbnail) else None,
    )


def _number(info: Event, key: str) -> int | None:
    value = info.get(key)
    return value if type(value) is int and 0 <= value < _MAX_SIZE else None


# --- to Matrix ------------------------------------------------------------------------------------------


def message_content(
    message: Message, reply_target: Message | None, identities: Identities, *, is_private: bool = False
) -> dict[str, Any]:
    """Return the content of the Matrix event for a message.

    Args:
        reply_target: the message that it replies to.
        is_private: the message belongs to a direct chat with one person alone. Every message there is for that person,
            so the content has no reply and no mentions, for each of which clients would notify.
    """
    content = _content(message, _mentioned_subjects(message, reply_target, is_private=is_private), identities) | {
        MESSAGE_ID: message.id
    }
    if reply_target is not None and reply_target.matrix_event_id is not None and not is_private:
        content["m.relates_to"] = {"m.in_reply_to": {"event_id": reply_target.matrix_event_id}}
    return content


def edit_content(
    message: Message,
    reply_target: Message | None,
    original: EventId,
    identities: Identities,
    *,
    edit_id: str,
    mentioned_before: Collection[SubjectId],
    is_private: bool = False,
) -> dict[str, Any]:
    """Return the content of the Matrix event for an edit; clients without support for edits show its body.

    Args:
        message: the message with its new content.
        reply_target: the message that it replies to.
        original: the event of the message.
        edit_id: the id of the revision, by which the city recognizes its own event.
        mentioned_before: the subjects mentioned before this edit. The event mentions only others, so that no user is
            notified twice, and its ``m.new_content`` mentions all (MSC3952, "Editing").
        is_private: as for ``message_content``.
    """
    # The fallback is an excerpt: an event cannot contain the longest message twice.
    excerpt = message.body if len(message.body) <= _MAX_EXCERPT_CHARS else message.body[:_MAX_EXCERPT_CHARS] + "…"
    mentioned = _mentioned_subjects(message, reply_target, is_private=is_private)
    notified = {*mentioned_before, *([reply_target.author.subject] if reply_target else [])}
    return {
        "msgtype": "m.text",
        "body": f"* {excerpt}",
        "m.mentions": _mentions([subject for subject in mentioned if subject not in notified], identities),
        "m.new_content": _content(message, mentioned, identities),
        "m.relates_to": {"rel_type": "m.replace", "event_id": original},
        MESSAGE_ID: message.id,
        EDIT_ID: edit_id,
    }


def _mentioned_subjects(message: Message, reply_target: Message | None, *, is_private: bool) -> list[SubjectId]:
    """Return the subjects that a message mentions: the named ones and, as specified, the author that it replies to."""
    if is_private:
        return []
    is_reply = reply_target is not None and reply_target.matrix_event_id is not None
    return list(
        dict.fromkeys([*message.mentions, *([reply_target.author.subject] if reply_target and is_reply else [])])
    )


def reaction_content(original: EventId, reaction: Reaction) -> dict[str, Any]:
    """Return the content of the Matrix event for a reaction to the event ``original``."""
    content: dict[str, Any] = {
        "m.relates_to": {"rel_type": "m.annotation", "event_id": original, "key": reaction.matrix_key or reaction.key},
        REACTION_ID: reaction.id,
    }
    return content | (dict.fromkeys(_SHORTCODES, reaction.shortcode) if reaction.shortcode else {})


def _content(message: Message, mentioned: list[SubjectId], identities: Identities) -> dict[str, Any]:
    content: dict[str, Any] = {
        "msgtype": message.msgtype,
        "body": message.body,
        "m.mentions": _mentions(mentioned, identities),
    }
    if message.formatted_body is not None:
        content |= {"format": _HTML, "formatted_body": message.formatted_body}
    if message.media is not None:
        content |= _media(message.media)
    return content


def _mentions(subjects: list[SubjectId], identities: Identities) -> dict[str, Any]:
    return {"user_ids": [identities.user(subject) for subject in subjects]} if subjects else {}


def _media(media: Media) -> dict[str, Any]:
    info = {
        "mimetype": media.mimetype,
        "size": media.size,
        "w": media.width,
        "h": media.height,
        "duration": media.duration_ms,
        "thumbnail_url": media.thumbnail_mxc,
    }
    return {
        "url": media.mxc,
        "filename": media.filename,
        "info": {key: value for key, value in info.items() if value is not None},
    }
