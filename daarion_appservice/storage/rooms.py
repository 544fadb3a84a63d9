"""City rooms, and the last known state of their Matrix rooms."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ..city.types import AgentSlug, HistoryVisibility, MatrixRoomId, MatrixStatus, Room, RoomId, UserId
from .key_values import registry_changed
from .readable import room_is_listed
from .renumbering import raise_numbers
from .tables import feed, former_matrix_rooms, membership_periods, messages, room_events, rooms
from .upsert import insert

ORDERS: dict[str, tuple[ColumnElement[Any], ...]] = {
    "popular": (rooms.c.popularity.desc(), rooms.c.slug),
    "recent": (func.coalesce(rooms.c.last_event_ms, rooms.c.created_at_ms).desc(), rooms.c.slug),
    "name": (func.lower(rooms.c.name), rooms.c.slug),
}

_EPOCH_MS: Final = 1_767_225_600_000
"""2026-01-01 in milliseconds since 1970."""
_HALF_LIFE_MS: Final = 7 * 24 * 3_600_000
"""A message adds half as much popularity to its room as a message one week later."""

_IS_PUBLIC: Final = rooms.c.agent.is_(None)


@dataclass(frozen=True, slots=True)
class Told:
    """The last known state of a room's Matrix room."""

    name: str | None
    topic: str | None
    in_directory: bool | None
    in_space: MatrixRoomId | None
    archived: bool


