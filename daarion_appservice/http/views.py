"""The JSON representations of agents, rooms, messages and media."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from ..city.citizen_pairs import is_chat_id
from ..city.delivery_errors import DeliveryError
from ..city.history_visibility import (
    PUBLIC,
    ReadableRanges,
    is_listed,
    is_readable_by_all,
    may_see_activity,
    room_as_seen,
)
from ..city.identity import Identities
from ..city.message_kinds import Location, Poll, PollKind, PollResults
from ..city.presence import PresenceState
from ..city.receipts import NamedReceipt
from ..city.types import Author, EventId, Media, Message, ReactionCount, Room, SubjectId, ThreadSummary, UserId
from . import schemas
from .media_urls import MediaUrls

JSON = dict[str, Any]


def timestamp(ms: int) -> str:
    """Return a time in milliseconds since 1970 as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def optional_timestamp(ms: int | None) -> str | None:
    return None if ms is None else timestamp(ms)


def presence_fields(state: PresenceState, now_ms: int) -> schemas.PresenceFields:
    return {
        "presence": state.status,
        "last_active_ago_ms": None if state.last_active_ms is None else max(0, now_ms - state.last_active_ms),
        "status_msg": state.status_msg,
    }


def user_presence(user: UserId, state: PresenceState, now_ms: int) -> schemas.MatrixPresence:
    return {"user_id": user, **presence_fields(state, now_ms)}


def room_view(room: Room, members_online: int, identities: Identities) -> schemas.Room:
    return {
        "id": room.id,
        "slug": room.slug,
        "name": room.shown_name,
        "description": room.description,
        "avatar_url": MediaUrls(identities.media_links, is_private=not is_listed(room)).url(room.avatar_url),
        "members_online": members_online,
        "last_event": optional_timestamp(room.last_event_ms),
        "last_seq": room.last_seq,
        "matrix_room_id": room.matrix_room_id,
        "matrix_room_alias": identities.room_alias(room.slug),
        "matrix_status": room.matrix_status,
        "matrix_error": room.matrix_error,
        "encrypted": room.encrypted,
        "history_visibility": room.history_visibility,
        "is_public": is_readable_by_all(room),
        "is_default": room.is_default,
        "archived": room.archived,
        "created_at": timestamp(room.created_at_ms),
        "pins": len(pinned_events(room)),
    }


def pinned_events(room: Room) -> list[EventId]:
    """Return the pinned events of a room, the oldest pin first."""
    return [EventId(each) for each in orjson.loads(room.pinned_events or "[]")]


def seen_room_view(
    room: Room, members_online: int, identities: Identities, readable: ReadableRanges, *, is_admin: bool = False
) -> schemas.Room:
    """Return a room as a reader with these ranges sees it: see ``history_visibility.room_as_seen``."""
    seen = room_as_seen(room, readable, is_admin=is_admin)
    return room_view(seen, members_online if is_admin or may_see_activity(room, readable) else 0, identities)


def author_view(author: Author, identities: Identities) -> schemas.Author:
    author = identities.accounts.shown(author)
    return {
        "kind": author.kind,
        "id": author.id,
        "display_name": author.display_name,
        "matrix_user_id": identities.author(author),
        "avatar_url": MediaUrls(identities.media_links).url(author.avatar_url),
    }


def receipt_view(named: NamedReceipt, identities: Identities) -> schemas.Receipt:
    receipt = named.receipt
    return {
        "user_id": identities.accounts.canonical_subject(receipt.key.reader),
        "reader": author_view(identities.accounts.with_profile(named.reader), identities),
        "message_id": receipt.position.message_id,
        "thread_root": receipt.key.thread_root,
        "read_at": timestamp(receipt.position.at_ms),
    }


