"""No input of anybody ends a background task or the process; a task that fails is restarted and named in /readyz."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from structlog.testing import capture_logs

from daarion_appservice import app
from daarion_appservice.city.presence import Heartbeat, Status
from daarion_appservice.city.types import SubjectId
from daarion_appservice.errors import TaskFailedRepeatedly
from daarion_appservice.ops.service_manager import ServiceManager
from daarion_appservice.realtime.supervisor import Supervisor
from tests.parts.city import citizen_token, eventually
from tests.parts.frames import next_frame
from tests.parts.in_process_city import SERVICE_TOKEN, HttpResponse, InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.raw_http import websocket
from tests.parts.redis import RedisServer
from tests.parts.waiting import WAIT_S

TOO_LONG = "Ю" * 39
"""Each of its 78 bytes is written =hh in the ghost's localpart, which makes 234 of the 255 that a whole user id may have."""
OKSANA = SubjectId("u_123")
UPGRADE = {name.decode(): value.decode() for name, value in websocket()}


@pytest.fixture
async def sqlite_city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url) as city:
        yield city


def shown(city: InProcessCity, subject: str) -> Status:
    return city.city.presence.state(SubjectId(subject)).status


def says(answer: HttpResponse) -> tuple[int, str]:
    return answer.status, answer.content["code"]


# --- citizens whom no ghost can show ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "/api/v1/presence/heartbeat", {}),
        ("POST", "/city/rooms/general/messages", {"body": "hi"}),
        ("POST", "/city/rooms/general/join", {}),
        ("PUT", "/city/rooms/general/typing", {"typing": True}),
        ("POST", "/city/rooms", {"name": "Science"}),
        ("POST", "/secondme/invoke", {"prompt": "hi"}),
        ("GET", "/secondme/history", ...),
        ("GET", "/city/rooms", ...),
    ],
)
async def test_overlong_citizen_id_is_refused(sqlite_city: InProcessCity, method: str, path: str, content: Any) -> None:
    answer = await sqlite_city.call(method, path, content, token=citizen_token(TOO_LONG))
    assert says(answer) == (422, "citizen_id_too_long")
    assert shown(sqlite_city, TOO_LONG) is Status.OFFLINE
    assert (await sqlite_city.get("/city/rooms/general"))["messages"] == []


@pytest.mark.parametrize("path", ["/ws/city/presence", "/ws/city/rooms/general", "/api/v1/presence/stream"])
async def test_citizen_id_too_long_opens_no_stream(sqlite_city: InProcessCity, path: str) -> None:
    answer = await sqlite_city.call("GET", f"{path}?token={citizen_token(TOO_LONG)}", headers=UPGRADE)
    assert says(answer) == (422, "citizen_id_too_long")


@pytest.mark.parametrize("path", ["/ws/city/presence", "/ws/city/rooms/general"])
async def test_auth_event_with_long_citizen_id_gets_error(sqlite_city: InProcessCity, path: str) -> None:
    async with sqlite_city.session.ws_connect(f"ws://{HOST}:{sqlite_city.city.settings.api.port}{path}") as socket:
        await socket.send_json({"event": "auth", "token": citizen_token(TOO_LONG)})
        await socket.send_json({"event": "presence.heartbeat"})
        assert await next_code(socket) == "citizen_id_too_long"
        assert await next_code(socket) in {"sign_in", "no_such_event"}
    assert shown(sqlite_city, TOO_LONG) is Status.OFFLINE


async def next_code(socket: aiohttp.ClientWebSocketResponse) -> str:
    while (event := await next_frame(socket))["event"] != "error":
        pass
    code: str = event["code"]
    return code


async def test_user_id_too_long_in_a_body_is_nobodys(sqlite_city: InProcessCity) -> None:
    """Other ways by which a citizen's id comes in: bodies of heartbeats, one or many, and of Second Me; queries."""
    oksana = citizen_token(OKSANA)
    for path, content in (("/api/v1/presence/heartbeat", {}), ("/secondme/invoke", {"prompt": "hi"})):
        answer = await sqlite_city.call("POST", path, content | {"user_id": TOO_LONG}, token=oksana)
        assert says(answer) == (403, "user_id_mismatch")
    answer = await sqlite_city.call(
        "POST", "/api/v1/agents/heartbeats", {"heartbeats": [{"agent_id": TOO_LONG}]}, token=SERVICE_TOKEN
    )
    assert answer.content["results"][0]["code"] == "no_such_agent"
    ghost = "@citizen_" + "".join(f"={byte:02x}" for byte in TOO_LONG.encode()) + ":city.localhost"
    answer = await sqlite_city.call(
        "POST", "/internal/matrix/presence/online", {"matrix_user_id": ghost}, listener="matrix"
    )
    assert answer.status == 400
    found = await sqlite_city.get(f"/api/v1/presence?ids={quote(TOO_LONG)}")
    assert [each["status"] for each in found["presences"]] == ["offline"]
    assert shown(sqlite_city, TOO_LONG) is Status.OFFLINE


