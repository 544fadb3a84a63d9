"""The city's reading routes on FastAPI and asyncpg, from the same tables: rooms, one room with its last messages, older ones.

Its fastest configuration: uvicorn with uvloop and httptools and without a log, one process like this service, statements that
asyncpg prepares once, dictionaries encoded by orjson without models. Presence is in memory, like here; no subject is online.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import asyncpg
import orjson
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Response

HOST: Final = "127.0.0.1"
DOMAIN: Final = "city.localhost"
_LAST_MESSAGES: Final = 50
_EXCERPT_CHARS: Final = 140
_KEEP_ALIVE_S: Final = 600
"""No connection may time out during the turn of another server."""
_PREFIXES: Final = {"agent": "@agent_", "citizen": "@citizen_"}
_NONE: Final = "[]"

_ROOM_COLUMNS: Final = (
    "id, slug, name, description, is_default, archived, history_visibility, created_at_ms, last_seq, last_event_ms, "
    "matrix_room_id, matrix_status, matrix_error, encrypted, pinned_events"
)
_MESSAGE_COLUMNS: Final = (
    "id, room_id, seq, author_kind, author_id, author_name, author_avatar, body, formatted_body, msgtype, media, mentions, "
    "reactions, reply_to, thread_root, client_id, created_at_ms, edited_at_ms, deleted, matrix_event_id, delivery, delivery_error"
)
_ORDERS: Final = {
    "popular": "popularity DESC, slug",
    "recent": "coalesce(last_event_ms, created_at_ms) DESC, slug",
    "name": "lower(name), slug",
}
_NEWEST: Final = (
    "SELECT id AS message_id, seq, author_kind, author_id, author_name, author_avatar, body, msgtype, "
    "messages.created_at_ms AS said_at_ms FROM messages WHERE room_id = listed.id AND NOT deleted AND thread_root IS NULL "
    "ORDER BY seq DESC LIMIT 1"
)
_LISTS: Final = {
    sort: (
        f"SELECT * FROM (SELECT {_ROOM_COLUMNS}, row_number() OVER (ORDER BY {order}) AS place FROM rooms WHERE NOT archived "
        f"ORDER BY place LIMIT $1 OFFSET $2) listed LEFT JOIN LATERAL ({_NEWEST}) newest ON true ORDER BY place"
    )
    for sort, order in _ORDERS.items()
}
_ROOM: Final = f"SELECT {_ROOM_COLUMNS} FROM rooms WHERE id = $1 OR slug = $1 LIMIT 1"
_LAST: Final = f"SELECT {_MESSAGE_COLUMNS} FROM messages WHERE room_id = $1 ORDER BY seq DESC LIMIT $2"
_BEFORE: Final = f"SELECT {_MESSAGE_COLUMNS} FROM messages WHERE room_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"


def application(database_url: str) -> FastAPI:
    members_online: Counter[str] = Counter()

    @asynccontextmanager
    async def connected(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(database_url, min_size=8, max_size=8) as app.state.pool:
            yield

    app = FastAPI(lifespan=connected)

    @app.get("/city/rooms")
    async def list_rooms(
        sort: Literal["popular", "recent", "name"] = "popular",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        rows = await app.state.pool.fetch(_LISTS[sort], limit, offset)
        return _json([_room(row, members_online) | {"last_message": _last_message(row)} for row in rows])

    @app.get("/city/rooms/{room_id}")
    async def show_room(room_id: str) -> Response:
        async with app.state.pool.acquire() as connection:
            room = await _found(connection, room_id)
            rows = await connection.fetch(_LAST, room["id"], _LAST_MESSAGES)
        messages = [_message(row) for row in reversed(rows)]
        content = {
            "messages": messages,
            "online_members": [],
            "may_read": True,
            "rights": None,
            "writers": "everyone",
            "removal": None,
            "has_older": len(rows) == _LAST_MESSAGES,
        }
        return _json(_room(room, members_online) | content)

    @app.get("/city/rooms/{room_id}/messages")
    async def list_messages(
        room_id: str,
        before: Annotated[int | None, Query(ge=-(1 << 53), le=1 << 53)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Response:
        async with app.state.pool.acquire() as connection:
            room = await _found(connection, room_id)
            if before is None:
                rows = await connection.fetch(_LAST, room["id"], limit)
            else:
                rows = await connection.fetch(_BEFORE, room["id"], before, limit)
        return _json([_message(row) for row in reversed(rows)])

    return app


async def _found(connection: Any, room_id: str) -> Any:
    room = await connection.fetchrow(_ROOM, room_id)
    if room is None:
        raise HTTPException(404, f"there is no room {room_id!r}")
    return room


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _moment(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _room(row: Any, members_online: Counter[str]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "slug": row["slug"],
        "name": row["name"],
        "description": row["description"],
        "avatar_url": None,  # the measured rooms have no picture
        "members_online": members_online[row["id"]],
        "last_event": _moment(row["last_event_ms"]),
        "last_seq": row["last_seq"],
        "matrix_room_id": row["matrix_room_id"],
        "matrix_room_alias": f"#city_{row['slug']}:{DOMAIN}",
        "matrix_status": row["matrix_status"],
        "matrix_error": row["matrix_error"],
        "encrypted": row["encrypted"],
        "is_default": row["is_default"],
        "archived": row["archived"],
        "history_visibility": row["history_visibility"],
        "is_public": row["history_visibility"] == "world_readable",
        "created_at": _moment(row["created_at_ms"]),
        "pins": len(_list(row["pinned_events"] or _NONE)),
    }


def _last_message(row: Any) -> dict[str, Any] | None:
    if row["message_id"] is None:
        return None
    return {
        "id": row["message_id"],
        "seq": row["seq"],
        "author": _author(row),
        "text": " ".join(row["body"].split())[:_EXCERPT_CHARS],
        "msgtype": row["msgtype"],
        "created_at": _moment(row["said_at_ms"]),
    }


def _author(row: Any) -> dict[str, Any]:
    kind, author_id = row["author_kind"], row["author_id"]
    return {
        "kind": kind,
        "id": author_id,
        "display_name": row["author_name"],
        "matrix_user_id": f"{_PREFIXES[kind]}{author_id}:{DOMAIN}" if kind in _PREFIXES else author_id,
        "avatar_url": row["author_avatar"],
    }


def _message(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "room_id": row["room_id"],
        "seq": row["seq"],
        "author": _author(row),
        "body": row["body"],
        "formatted_body": row["formatted_body"],
        "msgtype": row["msgtype"],
        "media": orjson.loads(row["media"]) if row["media"] else None,
        "poll": None,
        "location": None,
        "unsupported": False,
        "original_type": None,
        "mentions_room": False,
        "mentions": _list(row["mentions"]),
        "reply_to": row["reply_to"],
        "thread_root": row["thread_root"],
        "thread": None,
        "reactions": _list(row["reactions"]),
        "edited_at": _moment(row["edited_at_ms"]),
        "deleted": row["deleted"],
        "created_at": _moment(row["created_at_ms"]),
        "matrix_event_id": row["matrix_event_id"],
        "delivery": row["delivery"],
        "delivery_error": row["delivery_error"],
        "client_id": row["client_id"],
    }


def _list(text: str) -> Any:
    return [] if text == _NONE else orjson.loads(text)


def serve(port: int, database_url: str) -> None:
    app = application(database_url)
    uvicorn.run(
        app,
        host=HOST,
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=_KEEP_ALIVE_S,
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
