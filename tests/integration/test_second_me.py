"""Tests of the routes ``/secondme``: prompts, streaming, history and errors of the agents core."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from sqlalchemy import func, select

from daarion_appservice.city.types import SubjectId
from daarion_appservice.errors import CoreFailed, InvalidInput
from daarion_appservice.storage.tables import interactions
from tests.parts.agents_core import (
    DONE,
    Behaviour,
    ScriptedCore,
    answers,
    breaks_off_after,
    delta,
    empty_response,
    pauses,
    says,
    stalls_after,
    streams,
)
from tests.parts.city import ADMIN_TOKEN, citizen_token, eventually
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.second_me import IS_OKSANA, OKSANA, PETRO, ask, code, history, is_requested, whole

SOON_S = 2.0
"""After which the core is given up that would keep us waiting for ever."""


@pytest.fixture
async def core() -> AsyncIterator[ScriptedCore]:
    async with ScriptedCore().serving() as core:
        yield core


@pytest.fixture
async def city(core: ScriptedCore, database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url, agents_core={"url": core.url}) as city:
        yield city


@pytest.fixture
async def sqlite_city(core: ScriptedCore, sqlite_url: str) -> AsyncIterator[InProcessCity]:
    """A city on SQLite, for tests that do not depend on the database."""
    async with in_process_city(sqlite_url, agents_core={"url": core.url}) as city:
        yield city


# --- asked and answered -------------------------------------------------------------------------------


async def test_prompt_excerpt_has_no_markdown(city: InProcessCity, core: ScriptedCore) -> None:
    core.next(says("Так"))
    answer = await ask(city, "**Чи** є [парк](https://example.org)?\n\n" + "а" * 300)
    assert answer.content["prompt_excerpt"] == "Чи є парк? " + "а" * 148 + "…"


async def test_response_is_returned_and_stored(city: InProcessCity, core: ScriptedCore) -> None:
    core.next(says("Озеленіть дахи"))
    answer = await ask(city, "Порадь ідею для міського району", user_id="u_1")
    assert answer.status == 200
    assert {key: answer.content[key] for key in ("user_id", "prompt", "prompt_excerpt", "response")} == {
        "user_id": "u_1",
        "prompt": "Порадь ідею для міського району",
        "prompt_excerpt": "Порадь ідею для міського району",
        "response": "Озеленіть дахи",
    }
    assert set(answer.content) == {
        "id", "user_id", "prompt", "prompt_excerpt", "response", "latency_ms", "created_at"
    }  # fmt: skip
    assert answer.content["latency_ms"] >= 0
    (received,) = core.requests
    assert received.path == "/agents/second_me/invoke"
    assert received.content == {
        "input": "Порадь ідею для міського району",
        "context": {"kind": "secondme", "user_id": "u_1", "room": None, "history": []},
    }
    assert await city.get("/secondme/history?user_id=u_1", token=OKSANA) == [answer.content]


async def test_request_has_last_five_prompts(city: InProcessCity, core: ScriptedCore) -> None:
    for number in range(1, 7):
        core.next(says(f"відповідь {number}"))
        await ask(city, f"питання {number}")
    carried = [response for number in range(2, 6) for response in (f"питання {number}", f"відповідь {number}")]
    assert core.requests[5].history == carried
    assert core.requests[5].content["input"] == "питання 6"
    roles = [response["role"] for response in core.requests[5].content["context"]["history"]]
    assert roles == ["user", "assistant"] * 4
    assert await history(city) == [(f"питання {number}", f"відповідь {number}") for number in range(2, 7)]
    async with city.city.database.read_only() as tx:
        kept = await tx.connection.scalar(select(func.count()).select_from(interactions))
    assert kept == 5, "what is older is not kept at all"


async def test_history_is_private(city: InProcessCity, core: ScriptedCore) -> None:
    for number in range(6):
        await ask(city, f"Оксана {number}")
    await ask(city, "Петро", token=PETRO)
    assert core.requests[6].history == []
    assert [prompt for prompt, _ in await history(city, token=PETRO)] == ["Петро"]
    assert len(await history(city)) == 5


async def test_cleared_history_is_empty(city: InProcessCity, core: ScriptedCore) -> None:
    await ask(city, "питання")
    await ask(city, "Петро", token=PETRO)
    answer = await city.call("DELETE", "/secondme/history?user_id=u_1", token=OKSANA)
    assert (answer.status, answer.content) == (204, "")
    assert await history(city) == []
    assert len(await history(city, token=PETRO)) == 1
    await ask(city, "нове питання")
    assert core.requests[2].history == []


async def test_second_me_agent_is_configurable(core: ScriptedCore, sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, agents_core={"url": core.url}, city={"second_me": "alter_ego"}) as city:
        await ask(city, "питання")
    assert core.requests[0].path == "/agents/alter_ego/invoke"


# --- as events ----------------------------------------------------------------------------------------


@asynccontextmanager
async def streaming(city: InProcessCity, prompt: str) -> AsyncIterator[aiohttp.ClientResponse]:
    async with city.session.post(
        f"http://{HOST}:{city.city.settings.api.port}/secondme/invoke",
        json={"prompt": prompt},
        headers={"Authorization": f"Bearer {OKSANA}", "Accept": "text/event-stream"},
    ) as response:
        yield response


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, Any] | None:
    lines = []
    async for line in response.content:
        if line.strip():
            lines.append(line.decode().strip())
        elif lines:
            break
    fields = dict(line.split(": ", 1) for line in lines)
    return (fields["event"], json.loads(fields["data"])) if fields else None


async def all_events(response: aiohttp.ClientResponse) -> list[tuple[str, Any]]:
    found = []
    while (each := await next_event(response)) is not None:
        found.append(each)
    return found


async def test_response_is_streamed(sqlite_city: InProcessCity, core: ScriptedCore) -> None:
    gate = asyncio.Event()
    core.next(pauses(gate, delta("Озе"), delta("леніть\nдахи"), DONE))
    async with streaming(sqlite_city, "Порадь") as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert await next_event(response) == ("delta", {"text": "Озе"})
        assert await history(sqlite_city) == [], "it is not remembered before it is whole"
        gate.set()
        second, done = await all_events(response)
    assert second == ("delta", {"text": "леніть\nдахи"})
    assert done[0] == "done"
    assert done[1]["response"] == "Озеленіть\nдахи"
    assert await sqlite_city.get("/secondme/history", token=OKSANA) == [done[1]]


async def test_core_without_streaming_gives_one_delta(sqlite_city: InProcessCity) -> None:
    async with streaming(sqlite_city, "Порадь") as response:
        assert [name for name, _ in await all_events(response)] == ["delta", "done"]


async def test_interrupted_response_is_error_event(sqlite_city: InProcessCity, core: ScriptedCore) -> None:
    core.next(breaks_off_after(delta("Озе")))
    async with streaming(sqlite_city, "Порадь") as response:
        (first, (name, problem)) = await all_events(response)
    assert first == ("delta", {"text": "Озе"})
    assert (name, problem["status"], problem["code"]) == ("error", 502, "core_failed")
    assert problem["detail"] == "the agents core ended its response before it was complete"
    assert await history(sqlite_city) == []
    assert (await ask(sqlite_city, "Ще раз")).status == 200


async def test_error_before_request_has_its_status(sqlite_city: InProcessCity, core: ScriptedCore) -> None:
    async with streaming(sqlite_city, " ") as response:
        assert (response.status, response.content_type) == (422, "application/problem+json")
    core.next(empty_response)
    first = asyncio.create_task(ask(sqlite_city, "питання"))
    await eventually(lambda: is_requested(core, 1))
    async with streaming(sqlite_city, "питання") as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (409, "secondme_busy")
    first.cancel()
    await asyncio.wait([first])


# --- no answer ----------------------------------------------------------------------------------------


FAILURES: dict[str, tuple[Behaviour, tuple[int, str]]] = {
    "fails": (answers({}, status=500), (502, "core_failed")),
    "breaks off": (breaks_off_after(delta("Озе")), (502, "core_failed")),
    "slow": (empty_response, (504, "core_timeout")),
    "stuck": (stalls_after(delta("Озе")), (504, "core_timeout")),
}


async def test_failed_response_has_code_and_is_not_stored(core: ScriptedCore, sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, agents_core={"url": core.url, "timeout_s": SOON_S}) as city:
        for behaviour, expected in FAILURES.values():
            core.next(behaviour)
            assert code(await ask(city, "питання")) == expected
        assert await history(city) == []
        assert (await ask(city, "питання")).status == 200
        assert core.requests[-1].history == []


async def test_home_has_second_me_availability(core: ScriptedCore, sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, agents_core={"url": core.url}) as city:
        assert (await city.get("/city/home"))["second_me"] == {"available": True}
        core.next(*[answers({}, status=500)] * 5)
        for _ in range(5):
            await ask(city, "питання")
        assert (await city.get("/city/home"))["second_me"] == {"available": False}
        resting = await ask(city, "питання")
        assert code(resting) == (503, "core_circuit_open")
        assert 1 <= int(resting.headers["Retry-After"]) <= 30
        assert len(core.requests) == 5


async def test_without_agents_core_is_503(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url) as city:
        assert code(await ask(city, "питання")) == (503, "no_core")
        assert (await city.get("/city/home"))["second_me"] == {"available": False}
        assert await history(city) == []


# --- who may, and what --------------------------------------------------------------------------------


async def test_second_me_is_for_citizens_only(sqlite_city: InProcessCity, core: ScriptedCore) -> None:
    await ask(sqlite_city, "таємниця")
    routes = [("POST", "/secondme/invoke"), ("GET", "/secondme/history"), ("DELETE", "/secondme/history")]
    for method, path in routes:
        content = {"prompt": "питання"} if method == "POST" else ...
        assert code(await sqlite_city.call(method, path, content)) == (401, "sign_in")
        for token in (await sqlite_city.agent_token("scribe"), SERVICE_TOKEN, ADMIN_TOKEN):
            assert code(await sqlite_city.call(method, path, content, token=token)) == (403, "not_allowed")
        for token in (PETRO, citizen_token("u_3", role="admin")):
            if method == "POST":
                answer = await sqlite_city.call(method, path, {"prompt": "питання", "user_id": "u_1"}, token=token)
            else:
                answer = await sqlite_city.call(method, f"{path}?user_id=u_1", token=token)
            assert code(answer) == (403, "user_id_mismatch")
    assert len(core.requests) == 1
    assert len(await history(sqlite_city)) == 1


async def test_a_prompt_has_1_to_8000_characters(sqlite_city: InProcessCity, core: ScriptedCore) -> None:
    for prompt, wrong in (("", "prompt_empty"), (" \n", "prompt_empty"), ("я" * 8_001, "prompt_too_long")):
        assert code(await ask(sqlite_city, prompt)) == (422, wrong)
    wrong_bodies: list[Any] = [{}, {"prompt": None}, {"prompt": 5}, []]
    for content in wrong_bodies:
        assert code(await sqlite_city.call("POST", "/secondme/invoke", content, token=OKSANA)) == (422, "invalid")
    assert core.requests == []
    assert (await ask(sqlite_city, "я" * 8_000)).status == 200


async def test_direct_chat_uses_same_history(city: InProcessCity, core: ScriptedCore) -> None:
    second_me = city.city.second_me
    core.next(streams("Озе", "леніть"), says(""))
    async with second_me.invoke(IS_OKSANA, "Порадь") as answer:
        assert [piece async for piece in answer] == ["Озе", "леніть"]
        assert [piece async for piece in answer] == [], "and it is remembered once"
    with pytest.raises(CoreFailed):
        await whole(second_me, "Порожньо")
    with pytest.raises(InvalidInput):
        await whole(second_me, " ")
    assert await history(city) == [("Порадь", "Озеленіть")]
    assert await second_me.history(IS_OKSANA) == [answer.interaction]
    await whole(second_me, "А я?", SubjectId("@alice:city.localhost"))
    assert core.requests[-1].history == []


# --- numbers ------------------------------------------------------------------------------------------


async def test_second_me_metrics_are_exported(sqlite_city: InProcessCity, core: ScriptedCore) -> None:
    await ask(sqlite_city, "питання")
    core.next(answers({}, status=500))
    await ask(sqlite_city, "питання")
    metrics = await sqlite_city.call("GET", "/metrics", listener="matrix")
    assert metrics.status == 200
    assert metrics.headers["Content-Type"].startswith("text/plain; version=")
    lines = metrics.content.splitlines()
    assert 'daarion_core_calls_total{kind="secondme",outcome="answered"} 1.0' in lines
    assert 'daarion_core_calls_total{kind="secondme",outcome="failed"} 1.0' in lines
    assert 'daarion_core_call_seconds_count{kind="secondme"} 1.0' in lines
    assert "daarion_core_calls_in_flight 0.0" in lines
    assert "daarion_core_breaker_open 0.0" in lines
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
    openmetrics = await sqlite_city.call(
        "GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}, listener="matrix"
    )
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text")
    assert openmetrics.content.endswith("# EOF\n")
    assert (await sqlite_city.call("GET", "/metrics")).status == 404, "the world sees none of it"
