"""Statements about rooms that each message needs, built once: for each message that would take as long as executing them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Float, Select, String, bindparam, case, exists, select, update

from .room_columns import IS_CITY_ROOM
from .tables import members, messages, rooms


def with_name(id_or_slug: ColumnElement[str] | str) -> Select[Any]:
    return select(rooms).where((rooms.c.id == id_or_slug) | (rooms.c.slug == id_or_slug), IS_CITY_ROOM).limit(1)


IS_ROOM: Final = rooms.c.id == bindparam("room")
GET: Final = select(rooms).where(IS_ROOM)
LOCK_ANY: Final = GET.with_for_update(key_share=True)
LOCK: Final = with_name(bindparam("name", type_=String)).with_for_update(key_share=True)
OF_MATRIX_ROOM: Final = select(rooms).where(rooms.c.matrix_room_id == bindparam("matrix_room"))
OF_MESSAGE: Final = (
    select(
        rooms,
        members.c.user_id.label("sender"),
        members.c.display_name.label("sender_name"),
        members.c.avatar_url.label("sender_avatar"),
        exists().where(messages.c.matrix_event_id == bindparam("event")).label("is_stored"),
    )
    .join_from(
        rooms, members, (members.c.room_id == rooms.c.id) & (members.c.user_id == bindparam("sender")), isouter=True
    )
    .where(rooms.c.matrix_room_id == bindparam("matrix_room"))
)
WITH_MESSAGE: Final = (
    select(rooms, messages)
    .join_from(rooms, messages, messages.c.id == bindparam("message"), isouter=True)
    .where(IS_ROOM)
)
ROOM_COLUMNS: Final = len(rooms.c)
NEXT_SEQ: Final = (
    update(rooms)
    .where(IS_ROOM)
    .values(
        last_seq=rooms.c.last_seq + 1,
        message_count=rooms.c.message_count + 1,
        popularity=rooms.c.popularity + bindparam("weight", type_=Float),
        # Messages that arrive late, or from a server whose clock is slow, may have an earlier time.
        last_event_ms=case(
            (rooms.c.last_event_ms > bindparam("now_ms"), rooms.c.last_event_ms),
            else_=bindparam("now_ms", type_=BigInteger),
        ),
    )
    .returning(rooms.c.last_seq)
)
NEXT_SEQS: Final = (
    update(rooms)
    .where(IS_ROOM)
    .values(last_seq=rooms.c.last_seq + bindparam("count", type_=BigInteger))
    .returning(rooms.c.last_seq, rooms.c.history_visibility)
)
