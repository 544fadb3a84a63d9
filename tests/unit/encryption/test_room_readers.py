"""The members of encrypted rooms in memory, while they change."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from daarion_appservice.city.types import AgentSlug, MatrixRoomId, Room, RoomId, UserId
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.encryption.room_readers import RoomReadersCache

ALICE, BOB, SCRIBE = UserId("@alice:city"), UserId("@bob:city"), UserId("@agent_scribe:city")
ROOM = MatrixRoomId("!room:city")
CHAT = Room(RoomId("r"), "r", "Room", "", False, False, 0, agent=AgentSlug("scribe"), matrix_room_id=ROOM)


class Members:
    """A homeserver that returns the members of the time of the request when `answer` is called."""

    def __init__(self) -> None:
        self.members = {ALICE: "join", SCRIBE: "join"}
        self._waiting: list[tuple[asyncio.Future[dict[UserId, str]], dict[UserId, str]]] = []

    async def readers(self, _room: MatrixRoomId, **_: object) -> dict[UserId, str]:
        response: asyncio.Future[dict[UserId, str]] = asyncio.get_running_loop().create_future()
        self._waiting.append((response, dict(self.members)))
        return await response

    async def state(self, *_: object, **__: object) -> dict[str, Any]:
        return {}

    async def answer(self, index: int = 0) -> None:
        await asyncio.sleep(0)
        response, members = self._waiting.pop(index)
        response.set_result(members)
        for _ in range(3):
            await asyncio.sleep(0)


async def test_readers_read_before_a_change_are_not_kept() -> None:
    homeserver = Members()
    rooms = RoomReadersCache(cast("Homeserver", homeserver), lambda user: user == SCRIBE)
    tasks = [asyncio.create_task(rooms.readers(CHAT, as_ghost=SCRIBE)) for _ in range(2)]
    await asyncio.sleep(0)

    homeserver.members[BOB] = "join"
    rooms.forget(ROOM)
    await homeserver.answer()
    await homeserver.answer()
    await asyncio.gather(*tasks)

    later = asyncio.create_task(rooms.readers(CHAT, as_ghost=SCRIBE))
    await homeserver.answer()
    assert (await later).users == {ALICE, BOB}
    assert await rooms.readers(CHAT, as_ghost=SCRIBE) == await later


async def test_readers_are_not_kept_over_a_change_of_all() -> None:
    homeserver = Members()
    rooms = RoomReadersCache(cast("Homeserver", homeserver), lambda user: user == SCRIBE)
    task = asyncio.create_task(rooms.readers(CHAT, as_ghost=SCRIBE))
    await asyncio.sleep(0)

    rooms.forget_all()
    homeserver.members[BOB] = "join"
    await homeserver.answer()
    await task

    later = asyncio.create_task(rooms.readers(CHAT, as_ghost=SCRIBE))
    await homeserver.answer()
    assert (await later).users == {ALICE, BOB}
