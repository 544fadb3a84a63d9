"""The search index of messages: PostgreSQL's ``tsvector`` with a GIN index, SQLite's FTS5.

The rows of ``search_entries`` have the stems of each message's words (``city/search_words``). On SQLite triggers keep the
virtual table ``search_index`` equal to them. The numbers of the rows sort by the time of the messages, so that results are
read from the newest on, and the next page begins below the last number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    cast,
    delete,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from ..city.history_visibility import ReadableRanges
from ..city.search import SearchTerm, indexed_words
from ..city.types import Author, Message, MessageId, RoomId
from .message_rows import read_message
from .readable import is_in_shown_room, message_is_readable_in
from .repository import Repository
from .tables import messages, rooms, search_entries
from .upsert import for_both

_SHIFT: Final = 20
_BASE32: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARS: Final = 4
"""The characters of a ULID's end that distinguish messages of one millisecond: 20 bits."""


_ADD: Final = for_both(lambda insert: insert(search_entries).on_conflict_do_nothing().inline())
_NEWEST: Final = 5_000
"""The entries that PostgreSQL compares with the words one after another: that takes 5 ms."""


_IS_EXPENSIVE: Final[ColumnElement[bool]] = literal_column(
    "to_tsvector('simple', substr(search_entries.stems, 1, 0))"
).is_not(None)
"""A condition that is always true. PostgreSQL estimates its cost as so high that it tests no entry without the GIN index."""


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """What limits the results of a search, apart from the words and from what the reader may read."""

    room: RoomId | None = None
    authors: tuple[Author, ...] = ()
    """Only messages of these authors; empty for all."""
    after_ms: int | None = None
    """Only messages from this time on."""
    before_ms: int | None = None
    """Only messages before this time."""
    below: int | None = None
    """Only entries with a lower number: the next page."""


@dataclass(frozen=True, slots=True)
class Found:
    """A found message."""

    number: int
    message: Message


class SearchRepository(Repository):
    """The table ``search_entries``."""

    async def find(
        self,
        terms: Sequence[SearchTerm],
        limits: SearchFilter,
        ranges_by_room: Mapping[RoomId, ReadableRanges],
        *,
        limit: int,
    ) -> list[Found]:
        """Return the messages that have all words and that a reader may read, the newest first.

        Args:
            terms: the words.
            limits: further conditions.
            ranges_by_room: the reader's readable ranges by room, ``PUBLIC`` by default.
            limit: the maximum number of messages.
        """
        entries = search_entries.c
        is_wanted = and_(
            *_of_message(limits), is_in_shown_room(ranges_by_room), _is_readable(limits.room, ranges_by_room)
        )
        newest_first = (
            select(entries.number, messages)
            .join(messages, messages.c.id == entries.message_id)
            .join(rooms, rooms.c.id == messages.c.room_id)
            .where(self._has_words(terms), *_of_entry(limits), is_wanted)
            .order_by(entries.number.desc())
            .limit(limit)
        )
        if self._connection.dialect.name == "sqlite":
            return await self._found(newest_first)
        # PostgreSQL takes a word that it does not know for one of a hundred, and would compare all entries with it, from the
        # newest on. So it does that in the newest ones only, where frequent words are found; others by the GIN index.
        found = await self._found(newest_first.where(entries.number > _start_of_newest(limits)))
        return found if len(found) == limit else await self._found(self._by_words(terms, limits, is_wanted, limit))

    def _by_words(
        self, terms: Sequence[SearchTerm], limits: SearchFilter, is_wanted: ColumnElement[bool], limit: int
    ) -> Select[Any]:
        """Return the statement that reads the index of words first, and then one message after another."""
        entries = search_entries.c
        matching = (
            select(entries.number, entries.message_id)
            .where(self._has_words(terms), _IS_EXPENSIVE, *_of_entry(limits))
            .cte("matching")
            .prefix_with("MATERIALIZED")
        )
        message = (
            select(messages)
            .join(rooms, rooms.c.id == messages.c.room_id)
            .where(messages.c.id == matching.c.message_id, is_wanted)
            .limit(1)
            .lateral("message")
        )
        joined = matching.join(message, true())
        return select(matching.c.number, message).select_from(joined).order_by(matching.c.number.desc()).limit(limit)

    async def _found(self, statement: Select[Any]) -> list[Found]:
        return [Found(row.number, read_message(row)) for row in await self._connection.execute(statement)]

    async def add(self, found: Collection[Message]) -> None:
        """Index messages that are not indexed yet."""
        rows = [
            {"number": entry_number(message), "message_id": message.id, "stems": stems}
            for message in found
            if (stems := indexed_words(message))
        ]
        statement = _ADD[self._connection.dialect.name]
        if len(rows) == 1:
            await self._write(statement, rows[0])
        elif rows:
            # With the rows as parameters the statement is compiled once, however many there are.
            await self._connection.execute(statement, rows)

    async def change(self, message: Message) -> None:
        """Index a message again after an edit."""
        of_message = search_entries.c.message_id == message.id
        stems = indexed_words(message)
        if not stems:
            await self._connection.execute(delete(search_entries).where(of_message))
            return
        changed = await self._connection.execute(update(search_entries).where(of_message).values(stems=stems))
        if changed.rowcount == 0:
            await self.add([message])

    async def some_before(self, message: MessageId | None, *, limit: int) -> list[Message]:
        """Return messages with lower ids, the highest first, and lock their rows against changes."""
        statement = select(messages).where(not_(messages.c.deleted)).order_by(messages.c.id.desc()).limit(limit)
        if message is not None:
            statement = statement.where(messages.c.id < message)
        return [read_message(row) for row in await self._connection.execute(statement.with_for_update(read=True))]

    def _has_words(self, terms: Sequence[SearchTerm]) -> ColumnElement[bool]:
        if self._connection.dialect.name == "sqlite":
            numbers: Select[Any] = select(literal_column("rowid")).select_from(text("search_index"))
            matching = numbers.where(literal_column("search_index").op("MATCH")(literal(_fts5_query(terms))))
            return search_entries.c.number.in_(matching)
        # The expression of the index, to the letter.
        stems: ColumnElement[Any] = literal_column("array_to_tsvector(string_to_array(search_entries.stems, ' '))")
        found: ColumnElement[bool] = stems.op("@@")(cast(literal(_postgres_query(terms)), TSQUERY))
        return found


