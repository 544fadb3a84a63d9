"""Content of the Matrix events for messages, edits and reactions (client-server API, "m.room.message", "m.reaction")."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from ...city.event_fields import EDIT_ID, MESSAGE_ID, REACTION_ID
from ...city.identity import Identities
from ...city.types import EventId, Media, Message, Reaction, SubjectId
from ..client.message_content import HTML_FORMAT, SHORTCODE_KEYS

_MAX_EXCERPT_CHARS: Final = 250


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
    return content | (dict.fromkeys(SHORTCODE_KEYS, reaction.shortcode) if reaction.shortcode else {})


def _content(message: Message, mentioned: list[SubjectId], identities: Identities) -> dict[str, Any]:
    content: dict[str, Any] = {
        "msgtype": message.msgtype,
        "body": message.body,
        "m.mentions": _mentions(mentioned, identities),
    }
    if message.formatted_body is not None:
        content |= {"format": HTML_FORMAT, "formatted_body": message.formatted_body}
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
