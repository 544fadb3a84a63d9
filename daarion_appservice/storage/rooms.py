"""City rooms and their sequence numbers."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update

from ..city.received_messages import EventLookup
from ..city.types import EventId, HistoryVisibility, MatrixRoomId, Member, Message, MessageId, Room, RoomId, UserId
from . import room_statements as statements
from .key_values import registry_changed
from .message_rows import read_message
from .readable import room_is_listed, room_is_shown
from .renumbering import raise_numbers
from .room_columns import IS_CITY_ROOM, RoomColumns, room_of, version_columns, visibility_values
from .room_orders import order_for
from .tables import feed, former_matrix_rooms, membership_periods, messages, room_events, rooms
from .upsert import insert

_EPOCH_MS: Final = 1_767_225_600_000
"""2026-01-01 in milliseconds since 1970."""
_HALF_LIFE_MS: Final = 7 * 24 * 3_600_000
"""A message adds half as much popularity to its room as a message one week later."""


_OTHER: Final = rooms.alias("other")
_HAS_UNLISTED: Final = exists(
    select(_OTHER.c.id).where(_OTHER.c.agent.is_(None), ~_OTHER.c.is_direct, ~room_is_listed(_OTHER.c))
).label("has_unlisted")


@dataclass(frozen=True, slots=True)
class ListedVersions:
    """The rooms of a list, with a version of each."""

    versions: dict[RoomId, Hashable]
    """In the order of the list; a version is equal as long as the room and its messages are unchanged."""
    is_all: bool
    """Whether every room of the city is listed for all readers."""


class RoomRepository(RoomColumns):
    """The table ``rooms``: city rooms, and direct chats where a method says so."""

    async def add(self, room: Room, *, created_by: str | None) -> bool:
        """Insert a room; return False if its id or slug is taken."""
        is_city_room = room.agent is None and not room.is_direct
        added = await self._connection.execute(
            insert(self._connection, rooms)
            .values(
                id=room.id,
                slug=room.slug,
                name=room.name,
                description=room.description,
                is_default=room.is_default,
                archived=room.archived,
                agent=room.agent,
                is_direct=room.is_direct,
                created_by=created_by,
                creator_has_no_level=is_city_room and created_by is not None and room.matrix_room_id is None,
                created_at_ms=room.created_at_ms,
                matrix_room_id=room.matrix_room_id,
                matrix_status=room.matrix_status,
                join_rule=room.join_rule,
                **visibility_values(room.history_visibility, is_new=True),
            )
            .on_conflict_do_nothing()
        )
        if is_city_room:
            await registry_changed(self._connection)
        return added.rowcount == 1

    async def all(self) -> list[Room]:
        """Return the city rooms, without private rooms of two citizens."""
        return await self._some(and_(IS_CITY_ROOM, ~rooms.c.is_direct))

    async def _some(self, which: ColumnElement[bool], *, limit: int | None = None) -> list[Room]:
        found = await self._connection.execute(select(rooms).where(which).order_by(rooms.c.created_at_ms).limit(limit))
        return [room_of(row) for row in found]

    async def page(
        self, *, sort: str, limit: int, offset: int, users: Collection[UserId] = (), has_left: bool = True
    ) -> list[Room]:
        """Return a page of the city rooms that are not archived.

        Args:
            sort: a key of ``room_orders.ORDERS``.
            limit: the number of rooms.
            offset: the number of rooms to skip.
            users: user ids of the reader, who also gets the unlisted rooms of these users' membership periods.
            has_left: whether there may be rooms that one of the users left.
        """
        order = order_for(sort, users, has_left=has_left)
        page = select(rooms).where(*_listed(users)).order_by(*order).limit(limit).offset(offset)
        return [room_of(row) for row in await self._connection.execute(page)]

    async def page_versions(
        self,
        *,
        sort: str,
        limit: int,
        offset: int,
        users: Collection[UserId] = (),
        is_admin: bool = False,
        has_left: bool = True,
        ids: Collection[str] = (),
    ) -> ListedVersions:
        """Return the versions of the rooms of ``page``, which are cheaper than the rooms.

        Args:
            sort: see ``page``.
            limit: see ``page``.
            offset: see ``page``.
            users: see ``page``.
            is_admin: whether the reader gets all rooms.
            has_left: see ``page``.
            ids: only rooms with these ids or slugs; empty for all.
        """
        statement = select(rooms.c.id, _HAS_UNLISTED, *version_columns(self._connection))
        order = order_for(sort, users, has_left=has_left and not is_admin)
        page = statement.where(*_listed(users, is_admin=is_admin, ids=ids)).order_by(*order)
        found = (await self._connection.execute(page.limit(limit).offset(offset))).all()
        is_all = not (found[0][1] if found else await self.has_unlisted())
        return ListedVersions({RoomId(row[0]): tuple(row[2:]) for row in found}, is_all)

    async def listed(
        self, ids: Collection[RoomId], *, users: Collection[UserId], is_admin: bool
    ) -> list[tuple[Room, Hashable]]:
        """Return those of the rooms that ``page_versions`` would return, each with its version."""
        statement = select(rooms, *version_columns(self._connection))
        found = await self._connection.execute(statement.where(*_listed(users, is_admin=is_admin, ids=ids)))
        return [(room_of(row), tuple(row[len(rooms.c) :])) for row in found]

    async def by_ids(self, ids: Collection[RoomId]) -> list[Room]:
        """Return the rooms with these ids, without direct chats with agents."""
        return await self._some(and_(rooms.c.id.in_(ids), IS_CITY_ROOM)) if ids else []

    async def shown_by_ids(self, ids: Collection[RoomId]) -> list[Room]:
        """Return the rooms with these ids that have readers in the pages: city rooms, and chats with agents in clear."""
        return await self._some(and_(rooms.c.id.in_(ids), room_is_shown())) if ids else []

    async def unlisted(self) -> dict[RoomId, str]:
        """Return the city rooms that are not listed for all readers, with their slugs."""
        rows = await self._connection.execute(select(rooms.c.id, rooms.c.slug).where(IS_CITY_ROOM, ~room_is_listed()))
        return {RoomId(row.id): row.slug for row in rows}

    async def has_unlisted(self) -> bool:
        """Return whether lists of rooms are not the same for all readers."""
        return bool(await self._connection.scalar(select(_HAS_UNLISTED)))

    async def get(self, room: RoomId) -> Room | None:
        """Return a city room or a direct chat."""
        row = (await self._connection.execute(statements.GET, {"room": room})).first()
        return room_of(row) if row else None

    async def with_message(self, room: RoomId, message: MessageId) -> tuple[Room | None, Message | None]:
        """Return a city room or a direct chat, and a message, by their ids."""
        row = (await self._connection.execute(statements.WITH_MESSAGE, {"room": room, "message": message})).first()
        if row is None:
            return None, None
        found: Any = SimpleNamespace(**dict(zip(messages.c.keys(), row[statements.ROOM_COLUMNS :], strict=True)))
        return room_of(row), None if found.id is None else read_message(found)

    async def find(self, id_or_slug: str) -> Room | None:
        """Return a city room."""
        row = (await self._connection.execute(statements.with_name(id_or_slug))).first()
        return room_of(row) if row else None

    async def find_shown(self, id_or_slug: str) -> Room | None:
        """Return a room that has readers in the pages: a city room, or a chat with an agent in clear, by its id.

        The caller checks by `history_visibility.is_known_to` that the reader is one of them.
        """
        named = select(rooms).where((rooms.c.id == id_or_slug) | (rooms.c.slug == id_or_slug), room_is_shown())
        row = (await self._connection.execute(named.limit(1))).first()
        return room_of(row) if row else None

    async def lock(self, id_or_slug: str) -> Room | None:
        """Return a city room and lock it against writes by others until this transaction ends."""
        row = (await self._connection.execute(statements.LOCK, {"name": id_or_slug})).first()
        return room_of(row) if row else None

    async def lock_any(self, room: RoomId) -> Room | None:
        """Do the same with a city room or a direct chat."""
        row = (await self._connection.execute(statements.LOCK_ANY, {"room": room})).first()
        return room_of(row) if row else None

    async def by_matrix_id(self, matrix_room: MatrixRoomId) -> Room | None:
        row = (await self._connection.execute(statements.OF_MATRIX_ROOM, {"matrix_room": matrix_room})).first()
        return room_of(row) if row else None

    async def of_message(
        self, matrix_room: MatrixRoomId, sender: UserId, event: EventId
    ) -> tuple[Room | None, EventLookup | None]:
        """Return the room with this Matrix room, and what the city has of an event of a message in it."""
        values = {"matrix_room": matrix_room, "sender": sender, "event": event}
        row = (await self._connection.execute(statements.OF_MESSAGE, values)).first()
        if row is None:
            return None, None
        user, name, avatar, is_stored = row[statements.ROOM_COLUMNS :]
        room = room_of(row)
        return room, EventLookup(Member(room.id, UserId(user), name, avatar) if user else None, bool(is_stored))

    async def by_former_id(self, matrix_room: MatrixRoomId) -> Room | None:
        """Return the room that had this Matrix room before an upgrade."""
        of_former = select(former_matrix_rooms.c.room_id).where(former_matrix_rooms.c.matrix_room_id == matrix_room)
        row = (await self._connection.execute(select(rooms).where(rooms.c.id.in_(of_former)))).first()
        return room_of(row) if row else None

    async def message_count(self, room: RoomId) -> int:
        """Return the number of messages of a room, deleted ones included."""
        counted = select(func.count()).select_from(messages).where(messages.c.room_id == room)
        return int(await self._connection.scalar(counted) or 0)

    async def next_seq(self, room: RoomId, *, now_ms: int) -> int:
        """Take the room's next sequence number for a message; other transactions wait until this one ends."""
        values = {"room": room, "now_ms": now_ms, "weight": _weight(now_ms)}
        return int((await self._connection.execute(statements.NEXT_SEQ, values)).scalar_one())

    async def next_seqs(self, room: RoomId, count: int) -> tuple[range, HistoryVisibility]:
        """Take several sequence numbers for events other than messages; return them with the history visibility.

        Other transactions wait for theirs until this one ends.
        """
        last, visibility = (await self._connection.execute(statements.NEXT_SEQS, {"room": room, "count": count})).one()
        return range(last - count + 1, last + 1), HistoryVisibility(visibility)

    async def renumber(self, room: RoomId, first: int, *, by: int) -> None:
        """Raise all sequence numbers of the room from ``first`` on by ``by``, beyond all numbers in use."""
        await raise_numbers(self._connection, room, first, by=by)

    async def skip_seqs(self, count: int) -> None:
        """Leave out ``count`` sequence numbers of every room, so that clients with later ones load the room again."""
        await self._connection.execute(update(rooms).values(last_seq=rooms.c.last_seq + count))

    async def earlier_seq(self, room: RoomId) -> int:
        """Take a sequence number below all others, for older history that is inserted later."""
        seq = await self._connection.execute(
            update(rooms)
            .where(rooms.c.id == room)
            .values(first_seq=rooms.c.first_seq - 1, message_count=rooms.c.message_count + 1)
            .returning(rooms.c.first_seq)
        )
        return int(seq.scalar_one())

    async def mark_history_changed(self, room: RoomId) -> None:
        """Change the room's row after a change of messages of which clients get no event: cached reads are loaded again.

        The sequence number below all others is left out for it (see ``read_versions``).
        """
        await self._update(room, first_seq=rooms.c.first_seq - 1)

    async def change(self, room: Room) -> None:
        """Store name, description and archived state of a room."""
        await self._update(room.id, name=room.name, description=room.description, archived=room.archived)
        await registry_changed(self._connection)

    async def set_rules(
        self,
        room: RoomId,
        *,
        power_levels: str | None = None,
        join_rule: str | None = None,
        history_visibility: HistoryVisibility | None = None,
    ) -> None:
        """Store the state of the Matrix room that sets permissions.

        Args:
            power_levels: the content of ``m.room.power_levels``; in a read-only room, the content from before.
        """
        values: dict[str, Any] = {"power_levels": power_levels} if power_levels is not None else {}
        if join_rule is not None:
            values["join_rule"] = join_rule
        if history_visibility is not None:
            values |= visibility_values(history_visibility)
        await self._update(room, **values)
        if join_rule is not None or history_visibility is not None:
            # This changes who may know of the room, and therefore of its agents.
            await registry_changed(self._connection)

    async def set_pinned_events(self, room: RoomId, pinned_events: str) -> None:
        """Store the event ids of ``m.room.pinned_events``, as JSON."""
        await self._update(room, pinned_events=pinned_events)

    async def set_avatar(self, room: RoomId, mxc: str | None) -> None:
        """Store the ``mxc://`` URI of the room's picture; None for the house that the service draws."""
        await self._update(room, avatar_url=mxc)

    async def is_visibility_known(self, room: RoomId) -> bool:
        """Return whether the history visibility was read from the homeserver, and not assumed."""
        return bool(await self._connection.scalar(select(rooms.c.visibility_known).where(rooms.c.id == room)))

    async def set_early_visibility(self, room: RoomId, visibility: HistoryVisibility, *, since_ms: int | None) -> None:
        """Set the visibility of events that were stored before the history visibility was known.

        Args:
            since_ms: when the history visibility was last set on Matrix; older events keep the assumed visibility.
        """
        for table, at in ((messages, "created_at_ms"), (room_events, "at_ms"), (feed, "created_at_ms")):
            await self._connection.execute(
                update(table)
                .where(table.c.room_id == room, table.c[at] >= (since_ms or 0))
                .values(visibility=visibility)
            )

    async def mark_private(self, room: RoomId) -> None:
        """Note that the room has events that are not world-readable."""
        await self._update(room, was_private=True)

    async def set_encrypted(self, room: RoomId, *, encrypted: bool = True) -> None:
        """Store whether the room is encrypted.

        Encryption cannot be turned off, but its event may later turn out to be unauthorised.
        """
        await self._update(room, encrypted=encrypted)


