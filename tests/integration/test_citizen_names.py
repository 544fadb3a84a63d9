"""Names of citizens who were never in a room: stored with a heartbeat, read in bulk."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.erased_people import ErasedId, digest_of
from daarion_appservice.city.types import CitizenId
from daarion_appservice.realtime.citizen_names import CitizenNames
from daarion_appservice.storage.database import Database
from tests.parts.city import citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.messaging import IDENTITIES
from tests.parts.ports import HOST


async def call(city: InProcessCity, method: str, path: str, token: str | None = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"http://{HOST}:{city.city.settings.api.port}{path}"
    async with city.session.request(method, url, headers=headers, json={} if method == "POST" else None) as answer:
        return answer.status, await answer.json(content_type=None)


async def names(city: InProcessCity, ids: str) -> dict[str, str | None]:
    status, answer = await call(city, "GET", f"/city/citizens?ids={ids}", citizen_token("u_9"))
    assert status == 200, answer
    return {each["id"]: each["display_name"] for each in answer["citizens"]}


async def test_name_known_after_heartbeat_by_http_and_socket(database_url: str) -> None:
    async with in_process_city(database_url) as city:
        assert (await call(city, "POST", "/api/v1/presence/heartbeat", citizen_token("u_1", "Оксана")))[0] == 200
        url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/presence"
        async with city.session.ws_connect(url, params={"token": citizen_token("u_2", "Тарас")}) as socket:
            await socket.send_json({"event": "presence.heartbeat", "user_id": "u_2"})
            while (await next_frame(socket))["event"] != "presence.update":
                pass
        assert await names(city, "u_2,u_1,u_3") == {"u_2": "Тарас", "u_1": "Оксана", "u_3": None}

        await call(city, "POST", "/api/v1/presence/heartbeat", citizen_token("u_1", "Оксана П."))
        assert await names(city, "u_1") == {"u_1": "Оксана П."}


async def test_token_without_name_stores_none(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url) as city:
        await call(city, "POST", "/api/v1/presence/heartbeat", citizen_token("u_1"))
        assert await names(city, "u_1") == {"u_1": None}


@pytest.mark.parametrize("ids", ["", ",", ",".join(f"u_{number}" for number in range(201))])
async def test_wrong_number_of_ids_refused(sqlite_url: str, ids: str) -> None:
    async with in_process_city(sqlite_url) as city:
        assert (await call(city, "GET", f"/city/citizens?ids={ids}"))[0] == 422


async def test_names_need_token_when_reading_does(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, api={"anonymous_read": False}) as city:
        assert (await call(city, "GET", "/city/citizens?ids=u_1"))[0] == 401


async def test_heartbeat_goes_on_without_database(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    known = CitizenNames(database, IDENTITIES, lambda _: None, lambda: 1)
    async with database.transaction() as tx:
        await tx.connection.exec_driver_sql("ALTER TABLE citizens RENAME TO gone")
    await known.record(CitizenId("u_1"), "Оксана")
    async with database.transaction() as tx:
        await tx.connection.exec_driver_sql("ALTER TABLE gone RENAME TO citizens")
    await known.record(CitizenId("u_1"), "Оксана")
    assert await known.of([CitizenId("u_1")]) == {"u_1": "Оксана"}
    await database.close()


async def test_name_is_stored_again_after_erasure(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url) as city:
        known, identities = city.city.citizen_names, city.city.identities
        await known.record(CitizenId("u_1"), "Оксана")
        async with city.city.database.transaction() as tx:
            await tx.connection.exec_driver_sql("DELETE FROM citizens")
        identities.erased.replace({digest_of("u_1"): ErasedId("E1", 1, 1)})
        await known.record(CitizenId("u_1"), "Оксана")
        assert await names(city, "u_1") == {"u_1": "Оксана"}
