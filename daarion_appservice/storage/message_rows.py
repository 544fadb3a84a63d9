"""Converts rows of the table ``messages``.

A page of a room that is read again after each new message has mostly the same rows as before. A message is immutable and made
of its row alone, so an equal row gives the message that was made before (``read_often``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

import orjson
from sqlalchemy.engine import Row

from ..city.types import (
    Author,
    AuthorKind,
    Delivery,
    EventId,
    HistoryVisibility,
    Message,
    MessageId,
    ReactionCount,
    RoomId,
    ThreadSummary,
)
from .author_columns import author_in_row
from .content_columns import details_of, media_of, mentions_of, results_of

_NONE: Final = "[]"
_REMEMBERED: Final = 5_000
"""The number of messages that are kept: with their rows at most 20 MB, usually 5."""
_LONGEST_CHARS: Final = 1_500
"""The maximum size of a row in characters, including its JSON columns; messages of larger rows are converted each time."""

_recent: OrderedDict[tuple[Any, ...], Message] = OrderedDict()
"""By row; the most recently used message is at the end."""


def read_often(rows: Iterable[Row[Any]]) -> list[Message]:
    """Return the messages of rows with all columns of the table, in their order."""
    return [_remembered(row) for row in rows]


def _remembered(row: Row[Any]) -> Message:
    key = tuple(row)
    found = _recent.get(key)
    if found is not None:
        _recent.move_to_end(key)
        return found
    message = read_message(row)
    if sum(len(value) for value in key if isinstance(value, str)) <= _LONGEST_CHARS:
        _recent[key] = message
        if len(_recent) > _REMEMBERED:
            _recent.popitem(last=False)
    return message


def read_message(row: Row[Any]) -> Message:
    """Return the message of a row of the table ``messages``."""
    return Message(
        id=MessageId(row.id),
        room_id=RoomId(row.room_id),
        seq=row.seq,
        author=author_in_row(row),
        body=row.body,
        formatted_body=row.formatted_body,
        msgtype=row.msgtype,
        media=media_of(row.media),
        mentions=mentions_of(row.mentions),
        reply_to=MessageId(row.reply_to) if row.reply_to else None,
        thread_root=MessageId(row.thread_root) if row.thread_root else None,
        thread_root_event=EventId(row.thread_root_event) if row.thread_root_event else None,
        thread=_thread(row) if row.thread else None,
        reactions=_tallies(row.reactions),
        client_id=row.client_id,
        created_at_ms=row.created_at_ms,
        edited_at_ms=row.edited_at_ms,
        deleted=row.deleted,
        matrix_event_id=EventId(row.matrix_event_id) if row.matrix_event_id else None,
        delivery=Delivery(row.delivery),
        delivery_error=row.delivery_error,
        visibility=HistoryVisibility(row.visibility),
        edit_seq=row.edit_seq,
        edit_visibility=HistoryVisibility(row.edit_visibility),
        details=details_of(row.details),
        poll_results=results_of(row.poll_results),
    )


def _thread(row: Row[Any]) -> ThreadSummary:
    count, last_at_ms, by = orjson.loads(row.thread)
    authors = tuple(Author(AuthorKind(kind), author_id, name, avatar) for kind, author_id, name, avatar in by)
    return ThreadSummary(count, row.thread_last_seq, last_at_ms, authors)


def _tallies(text: str) -> tuple[ReactionCount, ...]:
    return (
        ()
        if text == _NONE
        else tuple(ReactionCount(key, count, tuple(by), *more) for key, count, by, *more in orjson.loads(text))
    )


def tally(tally: ReactionCount) -> tuple[Any, ...]:
    known = (tally.key, tally.count, tally.by)
    return known if tally.shortcode is None else (*known, tally.shortcode)
