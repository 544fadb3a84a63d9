"""What a message says, as the content of an event and as the city has it (client-server API, "m.room.message msgtypes")."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

from ...city.event_fields import EDIT_ID, MESSAGE_ID, POLLS, REACTION_ID, Event, inner, optional_text
from ...city.file_types import tidy_type
from ...city.identity import Identities, is_user_id
from ...city.markup import without_reply_fallback
from ...city.media import is_mxc, tidy_filename
from ...city.parsing_threads import html_of, names_in
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
_MAX_PLACE: Final = 100
_MAX_EXCERPT: Final = 250


# --- from Matrix ---------------------------------------------------------------------------------------


def read_message_content(event_type: str, content: Event, identities: Identities) -> Content | None:
    """Read the content of an event of one of the types `MESSAGES`; None when it holds nothing to show."""
    if event_type == "m.sticker":
        return _read_sticker(content)
    return _read_poll(content, identities) if event_type in POLLS else _read_message(content, identities)


def _read_message(content: Event, identities: Identities) -> Content | None:
    body, msgtype = optional_text(content, "body"), optional_text(content, "msgtype")
    if body is None or msgtype is None or msgtype.startswith("m.key.verification."):
        return None
    media = _read_media(content, body) if msgtype in _MEDIA else None
    is_shown_as_it_is = msgtype in _TEXTS or media is not None
    said, html = without_reply_fallback(body) if "m.relates_to" in content else body, _read_html(content)
    if msgtype in _MEDIA and optional_text(content, "filename") in {None, body}:
        said = without_turning(said)  # the file's name
    return Content(
        said,
        html,
        # Of kinds that nobody here knows the body says it, as the specification wants.
        msgtype if is_shown_as_it_is else "m.text",
        media,
        _read_mentions(content, said, html, identities),
    )


def with_place(said: Content, content: Event) -> Content:
    """What a location says together with its coordinates (RFC 5870), which clients show on a map."""
    place = optional_text(content, "geo_uri") if optional_text(content, "msgtype") == "m.location" else None
    return replace(said, body=f"{said.body} ({place[:_MAX_PLACE]})") if place and place not in said.body else said


def msgtype_of_file(content: Event) -> str | None:
    """Of which kind a file is, be it one that cannot be fetched; None for a message without one."""
    msgtype = optional_text(content, "msgtype")
    return msgtype if msgtype in _MEDIA else None


def _read_poll(content: Event, identities: Identities) -> Content | None:
    body = poll_text(content)
    return Content(body, mentions=_read_mentions(content, body, None, identities)) if body else None


def _read_sticker(content: Event) -> Content | None:
    """A sticker is a picture."""
    body = optional_text(content, "body")
    media = _read_media(content, body) if body is not None else None
    if body is None or not (media or body.strip()):
        return None
    # Of one that cannot be fetched the name is left.
    return Content(without_turning(body), msgtype="m.image" if media else "m.text", media=media)


def shortcode_of(content: Event) -> str | None:
    """What the picture of a reaction is called (MSC4027); None for any other reaction."""
    if not is_mxc(optional_text(inner(content, "m.relates_to"), "key") or ""):
        return None
    named = (optional_text(content, each) for each in _SHORTCODES)
    return one_line(next(filter(None, named), ""), _MAX_SHORTCODE_CHARS) or None


def replied_to(content: Event) -> EventId | None:
    relation = inner(content, "m.relates_to")
    if relation.get("rel_type") == "m.thread" and relation.get("is_falling_back") is True:
        # The city has no threads: what is said in one answers what it began with.
        event = optional_text(relation, "event_id")
    else:
        event = optional_text(inner(relation, "m.in_reply_to"), "event_id")
    return EventId(event) if event else None


def replaced(content: Event) -> EventId | None:
    """The event that this one is an edit of."""
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
        else _written(body, html or "", identities)
    )
    if not isinstance(users, list):
        return ()
    subjects = (
        identities.subject(UserId(user)) for user in users[:_MAX_MENTIONS] if isinstance(user, str) and is_user_id(user)
    )
    return tuple(dict.fromkeys(subject for subject in subjects if subject))


def _written(body: str, html: str, identities: Identities) -> list[str]:
    """Of ours whom the text names: a client of before spec 1.7 says by nothing else whom it means."""
    names = [f"@{name}" for name in names_in(body)]
    links = [unquote(link) for link in _LINK.findall(html)]
    return [user for user in (*links, *names) if is_user_id(user) and identities.is_ours(UserId(user))]


def _read_media(content: Event, body: str) -> Media | None:
    """None for what cannot be fetched: no address, or one of an encrypted file."""
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
    message: Message, answered: Message | None, identities: Identities, *, is_private: bool = False
) -> dict[str, Any]:
    """The content of the event that ``message`` becomes.

    Args:
        answered: what it replies to.
        is_private: it is said to one person alone, in a direct chat: there each message is for them, so it replies to nothing and
            mentions nobody. Clients would sound an alarm for each.
    """
    content = _said(message, _meant(message, answered, is_private=is_private), identities) | {MESSAGE_ID: message.id}
    if answered is not None and answered.matrix_event_id is not None and not is_private:
        content["m.relates_to"] = {"m.in_reply_to": {"event_id": answered.matrix_event_id}}
    return content


def edit_content(
    message: Message,
    answered: Message | None,
    original: EventId,
    identities: Identities,
    *,
    edit_id: str,
    told: Collection[SubjectId],
    is_private: bool = False,
) -> dict[str, Any]:
    """The content of the event that tells of an edit; clients that know no edits show its body.

    Args:
        told: who was mentioned before this edit. Only others are mentioned by its event (MSC3952, "Editing"), so that nobody is
            told twice; its new content mentions all.
    """
    # Not the whole of it: an event has no room for the longest message twice.
    excerpt = message.body if len(message.body) <= _MAX_EXCERPT else message.body[:_MAX_EXCERPT] + "…"
    meant = _meant(message, answered, is_private=is_private)
    known = {*told, *([answered.author.subject] if answered else [])}
    return {
        "msgtype": "m.text",
        "body": f"* {excerpt}",
        "m.mentions": _mentions([subject for subject in meant if subject not in known], identities),
        "m.new_content": _said(message, meant, identities),
        "m.relates_to": {"rel_type": "m.replace", "event_id": original},
        MESSAGE_ID: message.id,
        EDIT_ID: edit_id,
    }


def _meant(message: Message, answered: Message | None, *, is_private: bool) -> list[SubjectId]:
    """Whom a message mentions: those whom it names, and who is answered, as the specification wants."""
    if is_private:
        return []
    is_reply = answered is not None and answered.matrix_event_id is not None
    return list(dict.fromkeys([*message.mentions, *([answered.author.subject] if answered and is_reply else [])]))


def reaction_content(original: EventId, reaction: Reaction) -> dict[str, Any]:
    content: dict[str, Any] = {
        "m.relates_to": {"rel_type": "m.annotation", "event_id": original, "key": reaction.matrix_key or reaction.key},
        REACTION_ID: reaction.id,
    }
    return content | (dict.fromkeys(_SHORTCODES, reaction.shortcode) if reaction.shortcode else {})


def _said(message: Message, meant: list[SubjectId], identities: Identities) -> dict[str, Any]:
    content: dict[str, Any] = {
        "msgtype": message.msgtype,
        "body": message.body,
        "m.mentions": _mentions(meant, identities),
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
