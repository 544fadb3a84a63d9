"""SIGKILL of the service while it deletes a large room: the next start finishes the deletion."""

from __future__ import annotations

from sqlalchemy import func, insert, select

from daarion_appservice.storage import tables
from daarion_appservice.storage.database import Database
from tests.faults.test_killed import ON_SQLITE
from tests.parts.city import ADMIN_TOKEN, RunningCity, StartCity, eventually

COUNT = 20_000
ROOM = "city_builders"
MESSAGE = {
    "room_id": ROOM,
    "author_kind": "citizen",
    "author_id": "u_1",
    "author_name": "Оксана",
    "body": "x",
    "msgtype": "m.text",
    "created_at_ms": 1,
    "delivery": "sent",
}


@ON_SQLITE
async def test_deletion_of_large_room_survives_kill(start_city: StartCity) -> None:
    city = await start_city()
    database = Database(city.database_url)
    try:
        async with database.transaction() as tx:
            await tx.connection.execute(
                insert(tables.messages),
                [MESSAGE | {"id": f"m{number}", "seq": 1_000 + number} for number in range(COUNT)],
            )
            await tx.connection.execute(
                tables.rooms.update().where(tables.rooms.c.id == ROOM).values(last_seq=1_000 + COUNT)
            )
        assert (await city.call("DELETE", "/city/rooms/builders", token=ADMIN_TOKEN))[0] == 202
        city.service.kill()
        assert await _left(database) < COUNT
        await city.start()
        await eventually(lambda: _is_gone(city))
        assert await _left(database) == 0
    finally:
        await database.close()


async def _left(database: Database) -> int:
    table = tables.messages.c
    async with database.read_only() as tx:
        return await tx.connection.scalar(select(func.count()).where(table.room_id == ROOM)) or 0


async def _is_gone(city: RunningCity) -> bool:
    return (await city.call("GET", "/city/rooms/builders"))[0] == 404
