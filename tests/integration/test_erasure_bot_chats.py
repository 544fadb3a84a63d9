"""Chats with the bot of an erased person, also of one who comes back before the homeserver's data is erased."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock

import pytest
from sqlalchemy import select

from daarion_appservice.city.types import MatrixRoomId
from daarion_appservice.clock import now_ms
from daarion_appservice.erasure.homeserver_data import HomeserverDataErasure
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.storage import tables
from daarion_appservice.storage.personal_data.erasures import ErasureState, StoredErasure
from tests.parts.city import ADMIN_TOKEN
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.person_rows import CITIZEN, USER, add_person

OLD, NEW = MatrixRoomId("!bot"), MatrixRoomId("!bot_again")
MINUTE_MS = 60_000


async def erase_in_city(city: InProcessCity) -> StoredErasure:
    """Erase the city's data of the person, while the homeserver is unavailable."""
    await add_person(city.city.database)
    await city.city.account_cache.load()
    answer = await city.call("DELETE", f"/api/v1/people/{CITIZEN}", token=ADMIN_TOKEN)
    city.city.erasures._settling_ms = 0
    await city.city.erasures.step()
    async with city.city.database.read_only() as tx:
        erasure = await tx.erasures.get(answer.content["id"])
    assert erasure is not None
    assert erasure.state is ErasureState.MATRIX
    return erasure


async def invite(city: InProcessCity, room: str, user: str, at_ms: int) -> None:
    content = {"membership": "invite", "is_direct": True}
    event = {"event_id": f"${room}{at_ms}", "type": "m.room.member", "room_id": room, "sender": USER, "state_key": user}
    await city.handle(event | {"content": content, "origin_server_ts": at_ms})


async def bot_chats(city: InProcessCity) -> set[str]:
    async with city.city.database.read_only() as tx:
        return set(await tx.connection.scalars(select(tables.bot_chats.c.matrix_room_id)))


def homeserver_data(city: InProcessCity) -> tuple[HomeserverDataErasure, Any]:
    homeserver = AsyncMock(spec=Homeserver)
    homeserver.joined_rooms.return_value = homeserver.invitations.return_value = set()
    homeserver.state_event.return_value = None
    homeserver.events_by.return_value = ([], None)
    return HomeserverDataErasure(homeserver, city.city.database, city.city.identities), homeserver


@pytest.mark.parametrize("room", [NEW, OLD])
async def test_chat_of_returned_person_stays(database_url: str, room: MatrixRoomId) -> None:
    async with in_process_city(database_url) as city:
        erasure = await erase_in_city(city)
        assert erasure.data_subject is not None
        assert await bot_chats(city) == set()
        assert (OLD, city.city.identities.bot) in erasure.plan.chats
        await invite(city, room, city.city.identities.bot, now_ms() + MINUTE_MS)
        assert await bot_chats(city) == {room}
        data, homeserver = homeserver_data(city)
        await data.run(erasure, erasure.data_subject)
        await city.city.erasures._finish(erasure, erasure.data_subject)
        assert await bot_chats(city) == {room}
        left = {call.args[0] for call in homeserver.leave.call_args_list}
        assert (OLD in left, NEW in left) == (room == NEW, False)


async def test_late_invitation_of_erased_person_has_no_effect(database_url: str) -> None:
    async with in_process_city(database_url) as city:
        await erase_in_city(city)
        for user in (city.city.identities.bot, "@agent_scribe:city.localhost"):
            await invite(city, NEW, user, now_ms() - MINUTE_MS)
        assert await bot_chats(city) == set()
        async with city.city.database.read_only() as tx:
            rooms = tables.rooms.c
            assert not list(await tx.connection.scalars(select(rooms.id).where(rooms.matrix_room_id == NEW)))