class RoomRepository:
    """The tables ``rooms`` and ``former_matrix_rooms``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, room: Room, *, created_by: str | None) -> bool:
        """Insert a room; return False if its id or slug is taken."""
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
                created_by=created_by,
                created_at_ms=room.created_at_ms,
                matrix_room_id=room.matrix_room_id,
                matrix_status=room.matrix_status,
                join_rule=room.join_rule,
                **_visibility(room.history_visibility, is_new=True),
            )
            .on_conflict_do_nothing()
        )
        if room.agent is None:
            await registry_changed(self._connection)
        return added.rowcount == 1

    async def all(self) -> list[Room]:
        """Return the city's public rooms."""
        return await self._some(_IS_PUBLIC)

    async def direct_chats(
        self, *, waiting: bool, but: Collection[RoomId] = (), limit: int | None = None
    ) -> list[Room]:
        """Return direct chats: pending ones if ``waiting``, else linked ones."""
        status = MatrixStatus.PENDING if waiting else MatrixStatus.LINKED
        chats = ~_IS_PUBLIC & ~rooms.c.archived & (rooms.c.matrix_status == status)
        return await self._some(chats & rooms.c.id.not_in(but), limit=limit)

    async def waiting_chats(self, inviter: UserId) -> int:
        """Return how many direct chats with an invitation by this user are still pending."""
        found = await self._connection.execute(
            select(func.count())
            .select_from(rooms)
            .where(
                ~_IS_PUBLIC, ~rooms.c.archived, rooms.c.matrix_status == MatrixStatus.PENDING, rooms.c.name == inviter
            )
        )
        return int(found.scalar_one())

    async def doubt_chat(self, chat: RoomId, *, in_company: bool | None = None) -> None:
        """Mark a direct chat as pending, to be checked by the reconciler.

        Args:
            in_company: whether the chat has other members too; None leaves it unchanged.
        """
        company = {} if in_company is None else {"in_company": in_company}
        await self._set(chat, matrix_status=MatrixStatus.PENDING, archived=False, **company)

    async def keep_chat(self, chat: RoomId, *, in_company: bool) -> None:
        """Mark a direct chat as linked: the agent has joined."""
        await self._set(chat, matrix_status=MatrixStatus.LINKED, matrix_error=None, in_company=in_company)

    async def close_chat(self, chat: RoomId) -> None:
        """Archive a direct chat that the agent has left."""
        await self._set(chat, archived=True)

    async def give_way(self, matrix_room: MatrixRoomId) -> None:
        """End the direct chat in this Matrix room, because the Matrix room belongs to a public room."""
        await self._connection.execute(
            update(rooms)
            .where(rooms.c.matrix_room_id == matrix_room, ~_IS_PUBLIC)
            .values(matrix_room_id=None, archived=True)
        )

    async def _some(self, which: ColumnElement[bool], *, limit: int | None = None) -> list[Room]:
        found = await self._connection.execute(select(rooms).where(which).order_by(rooms.c.created_at_ms).limit(limit))
        return [_room(row) for row in found]

    async def page(
        self,
        *,
        sort: str,
        limit: int,
        offset: int,
        users: Collection[UserId] = (),
        is_admin: bool = False,
        ids: Collection[str] = (),
    ) -> list[Room]:
        """Return a page of the public rooms that are not archived.

        Args:
            sort: a key of ORDERS.
            users: user ids of the reader, who also gets the unlisted rooms of these users' membership periods.
            is_admin: whether the reader gets all rooms.
            ids: only rooms with these ids or slugs; empty for all.
        """
        statement = select(rooms).where(~rooms.c.archived, _IS_PUBLIC)
        if ids:
            statement = statement.where(or_(rooms.c.id.in_(ids), rooms.c.slug.in_(ids)))
        if not is_admin:
            statement = statement.where(or_(room_is_listed(), *_was_in(users)))
        rows = await self._connection.execute(statement.order_by(*ORDERS[sort]).limit(limit).offset(offset))
        return [_room(row) for row in rows]

    async def some(self, ids: Collection[RoomId]) -> list[Room]:
        """Return the rooms with these ids, without direct chats."""
        return await self._some(and_(rooms.c.id.in_(ids), rooms.c.agent.is_(None))) if ids else []

    async def unlisted(self) -> dict[RoomId, str]:
        """Return the public rooms that are not listed for all readers, with their slugs."""
        rows = await self._connection.execute(select(rooms.c.id, rooms.c.slug).where(_IS_PUBLIC, ~room_is_listed()))
        return {RoomId(row.id): row.slug for row in rows}

    async def get(self, room: RoomId) -> Room | None:
        """Return a public room or a direct chat."""
        row = (await self._connection.execute(select(rooms).where(rooms.c.id == room))).first()
        return _room(row) if row else None

    async def find(self, id_or_slug: str) -> Room | None:
        """Return a public room."""
        row = (await self._connection.execute(_with_name(id_or_slug))).first()
        return _room(row) if row else None

    async def lock(self, id_or_slug: str) -> Room | None:
        """Return a public room and lock it against writes by others until this transaction ends."""
        row = (await self._connection.execute(_with_name(id_or_slug).with_for_update(key_share=True))).first()
        return _room(row) if row else None

    async def lock_any(self, room: RoomId) -> Room | None:
        """Do the same with a public room or a direct chat."""
        held = select(rooms).where(rooms.c.id == room).with_for_update(key_share=True)
        row = (await self._connection.execute(held)).first()
        return _room(row) if row else None

    async def by_matrix_id(self, matrix_room: MatrixRoomId) -> Room | None:
        row = (await self._connection.execute(select(rooms).where(rooms.c.matrix_room_id == matrix_room))).first()
        return _room(row) if row else None

    async def by_former_id(self, matrix_room: MatrixRoomId) -> Room | None:
        """Return the room that had this Matrix room before an upgrade."""
        of_former = select(former_matrix_rooms.c.room_id).where(former_matrix_rooms.c.matrix_room_id == matrix_room)
        row = (await self._connection.execute(select(rooms).where(rooms.c.id.in_(of_former)))).first()
        return _room(row) if row else None

    async def former_ids(self) -> list[tuple[MatrixRoomId, RoomId]]:
        found = await self._connection.execute(select(former_matrix_rooms))
        return [(MatrixRoomId(row.matrix_room_id), RoomId(row.room_id)) for row in found]

    async def next_seq(self, room: RoomId, *, now_ms: int) -> int:
        """Take the room's next sequence number for a message; other transactions wait until this one ends."""
        seq = await self._connection.execute(
            update(rooms)
            .where(rooms.c.id == room)
            .values(
                last_seq=rooms.c.last_seq + 1,
                message_count=rooms.c.message_count + 1,
                popularity=rooms.c.popularity + _weight(now_ms),
                # Messages that arrive late, or from a server whose clock is slow, may have an earlier time.
                last_event_ms=case((rooms.c.last_event_ms > now_ms, rooms.c.last_event_ms), else_=now_ms),
            )
            .returning(rooms.c.last_seq)
        )
        return int(seq.scalar_one())

    async def next_seqs(self, room: RoomId, count: int) -> tuple[range, HistoryVisibility]:
        """Take several sequence numbers for events other than messages; return them with the history visibility.

        Other transactions wait for theirs until this one ends.
        """
        seq = await self._connection.execute(
            update(rooms)
            .where(rooms.c.id == room)
            .values(last_seq=rooms.c.last_seq + count)
            .returning(rooms.c.last_seq, rooms.c.history_visibility)
        )
        last, visibility = seq.one()
        return range(last - count + 1, last + 1), HistoryVisibility(visibility)

    async def renumber(self, room: RoomId, first: int, *, by: int) -> None:
        """Raise all sequence numbers of the room from ``first`` on by ``by``, beyond all numbers in use."""
        await raise_numbers(self._connection, room, first, by=by)

    async def earlier_seq(self, room: RoomId) -> int:
        """Take a sequence number below all others, for older history that is inserted later."""
        seq = await self._connection.execute(
            update(rooms)
            .where(rooms.c.id == room)
            .values(first_seq=rooms.c.first_seq - 1, message_count=rooms.c.message_count + 1)
            .returning(rooms.c.first_seq)
        )
        return int(seq.scalar_one())

    async def change(self, room: Room) -> None:
        """Store name, description and archived state of a room."""
        await self._set(room.id, name=room.name, description=room.description, archived=room.archived)
        await registry_changed(self._connection)

    async def has_on_matrix(self, room: RoomId, *, name: str | None = None, topic: str | None = None) -> None:
        """Store name or topic of the Matrix room, which may differ from the city room's."""
        values = {"told_name": name} if name is not None else {}
        await self._set(room, **values | ({"told_topic": topic} if topic is not None else {}))

    async def governed(
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
            values |= _visibility(history_visibility)
        await self._set(room, **values)
        if join_rule is not None or history_visibility is not None:
            # This changes who may know of the room, and therefore of its agents.
            await registry_changed(self._connection)

    async def is_visibility_known(self, room: RoomId) -> bool:
        """Return whether the history visibility was read from the homeserver, and not assumed."""
        return bool(await self._connection.scalar(select(rooms.c.visibility_known).where(rooms.c.id == room)))

    async def first_visibility(self, room: RoomId, visibility: HistoryVisibility, *, since_ms: int | None) -> None:
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

    async def has_private(self, room: RoomId) -> None:
        """Note that the room has events that are not world-readable."""
        await self._set(room, was_private=True)

    async def encrypted(self, room: RoomId, *, is_on: bool = True) -> None:
        """Store whether the room is encrypted.

        Encryption cannot be turned off, but its event may later turn out to be unauthorised.
        """
        await self._set(room, encrypted=is_on)

    async def link(
        self,
        room: RoomId,
        matrix_room: MatrixRoomId,
        visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE,
    ) -> None:
        """Link the room with ``matrix_room``; it is pending until the reconciler has checked it."""
        await self._link(room, matrix_room, told_archived=False, **_visibility(visibility))

    async def move(
        self,
        room: RoomId,
        matrix_room: MatrixRoomId,
        *,
        former: MatrixRoomId,
        visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE,
    ) -> None:
        """Link the room with ``matrix_room``, which replaced ``former`` by an upgrade.

        The new Matrix room is read-only if the former one was. The room is pending until its members have joined.
        """
        await self._connection.execute(
            insert(self._connection, former_matrix_rooms)
            .values(matrix_room_id=former, room_id=room)
            .on_conflict_do_nothing()
        )
        await self._link(room, matrix_room, **_visibility(visibility))

    async def _link(self, room: RoomId, matrix_room: MatrixRoomId, **more: Any) -> None:
        await self._set(
            room,
            matrix_room_id=matrix_room,
            matrix_status=MatrixStatus.PENDING,
            matrix_error=None,
            told_name=None,
            told_topic=None,
            in_directory=None,
            in_space=None,
            encrypted=False,
            **more,
        )

    async def mark(self, room: RoomId, status: MatrixStatus, error: str | None) -> None:
        await self._set(room, matrix_status=status, matrix_error=error)

    async def told(self, room: RoomId) -> Told:
        row = (await self._connection.execute(select(rooms).where(rooms.c.id == room))).one()
        in_space = MatrixRoomId(row.in_space) if row.in_space else None
        return Told(row.told_name, row.told_topic, row.in_directory, in_space, row.told_archived)

    async def set_told(self, room: RoomId, told: Told) -> None:
        await self._set(
            room,
            told_name=told.name,
            told_topic=told.topic,
            in_directory=told.in_directory,
            in_space=told.in_space,
            told_archived=told.archived,
        )

    async def _set(self, room: RoomId, **values: Any) -> None:
        if values:
            await self._connection.execute(update(rooms).where(rooms.c.id == room).values(values))


def _weight(at_ms: int) -> float:
    """Return the popularity that a message adds to its room.

    Reducing the weight of old messages would change every room at every moment. Instead later messages weigh more
    ("forward decay", Cormode et al. 2009): the order of the rooms is the same. After 1,000 half-lives, in 2045, the
    numbers would exceed the range of the column, and grow no more.
    """
    return float(2.0 ** min(max(0.0, (at_ms - _EPOCH_MS) / _HALF_LIFE_MS), 1000.0))


def _with_name(id_or_slug: str) -> Select[Any]:
    return select(rooms).where((rooms.c.id == id_or_slug) | (rooms.c.slug == id_or_slug), _IS_PUBLIC).limit(1)


def _visibility(visibility: HistoryVisibility, *, is_new: bool = False) -> dict[str, Any]:
    """Return the columns for a history visibility: the current one, and which kinds the room has had at any time."""
    is_public = visibility is HistoryVisibility.WORLD_READABLE
    values: dict[str, Any] = {"history_visibility": visibility, "visibility_known": True}
    if is_new:
        return values | {"was_public": is_public, "was_private": not is_public}
    return values | ({"was_public": True} if is_public else {"was_private": True})


def _was_in(users: Collection[UserId]) -> list[ColumnElement[bool]]:
    """Return the condition that one of these users has a membership period in a row of ``rooms``."""
    if not users:
        return []
    table = membership_periods.c
    return [exists().where(table.room_id == rooms.c.id, table.user_id.in_(users))]


def _room(row: Row[Any]) -> Room:
    return Room(
        id=RoomId(row.id),
        slug=row.slug,
        agent=AgentSlug(row.agent) if row.agent else None,
        in_company=row.in_company,
        name=row.name,
        description=row.description,
        is_default=row.is_default,
        archived=row.archived,
        created_at_ms=row.created_at_ms,
        last_seq=row.last_seq,
        last_event_ms=row.last_event_ms,
        matrix_room_id=MatrixRoomId(row.matrix_room_id) if row.matrix_room_id else None,
        matrix_status=MatrixStatus(row.matrix_status),
        matrix_error=row.matrix_error,
        join_rule=row.join_rule,
        history_visibility=HistoryVisibility(row.history_visibility),
        was_public=row.was_public,
        was_private=row.was_private,
        power_levels=row.power_levels,
        encrypted=row.encrypted,
    )
