"""Rooms, and what their Matrix rooms were last known to be."""

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
"""2026-01-01."""
_HALF_LIFE_MS: Final = 7 * 24 * 3_600_000
"""A message counts half as much for how popular a room is as one of a week later."""

_IS_PUBLIC: Final = rooms.c.agent.is_(None)


@dataclass(frozen=True, slots=True)
class Told:
    """What the Matrix side was last told of a room, or found to be."""

    name: str | None
    topic: str | None
    in_directory: bool | None
    in_space: MatrixRoomId | None
    archived: bool


class RoomRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, room: Room, *, created_by: str | None) -> bool:
        """False when there is a room with this id or slug already."""
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
        """The city's public rooms."""
        return await self._some(_IS_PUBLIC)

    async def direct_chats(
        self, *, waiting: bool, but: Collection[RoomId] = (), limit: int | None = None
    ) -> list[Room]:
        """The chats of agents with somebody on Matrix, which nobody else sees: those to see after, or those that go on."""
        status = MatrixStatus.PENDING if waiting else MatrixStatus.LINKED
        chats = ~_IS_PUBLIC & ~rooms.c.archived & (rooms.c.matrix_status == status)
        return await self._some(chats & rooms.c.id.not_in(but), limit=limit)

    async def waiting_chats(self, inviter: UserId) -> int:
        """To how many chats agents were invited by somebody, and have not come yet."""
        found = await self._connection.execute(
            select(func.count())
            .select_from(rooms)
            .where(
                ~_IS_PUBLIC, ~rooms.c.archived, rooms.c.matrix_status == MatrixStatus.PENDING, rooms.c.name == inviter
            )
        )
        return int(found.scalar_one())

    async def doubt_chat(self, chat: RoomId, *, in_company: bool | None = None) -> None:
        """Something happened there that somebody has to see after; None leaves it open whether others are there."""
        company = {} if in_company is None else {"in_company": in_company}
        await self._set(chat, matrix_status=MatrixStatus.PENDING, archived=False, **company)

    async def keep_chat(self, chat: RoomId, *, in_company: bool) -> None:
        """The agent is there, with one person or with several."""
        await self._set(chat, matrix_status=MatrixStatus.LINKED, matrix_error=None, in_company=in_company)

    async def close_chat(self, chat: RoomId) -> None:
        """The agent is there no longer."""
        await self._set(chat, archived=True)

    async def give_way(self, matrix_room: MatrixRoomId) -> None:
        """A direct chat that was in this Matrix room is over: it becomes, or became, a public room's."""
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
        """The city's rooms that are not archived, in one of ORDERS: those that are for everybody, and those that these users
        were in or are invited to; for an admin all. With ``ids`` (or slugs) only those."""
        statement = select(rooms).where(~rooms.c.archived, _IS_PUBLIC)
        if ids:
            statement = statement.where(or_(rooms.c.id.in_(ids), rooms.c.slug.in_(ids)))
        if not is_admin:
            statement = statement.where(or_(room_is_listed(), *_was_in(users)))
        rows = await self._connection.execute(statement.order_by(*ORDERS[sort]).limit(limit).offset(offset))
        return [_room(row) for row in rows]

    async def some(self, ids: Collection[RoomId]) -> list[Room]:
        """The rooms with these ids, direct chats not among them."""
        return await self._some(and_(rooms.c.id.in_(ids), rooms.c.agent.is_(None))) if ids else []

    async def unlisted(self) -> dict[RoomId, str]:
        """The city's rooms of which not everybody may know, with their slugs."""
        rows = await self._connection.execute(select(rooms.c.id, rooms.c.slug).where(_IS_PUBLIC, ~room_is_listed()))
        return {RoomId(row.id): row.slug for row in rows}

    async def get(self, room: RoomId) -> Room | None:
        """A public room or a direct chat."""
        row = (await self._connection.execute(select(rooms).where(rooms.c.id == room))).first()
        return _room(row) if row else None

    async def find(self, id_or_slug: str) -> Room | None:
        """A public room."""
        row = (await self._connection.execute(_with_name(id_or_slug))).first()
        return _room(row) if row else None

    async def hold(self, id_or_slug: str) -> Room | None:
        """Find a public room; whoever else wants to write to it waits until this transaction ends."""
        row = (await self._connection.execute(_with_name(id_or_slug).with_for_update(key_share=True))).first()
        return _room(row) if row else None

    async def hold_any(self, room: RoomId) -> Room | None:
        """The same with a public room or a direct chat."""
        held = select(rooms).where(rooms.c.id == room).with_for_update(key_share=True)
        row = (await self._connection.execute(held)).first()
        return _room(row) if row else None

    async def by_matrix_id(self, matrix_room: MatrixRoomId) -> Room | None:
        row = (await self._connection.execute(select(rooms).where(rooms.c.matrix_room_id == matrix_room))).first()
        return _room(row) if row else None

    async def by_former_id(self, matrix_room: MatrixRoomId) -> Room | None:
        """The room that had this Matrix room before its Matrix room was replaced."""
        of_former = select(former_matrix_rooms.c.room_id).where(former_matrix_rooms.c.matrix_room_id == matrix_room)
        row = (await self._connection.execute(select(rooms).where(rooms.c.id.in_(of_former)))).first()
        return _room(row) if row else None

    async def former_ids(self) -> list[tuple[MatrixRoomId, RoomId]]:
        found = await self._connection.execute(select(former_matrix_rooms))
        return [(MatrixRoomId(row.matrix_room_id), RoomId(row.room_id)) for row in found]

    async def next_seq(self, room: RoomId, *, now_ms: int) -> int:
        """Take the room's next number, for a message; holds back whoever else wants one until this transaction ends."""
        seq = await self._connection.execute(
            update(rooms)
            .where(rooms.c.id == room)
            .values(
                last_seq=rooms.c.last_seq + 1,
                message_count=rooms.c.message_count + 1,
                popularity=rooms.c.popularity + _weight(now_ms),
                # Of what comes in late, or from a server whose clock is behind, the time may be an earlier one.
                last_event_ms=case((rooms.c.last_event_ms > now_ms, rooms.c.last_event_ms), else_=now_ms),
            )
            .returning(rooms.c.last_seq)
        )
        return int(seq.scalar_one())

    async def next_seqs(self, room: RoomId, count: int) -> tuple[range, HistoryVisibility]:
        """Take several numbers, for what is no message, and how it may be read; holds back whoever else wants one, too."""
        seq = await self._connection.execute(
            update(rooms)
            .where(rooms.c.id == room)
            .values(last_seq=rooms.c.last_seq + count)
            .returning(rooms.c.last_seq, rooms.c.history_visibility)
        )
        last, visibility = seq.one()
        return range(last - count + 1, last + 1), HistoryVisibility(visibility)

    async def renumber(self, room: RoomId, first: int, *, by: int) -> None:
        """Raise all numbers of the room's history from ``first`` on; they must get beyond all that were given."""
        await raise_numbers(self._connection, room, first, by=by)

    async def earlier_seq(self, room: RoomId) -> int:
        """Take a number before all others: for history that comes in later than what followed it."""
        seq = await self._connection.execute(
            update(rooms)
            .where(rooms.c.id == room)
            .values(first_seq=rooms.c.first_seq - 1, message_count=rooms.c.message_count + 1)
            .returning(rooms.c.first_seq)
        )
        return int(seq.scalar_one())

    async def change(self, room: Room) -> None:
        """Have a room called, described and archived like this."""
        await self._set(room.id, name=room.name, description=room.description, archived=room.archived)
        await registry_changed(self._connection)

    async def has_on_matrix(self, room: RoomId, *, name: str | None = None, topic: str | None = None) -> None:
        """The Matrix room is called or described like this, whatever the city's is."""
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
        """How the Matrix room is governed. Of a room that was closed there the power levels are those from before."""
        values: dict[str, Any] = {"power_levels": power_levels} if power_levels is not None else {}
        if join_rule is not None:
            values["join_rule"] = join_rule
        if history_visibility is not None:
            values |= _visibility(history_visibility)
        await self._set(room, **values)
        if join_rule is not None or history_visibility is not None:
            # Whether everybody may know of the room, and so of who lives there.
            await registry_changed(self._connection)

    async def is_visibility_known(self, room: RoomId) -> bool:
        """Whether the history visibility is what the homeserver said, not what was assumed."""
        return bool(await self._connection.scalar(select(rooms.c.visibility_known).where(rooms.c.id == room)))

    async def first_visibility(self, room: RoomId, visibility: HistoryVisibility, *, since_ms: int | None) -> None:
        """Take what was stored before the history visibility was for what it was on Matrix.

        ``since_ms`` is when it was last set there. What was said before that keeps what was assumed of it; where it was assumed
        to be for members and is for everybody, it is for everybody from then on.
        """
        for table, at in ((messages, "created_at_ms"), (room_events, "at_ms"), (feed, "created_at_ms")):
            await self._connection.execute(
                update(table)
                .where(table.c.room_id == room, table.c[at] >= (since_ms or 0))
                .values(visibility=visibility)
            )

    async def has_private(self, room: RoomId) -> None:
        """Something of what was said there is not for everybody."""
        await self._set(room, was_private=True)

    async def encrypted(self, room: RoomId, *, is_on: bool = True) -> None:
        """Whether encryption is on. Nobody can turn it off, but whoever turned it on may turn out not to have been allowed to."""
        await self._set(room, encrypted=is_on)

    async def link(
        self,
        room: RoomId,
        matrix_room: MatrixRoomId,
        visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE,
    ) -> None:
        """``matrix_room`` is this room's other side from now on; it is not in order yet."""
        await self._link(room, matrix_room, told_archived=False, **_visibility(visibility))

    async def move(
        self,
        room: RoomId,
        matrix_room: MatrixRoomId,
        *,
        former: MatrixRoomId,
        visibility: HistoryVisibility = HistoryVisibility.WORLD_READABLE,
    ) -> None:
        """``former`` was replaced on Matrix by ``matrix_room``, which is closed if that was.

        The room is pending until those who belong there have come along.
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
    """What a message adds to its room's popularity.

    Instead of letting what was said lose weight as time goes by, which would change every room at every moment, what is
    said later weighs more ("forward decay", Cormode et al. 2009): the order of the rooms is the same. After
    1,000 half-lives, in 2045, the numbers would grow beyond what a column holds, and grow no more.
    """
    return float(2.0 ** min(max(0.0, (at_ms - _EPOCH_MS) / _HALF_LIFE_MS), 1000.0))


def _with_name(id_or_slug: str) -> Select[Any]:
    return select(rooms).where((rooms.c.id == id_or_slug) | (rooms.c.slug == id_or_slug), _IS_PUBLIC).limit(1)


def _visibility(visibility: HistoryVisibility, *, is_new: bool = False) -> dict[str, Any]:
    """Who may read the room from now on, and, of what was said there at any time, whether all of it is of one sort."""
    is_public = visibility is HistoryVisibility.WORLD_READABLE
    values: dict[str, Any] = {"history_visibility": visibility, "visibility_known": True}
    if is_new:
        return values | {"was_public": is_public, "was_private": not is_public}
    return values | ({"was_public": True} if is_public else {"was_private": True})


def _was_in(users: Collection[UserId]) -> list[ColumnElement[bool]]:
    """Whether these users are, were, or are invited in a row of ``rooms``."""
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