def message_view(message: Message, identities: Identities) -> schemas.Message:
    is_private = is_chat_id(message.room_id) or not PUBLIC.may_read_message(message)
    urls = MediaUrls(identities.media_links, is_private=is_private)
    return {
        "id": message.id,
        "room_id": message.room_id,
        "seq": message.seq,
        "author": author_view(message.author, identities),
        "body": message.body,
        "formatted_body": urls.html(message.formatted_body),
        "msgtype": message.msgtype,
        "media": media_view(message.media, urls) if message.media else None,
        "poll": poll_view(message.details.poll, message.poll_results) if message.details.poll else None,
        "location": location_view(message.details.location) if message.details.location else None,
        "unsupported": message.details.original_type is not None,
        "original_type": message.details.original_type,
        "mentions_room": message.details.mentions_room,
        "mentions": identities.accounts.canonical_subjects(message.mentions),
        "reply_to": message.reply_to,
        "thread_root": message.thread_root,
        "thread": thread_view(message.thread, identities) if message.thread is not None else None,
        "reactions": [reaction_view(reaction, urls, identities) for reaction in message.reactions],
        "edited_at": optional_timestamp(message.edited_at_ms),
        "deleted": message.deleted,
        "created_at": timestamp(message.created_at_ms),
        "matrix_event_id": message.matrix_event_id,
        "delivery": message.delivery,
        "delivery_error": cast("DeliveryError | None", message.delivery_error),
        "client_id": message.client_id,
    }


def thread_view(thread: ThreadSummary, identities: Identities) -> schemas.ThreadSummary:
    return {
        "count": thread.count,
        "last_seq": thread.last_seq,
        "last_reply_at": timestamp(thread.last_at_ms),
        "authors": _distinct_authors(thread.by, identities),
    }


def _distinct_authors(authors: Iterable[Author], identities: Identities) -> list[schemas.Author]:
    """Return the views of ``authors``, each person once, in their order."""
    distinct: dict[SubjectId, Author] = {}
    for author in authors:
        distinct.setdefault(identities.accounts.canonical_subject(author.subject), author)
    return [author_view(author, identities) for author in distinct.values()]


def reaction_view(reaction: ReactionCount, urls: MediaUrls, identities: Identities) -> schemas.ReactionCount:
    by = identities.accounts.canonical_subjects(reaction.by)
    return {
        "emoji": reaction.key,
        "count": reaction.count - (len(reaction.by) - len(by)),
        "by": by,
        "url": urls.url(reaction.key),
        "shortcode": reaction.shortcode,
    }


def media_view(media: Media, urls: MediaUrls = MediaUrls()) -> schemas.Media:  # noqa: B008 - immutable
    return {
        "mxc": media.mxc,
        "url": urls.url(media.mxc),
        "thumbnail_url": urls.thumbnail_url(media),
        "mimetype": media.mimetype,
        "filename": media.filename,
        "size": media.size,
        "width": media.width,
        "height": media.height,
        "duration_ms": media.duration_ms,
        "voice": media.is_voice,
        "waveform": media.waveform,
        "sticker": media.is_sticker,
    }


def poll_view(poll: Poll, results: PollResults | None) -> schemas.Poll:
    """Return a poll with its results, as far as they are shown: of an undisclosed poll, after the end only."""
    is_shown = results is not None and (poll.kind is PollKind.DISCLOSED or results.ended_at_ms is not None)
    votes: tuple[int | None, ...] = results.votes if results and is_shown else (None,) * len(poll.options)
    return {
        "question": poll.question,
        "kind": poll.kind,
        "max_selections": poll.max_selections,
        "options": [
            {"id": option.id, "text": option.text, "votes": count}
            for option, count in zip(poll.options, votes, strict=True)
        ],
        "voters": results.voters if results else None,
        "ended_at": optional_timestamp(results.ended_at_ms) if results else None,
    }


def location_view(location: Location) -> schemas.Location:
    return {
        "latitude": location.latitude,
        "longitude": location.longitude,
        "accuracy_m": location.accuracy_m,
        "description": location.description,
    }
