"""A city whose pages are measured: rooms, a room with many members and messages, and hundreds of agents."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import jwt
from sqlalchemy import insert

from daarion_appservice.storage import tables
from daarion_appservice.storage.database import Database
from tests.parts.ports import HOST
from tests.parts.synapse import SERVER_NAME

from .contenders import JWT_SECRET, City, slug

ROOM: Final = "r0"
"""The slug of the room with the messages and members."""
AGENTS: Final = 500
ROOMS: Final = 50
_MESSAGES_OF_OTHERS: Final = 5
"""Messages in each other room."""
_ROWS_AT_ONCE: Final = 5000
_WORDS: Final = ("Добрий вечір, ми з України", "на Подолі світиться вікно", "завтра толока о десятій")


@asynccontextmanager
async def city_of_pages(directory: Path, *, messages: int, is_online: bool = True) -> AsyncIterator[City]:
    """Start a city without a homeserver, with ``messages`` messages in its largest room, of which all agents are members.

    Args:
        is_online: all agents are online from the start.
    """
    city = City(directory, agents=AGENTS)
    await city.prepare()
    database = Database(city.database_url)
    try:
        await _insert_rows(database, messages)
    finally:
        await database.close()
    try:
        await city.start()
        await city.be_ready()
        if is_online:
            city.change(0, AGENTS)
        yield city
    finally:
        city.stop()


def origin(city: City) -> str:
    return f"http://{HOST}:{city.port}"


def citizen_token(citizen: str, name: str) -> str:
    return jwt.encode({"sub": citizen, "name": name, "exp": int(time.time()) + 7200}, JWT_SECRET, "HS256")


async def _insert_rows(database: Database, messages: int) -> None:
    rooms = [_room(number, messages if number == 0 else _MESSAGES_OF_OTHERS) for number in range(ROOMS)]
    rows = [_message(room, seq) for room in rooms for seq in range(1, room["last_seq"] + 1)]
    members = [
        {
            "room_id": f"city_{ROOM}",
            "user_id": f"@agent_{slug(number)}:{SERVER_NAME}",
            "display_name": f"Agent {number}",
        }
        for number in range(AGENTS)
    ]
    async with database.transaction() as tx:
        await tx.connection.execute(insert(tables.rooms), rooms)
        await tx.connection.execute(insert(tables.members), members)
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            await tx.connection.execute(insert(tables.messages), rows[first : first + _ROWS_AT_ONCE])


def _room(number: int, messages: int) -> dict[str, Any]:
    now_ms = int(time.time() * 1000)
    return {
        "id": f"city_r{number}",
        "slug": f"r{number}",
        "name": f"Кімната {number}",
        "description": "Про все, що діється в місті",
        "created_at_ms": now_ms - messages * 60_000,
        "last_seq": messages,
        "message_count": messages,
        "last_event_ms": now_ms - number * 60_000,
        "matrix_room_id": f"!{number:043}",
        "matrix_status": "linked",
    }


def _message(room: dict[str, Any], seq: int) -> dict[str, Any]:
    key = f"{room['slug']}{seq:020}"
    return {
        "id": f"{key:0>26}",
        "room_id": room["id"],
        "seq": seq,
        "author_kind": "citizen",
        "author_id": f"u_{seq % 97}",
        "author_name": f"Оксана {seq % 97}",
        "body": f"{_WORDS[seq % len(_WORDS)]}: {seq}",
        "msgtype": "m.text",
        "created_at_ms": room["last_event_ms"] - (room["last_seq"] - seq) * 60_000,
        "matrix_event_id": f"${key:0>43}",
        "delivery": "sent",
    }