def _weight(at_ms: int) -> float:
    """Return the popularity that a message adds to its room.

    Reducing the weight of old messages would change every room at every moment. Instead later messages weigh more
    ("forward decay", Cormode et al. 2009): the order of the rooms is the same. After 1,000 half-lives, in 2045, the
    numbers would exceed the range of the column, and grow no more.
    """
    return float(2.0 ** min(max(0.0, (at_ms - _EPOCH_MS) / _HALF_LIFE_MS), 1000.0))


def _listed(
    users: Collection[UserId], *, is_admin: bool = False, ids: Collection[str] = ()
) -> list[ColumnElement[bool]]:
    """Return the conditions of the rooms that lists show to these users."""
    conditions: list[ColumnElement[bool]] = [~rooms.c.archived, IS_CITY_ROOM, ~rooms.c.is_direct]
    if ids:
        conditions.append(or_(rooms.c.id.in_(ids), rooms.c.slug.in_(ids)))
    if not is_admin:
        conditions.append(or_(room_is_listed(), *_was_in(users)))
    return conditions


def _was_in(users: Collection[UserId]) -> list[ColumnElement[bool]]:
    """Return the condition that one of these users has a membership period in a row of ``rooms``."""
    if not users:
        return []
    table = membership_periods.c
    return [exists().where(table.room_id == rooms.c.id, table.user_id.in_(users))]
