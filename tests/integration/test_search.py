"""The route ``/city/search``: what is found, by whom, and in which pages."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import delete, event, text

from daarion_appservice.city.search import found_excerpt, search_terms
from daarion_appservice.city.types import Content, EventId, HistoryVisibility
from daarion_appservice.realtime.search_indexer import SearchIndexer
from daarion_appservice.storage import tables
from daarion_appservice.storage.search import SearchFilter
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city

OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url, limits={"searches": ""}) as city:
        yield city


async def say(city: InProcessCity, body: str, token: str = TARAS, room: str = "general", **more: Any) -> dict[str, Any]:
    answer = await city.call("POST", f"/city/rooms/{room}/messages", {"body": body} | more, token=token)
    assert answer.status == 201, answer
    content: dict[str, Any] = answer.content
    return content


async def search(city: InProcessCity, q: str, token: str | None = OKSANA, **query: Any) -> Any:
    return await city.get("/city/search?" + urlencode({"q": q} | query), token=token)


async def found(city: InProcessCity, q: str, token: str | None = OKSANA, **query: Any) -> list[str]:
    return [each["message"]["body"] for each in (await search(city, q, token, **query))["results"]]


async def test_messages_are_found_newest_first(city: InProcessCity) -> None:
    await say(city, "Чекаю біля фунікулера")
    await say(city, "**Фунікулер** стоїть", room="builders")
    await say(city, "нічого")
    results = (await search(city, "фунікулером", None))["results"]
    assert [each["message"]["body"] for each in results] == ["**Фунікулер** стоїть", "Чекаю біля фунікулера"]
    assert results[0]["room"] == {"id": "city_builders", "slug": "builders", "name": "Builders"}
    assert results[0]["excerpt"] == "Фунікулер стоїть"
    assert results[0]["highlights"] == [[0, 9]]
    assert await found(city, "фунікулер нічого") == []


async def test_edits_and_deletions_are_followed(city: InProcessCity) -> None:
    message = await say(city, "перше слово")
    path = f"/city/rooms/general/messages/{message['id']}"
    await city.call("PATCH", path, {"body": "друге речення"}, token=TARAS)
    assert await found(city, "слово") == []
    assert await found(city, "речення") == ["друге речення"]
    await city.call("DELETE", path, token=TARAS)
    assert await found(city, "речення") == []
    async with city.city.database.read_only() as tx:
        assert (await tx.connection.execute(tables.search_entries.select())).all() == []


async def test_filters_limit_results(city: InProcessCity) -> None:
    await say(city, "кава у Тараса")
    await say(city, "кава в Оксани", OKSANA)
    await say(city, "кава будівельників", room="builders")
    assert await found(city, "кава", author="u_1") == ["кава в Оксани"]
    assert await found(city, "кава", room="builders") == ["кава будівельників"]
    assert await found(city, "кава", room="city_builders", author="u_1") == []
    assert await found(city, "кава", before="2020-01-01") == []
    assert len(await found(city, "кава", after="2020-01-01", before="2100-01-01T00:00:00Z")) == 3
    assert await found(city, "кава", author="agent:nobody") == []


async def test_pages_follow_each_other(city: InProcessCity) -> None:
    for number in range(5):
        await say(city, f"сторінка {number}")
    bodies: list[str] = []
    cursor = None
    while cursor is not None or not bodies:
        page = await search(city, "сторінка", limit=2, **({"cursor": cursor} if cursor else {}))
        bodies += [each["message"]["body"] for each in page["results"]]
        cursor = page["next_cursor"]
    assert bodies == [f"сторінка {number}" for number in range(4, -1, -1)]


async def test_pages_follow_each_other_beyond_the_newest(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daarion_appservice.storage.search._NEWEST", 2)
    await test_pages_follow_each_other(city)
    await say(city, "інше", room="builders")
    assert await found(city, "сторінка", room="general", limit=1) == ["сторінка 4"]
    assert await found(city, "сторінка", room="builders") == []
    assert await found(city, "сторінка", author="u_1") == []
    assert len(await found(city, "сторінка", None)) == 5


async def test_postgres_finds_rare_words_by_indexes(postgres_url: str) -> None:
    async with in_process_city(postgres_url, limits={"searches": ""}) as city:
        await say(city, "єдине слово")
        async with city.city.database.transaction() as tx:
            await tx.connection.execute(text(_MANY_MESSAGES))
            await tx.connection.execute(text(_MANY_ENTRIES))
            await tx.connection.execute(text("ANALYZE messages, search_entries"))
        executed: list[tuple[str, Any]] = []

        def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            executed.append((statement, parameters))

        async with city.city.database.read_only() as tx:
            event.listen(tx.connection.sync_connection, "before_cursor_execute", record)
            found = await tx.search.find(search_terms("єдине"), SearchFilter(), {}, limit=21)
            statement, parameters = executed[-1]
            plan = str((await tx.connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)).all())
        assert [each.message.body for each in found] == ["єдине слово"]
        assert "ix_search_entries_stems" in plan
        assert "Seq Scan on messages" not in plan


_MANY_MESSAGES = """
INSERT INTO messages SELECT (jsonb_populate_record(messages, jsonb_build_object(
    'id', '01ARZ3NDEKTSV4RRFF' || lpad(number::text, 8, '0'), 'seq', 100 + number, 'matrix_event_id', NULL
))).* FROM messages, generate_series(1, 20000) AS number
"""
_MANY_ENTRIES = """
INSERT INTO search_entries SELECT seq << 20, id, 'звичайн ' || seq FROM messages WHERE id LIKE '01ARZ3NDEKTSV4RRFF%'
"""


async def test_long_messages_are_parsed_in_a_thread(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    await say(city, "слово " * 400)
    await say(city, "слово")
    threads: list[str] = []

    def recorded(*parts: Any) -> Any:
        threads.append(threading.current_thread().name)
        return found_excerpt(*parts)

    monkeypatch.setattr("daarion_appservice.city.search.found_excerpt", recorded)
    assert len(await found(city, "слово")) == 2
    assert threads[0] == threading.main_thread().name
    assert threads[1].startswith("markup")


async def test_private_messages_are_found_by_readers_only(city: InProcessCity) -> None:
    await city.call("POST", "/city/rooms/builders/join", token=OKSANA)
    await city.call("POST", "/city/rooms/builders/join", token=TARAS)
    await say(city, "відкрита таємниця", room="builders")
    async with city.city.database.transaction() as tx:
        room = await tx.rooms.lock("builders")
        assert room is not None
        await tx.rooms.set_rules(room.id, join_rule="invite", history_visibility=HistoryVisibility.JOINED)
    await say(city, "закрита таємниця", room="builders")
    assert await found(city, "таємниця", TARAS) == ["закрита таємниця", "відкрита таємниця"]
    assert await found(city, "таємниця", TARAS, room="builders") == ["закрита таємниця", "відкрита таємниця"]
    stranger = citizen_token("u_3", "Чужа")
    for token in (None, stranger):
        assert await found(city, "таємниця", token) == ["відкрита таємниця"]
    result = (await search(city, "таємниця", stranger))["results"][0]
    assert result["room"]["name"] == "builders"
    await city.call("POST", "/city/rooms/builders/leave", token=OKSANA)
    await say(city, "пізня таємниця", room="builders")
    assert await found(city, "пізня", OKSANA) == []


async def test_messages_from_matrix_are_found(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        room = await tx.rooms.lock("general")
        assert room is not None
        writer = await city.city.room_members.author(tx, room.id, "@alice:hs")  # type: ignore[arg-type]
        assert writer is not None
        await city.city.messages.receive(
            tx, room, writer, Content("з матриці"), event_id=EventId("$e"), created_at_ms=1_700_000_000_000
        )
    assert await found(city, "матриця", author="@alice:hs") == ["з матриці"]


async def test_old_messages_are_indexed_in_the_background(city: InProcessCity) -> None:
    for number in range(3):
        await say(city, f"давнина {number}")
    gone = await say(city, "давнина, якої вже немає")
    await city.call("DELETE", f"/city/rooms/general/messages/{gone['id']}", token=TARAS)
    async with city.city.database.transaction() as tx:
        await tx.connection.execute(delete(tables.search_entries))
    assert (await search(city, "давнина"))["complete"] is False
    indexer = SearchIndexer(city.city.database)
    while not await indexer._index_batch():
        pass
    page = await search(city, "давнина")
    assert [each["message"]["body"] for each in page["results"]] == ["давнина 2", "давнина 1", "давнина 0"]
    assert page["complete"] is True


async def test_removed_messages_leave_no_words(city: InProcessCity) -> None:
    message = await say(city, "зникне")
    async with city.city.database.transaction() as tx:
        await tx.connection.execute(delete(tables.messages).where(tables.messages.c.id == message["id"]))
        if city.city.database.is_sqlite:
            statement = text("SELECT count(*) FROM search_index WHERE search_index MATCH 'зникн OR зникне'")
            assert await tx.connection.scalar(statement) == 0
    assert await found(city, "зникне") == []


@pytest.mark.parametrize(
    "query",
    [
        "q=",
        "q=!!",
        "q=a&limit=0",
        "q=a&limit=51",
        "q=a&after=x",
        "q=a&before=2026-13-01",
        "q=a&cursor=-1",
        "q=a&cursor=x",
    ],
)
async def test_invalid_queries_are_422(city: InProcessCity, query: str) -> None:
    assert (await city.call("GET", f"/city/search?{query}")).status == 422


async def test_unknown_room_is_404(city: InProcessCity) -> None:
    assert (await city.call("GET", "/city/search?q=a&room=nowhere")).status == 404
    # Whatever a query consists of, it is words.
    for q in ("'", '"', "a'b", 'a"b', "a:*", "(a", "NOT a", "a AND", "\\", "%", "ǅ İ ß", "²", "x" * 200):
        answer = await city.call("GET", "/city/search?" + urlencode({"q": q}))
        assert answer.status in {200, 422}, (q, answer)


async def test_around_time_is_the_first_message_from_then_on(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        room = await tx.rooms.lock("general")
        assert room is not None
        writer = await city.city.room_members.author(tx, room.id, "@alice:hs")  # type: ignore[arg-type]
        assert writer is not None
        for day in range(1, 10):
            at_ms = 1_700_000_000_000 + day * 86_400_000
            event = EventId(f"$day{day}")
            await city.city.messages.receive(
                tx, room, writer, Content(f"day {day}"), event_id=event, created_at_ms=at_ms
            )

    async def around(time: str) -> list[str]:
        path = f"/city/rooms/general/messages?limit=3&around_time={time}"
        return [each["body"] for each in await city.get(path)]

    assert await around("2023-11-18T22:00:00Z") == ["day 3", "day 4", "day 5"]
    assert await around("2023-11-19T00:00:00%2B02:00") == ["day 3", "day 4", "day 5"]
    assert await around("2001-01-01T00:00:00Z") == ["day 1", "day 2", "day 3"]
    assert await around("2100-01-01T00:00:00Z") == ["day 7", "day 8", "day 9"]
    for query in ("around_time=x", "around_time=2023-11-18T22:00:00Z&before=1"):
        assert (await city.call("GET", f"/city/rooms/general/messages?{query}")).status == 422