async def test_subject_without_ghost_changes_presence(sqlite_city: InProcessCity) -> None:
    """One that was stored before such ids were refused, or by an older process, is followed like any other."""
    city = sqlite_city.city
    with capture_logs() as logs:
        await city.presence.record_heartbeat([Heartbeat(SubjectId(TOO_LONG)), Heartbeat(OKSANA)])
        await city.presence.record_heartbeat([Heartbeat(SubjectId(TOO_LONG), Status.OFFLINE)])
    assert [entry["event"] for entry in logs] == []
    assert (shown(sqlite_city, TOO_LONG), shown(sqlite_city, OKSANA)) == (Status.OFFLINE, Status.ONLINE)


async def test_every_process_shows_subject_without_ghost(postgres_url: str, redis: RedisServer, tmp_path: Path) -> None:
    shared = {"url": redis.url}
    async with (
        in_process_city(postgres_url, redis=shared) as one,
        in_process_city(postgres_url, redis=shared) as two,
        in_process_city(postgres_url, redis=shared) as three,
    ):
        cities = [one, two, three]
        running = [
            asyncio.create_task(task())
            for each in cities
            for task in (each.city.presence.run, each.city.shared_bus.run if each.city.shared_bus else None)
            if task is not None
        ]
        try:
            with capture_logs() as logs:
                await until_all(cities, lambda city: city.city.presence.reason is None)  # type: ignore[union-attr]
                await one.city.presence.record_heartbeat([Heartbeat(SubjectId(TOO_LONG))])
                await until_all(cities, lambda city: shown(city, TOO_LONG) is Status.ONLINE)
                await two.city.presence.record_heartbeat([Heartbeat(OKSANA)])
                await until_all(cities, lambda city: shown(city, OKSANA) is Status.ONLINE)
                await one.city.presence.record_heartbeat([Heartbeat(SubjectId(TOO_LONG), Status.OFFLINE)])
                await until_all(cities, lambda city: shown(city, TOO_LONG) is Status.OFFLINE)
            assert [entry for entry in logs if entry["log_level"] == "error"] == []
            assert not any(task.done() for task in running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def until_all(cities: list[InProcessCity], holds: Callable[[InProcessCity], bool]) -> None:
    async def all_hold() -> bool:
        return all(map(holds, cities))

    await eventually(all_hold)


# --- tasks that fail ----------------------------------------------------------------------------------


async def test_failed_task_is_in_readyz_for_a_minute(sqlite_city: InProcessCity) -> None:
    in_back_off, go_on, restarted = asyncio.Event(), asyncio.Event(), asyncio.Event()
    attempts = 0

    async def sleep(_seconds: float) -> None:
        in_back_off.set()
        await go_on.wait()

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ValueError("a bad event")
        restarted.set()
        await asyncio.Event().wait()

    supervisor = sqlite_city.city.supervisor
    vars(supervisor)["_sleep"] = sleep
    task = asyncio.create_task(supervisor.supervise("sweeper", work))
    await in_back_off.wait()
    answer = await sqlite_city.call("GET", "/readyz", listener="matrix")
    assert (answer.status, answer.content["checks"]["tasks"]) == (503, "failed, will be restarted: sweeper")
    go_on.set()
    await restarted.wait()
    answer = await sqlite_city.call("GET", "/readyz", listener="matrix")
    assert answer.content["checks"]["tasks"] == "restarted within the last minute: sweeper"
    metrics = await sqlite_city.get("/metrics", listener="matrix")
    assert 'daarion_task_restarts_total{task="sweeper"}' in metrics
    task.cancel()


async def test_repeatedly_failing_task_ends_its_process(
    sqlite_city: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def fail() -> None:
        raise ValueError("a bad event")

    sqlite_city.city.supervisor = Supervisor(sleep=sleep)
    monkeypatch.setattr(sqlite_city.city.registry, "run", fail)
    with pytest.raises(TaskFailedRepeatedly, match="registry"):
        await app._run_tasks(sqlite_city.city, ServiceManager())
    assert pauses == [0.25, 0.5, 1.0, 2.0]


async def test_restarted_leader_task_keeps_lease(sqlite_city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = asyncio.Event()
    run = sqlite_city.city.reply_worker.run

    async def fail_once() -> None:
        if not failed.is_set():
            failed.set()
            raise ValueError("a bad answer")
        again.set()
        await run()

    again = asyncio.Event()
    monkeypatch.setattr(sqlite_city.city.reply_worker, "run", fail_once)
    with capture_logs() as logs:
        leading = asyncio.create_task(app.lead(sqlite_city.city))
        await asyncio.wait_for(again.wait(), WAIT_S)
        assert sqlite_city.city.leader_lock.is_held
        leading.cancel()
        await asyncio.wait([leading])
    assert [entry["event"] for entry in logs if entry["event"] in {"leading", "task_failed"}] == [
        "leading",
        "task_failed",
    ]