def entry_number(message: Message) -> int:
    """Return the number of a message's entry, which sorts by its time."""
    value = 0
    for character in message.id[-_CHARS:]:
        value = value * 32 + max(0, _BASE32.find(character))
    return (message.created_at_ms << _SHIFT) + value


def _start_of_newest(limits: SearchFilter) -> ColumnElement[int]:
    """Return the number after which the newest entries of a filter begin; 0 if it has fewer."""
    number = search_entries.c.number
    newest = select(number).where(*_of_entry(limits)).order_by(number.desc()).offset(_NEWEST).limit(1)
    return func.coalesce(newest.correlate(None).scalar_subquery(), 0)


def _of_message(limits: SearchFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter on the message and its room."""
    table = messages.c
    conditions: list[ColumnElement[bool]] = [not_(table.deleted)]
    if limits.room is not None:
        conditions.append(table.room_id == limits.room)
    if limits.authors:
        conditions.append(
            or_(*(and_(table.author_kind == each.kind, table.author_id == each.id) for each in limits.authors))
        )
    return conditions


def _of_entry(limits: SearchFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter on the number of the entry."""
    number = search_entries.c.number
    conditions: list[ColumnElement[bool]] = []
    if limits.after_ms is not None:
        conditions.append(number >= limits.after_ms << _SHIFT)
    if limits.before_ms is not None:
        conditions.append(number < limits.before_ms << _SHIFT)
    if limits.below is not None:
        conditions.append(number < limits.below)
    return conditions


def _is_readable(room: RoomId | None, ranges_by_room: Mapping[RoomId, ReadableRanges]) -> ColumnElement[bool]:
    """Return the condition that the reader may read a message, of one room or of any."""
    return message_is_readable_in(
        {each: readable for each, readable in ranges_by_room.items() if room is None or each == room}
    )


def _fts5_query(terms: Sequence[SearchTerm]) -> str:
    # Words contain only letters, digits and underscores: nothing in them is syntax inside quotation marks.
    return " AND ".join(f'("{term.stem}" OR "{term.prefix}"*)' for term in terms)


def _postgres_query(terms: Sequence[SearchTerm]) -> str:
    return " & ".join(f"('{term.stem}' | '{term.prefix}':*)" for term in terms)
