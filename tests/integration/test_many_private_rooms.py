"""A reader who is a member of very many private rooms, and left others."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from daarion_appservice.city.types import RoomId, UserId
from daarion_appservice.storage import tables as t
from daarion_appservice.storage.membership_periods import _MOST_ROOMS
from tests.parts.in_process_city import in_process_city
from tests.parts.private_room import OKSANA, OKSANA_GHOST, TARAS

PRIVATE: dict[str, Any] = {
    "name": "x",
    "created_at_ms": 1,
    "join_rule": "invite",
    "history_visibility": "joined",
    "was_public": False,
    "was_private": True,
    "matrix_status": "linked",
}


async def test_lasting_memberships_count_before_past_ones(database_url: str) -> None:
    names = [f"private_{number:03}" for number in range(_MOST_ROOMS)]
    async with in_process_city(database_url) as city:
        message = await city.call("POST", "/city/rooms/general/messages", {"body": "here"}, token=TARAS)
        assert message.status == 201
        async with city.city.database.transaction() as tx:
            await tx.connection.execute(insert(t.rooms), [PRIVATE | {"id": each, "slug": each} for each in names])
            past = [
                {"room_id": "city_general", "start_seq": 10 * seq, "end_seq": 10 * seq + 1} for seq in range(10, 99)
            ]
            lasting: list[dict[str, Any]] = [{"room_id": each, "start_seq": 1, "end_seq": None} for each in names]
            await tx.connection.execute(
                insert(t.membership_periods),
                [each | {"user_id": OKSANA_GHOST, "joined_seq": each["start_seq"]} for each in (*past, *lasting)],
            )
            await tx.rooms.mark_private(RoomId("city_general"))
        async with city.city.database.read_only() as tx:
            found = await tx.membership_periods.ranges_by_room([UserId(OKSANA_GHOST)])
        assert found.keys() >= set(names), "also those that were joined before all others were left"
        # As many conditions as there are at most, in the queries of both databases.
        assert [each["kind"] for each in await city.get("/city/feed", token=OKSANA)]
        assert (await city.call("GET", "/city/media/city.localhost/none", token=OKSANA)).status == 404
