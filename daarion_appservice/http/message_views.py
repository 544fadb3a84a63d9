"""The JSON representations of messages: media, polls, locations, threads and reactions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from ..city.citizen_pairs import is_chat_id
from ..city.delivery_errors import DeliveryError
from ..city.history_visibility import PUBLIC
from ..city.identity import Identities
from ..city.message_kinds import Location, Poll, PollKind, PollResults
from ..city.timestamps import optional_timestamp, timestamp
from ..city.types import Author, Media, Message, ReactionCount, SubjectId, ThreadSummary
from . import schemas
from .author_views import author_view
from .media_urls import MediaUrls


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
