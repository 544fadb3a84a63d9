"""The routes ``/internal/matrix/presence``, and readiness."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.types import MatrixStatus
from daarion_appservice.matrix.encryption.support import SupportState
from tests.parts.api import (
    OKSANA,
    call_internal,
    matrix_error_of,
)
from tests.parts.city import ADMIN_TOKEN
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.redis import RedisServer


async def test_matrix_presence_has_documented_fields(sqlite_city: InProcessCity) -> None:
    scribe, admin = "@agent_scribe:city.localhost", "@daarion_admin:city.localhost"
    nobody = {"presence": "offline", "last_active_ago_ms": None, "status_msg": None}
    assert (await call_internal(sqlite_city, "GET", f"/{admin}")).content == {"user_id": admin} | nobody

    answer = await call_internal(sqlite_city, "POST", "/online", {"matrix_user_id": scribe, "status_msg": "слухаю"})
    assert answer.content == {"ok": True, "matrix_user_id": scribe, "status": "online"}

    shown = (await call_internal(sqlite_city, "GET", f"/{scribe}")).content
    assert 0 <= shown.pop("last_active_ago_ms") < 10_000
    assert shown == {"user_id": scribe, "presence": "online", "status_msg": "слухаю"}
    assert (await sqlite_city.get("/api/v1/agents/scribe/presence"))["presence"] == "online"

    for bulk in (
        await call_internal(sqlite_city, "GET", f"/bulk?user_ids={admin},{scribe},{admin}"),
        await call_internal(sqlite_city, "POST", "/bulk", {"user_ids": [admin, scribe, admin]}),
    ):
        presences = bulk.content["presences"]
        assert [(each["user_id"], each["presence"]) for each in presences] == [
            (admin, "offline"),
            (scribe, "online"),
            (admin, "offline"),
        ]
        assert presences[0] == {"user_id": admin} | nobody


@pytest.mark.parametrize(
    ("status", "shown"), [("online", "online"), ("away", "away"), ("unavailable", "away"), ("offline", "offline")]
)
async def test_ghost_heartbeat_takes_city_and_matrix_status(
    sqlite_city: InProcessCity, status: str, shown: str
) -> None:
    user = "@citizen_u_123:city.localhost"
    await call_internal(sqlite_city, "POST", "/online", {"matrix_user_id": user})
    answer = await call_internal(sqlite_city, "POST", "/online", {"matrix_user_id": user, "status": status})
    assert answer.content == {"ok": True, "matrix_user_id": user, "status": status}
    assert (await call_internal(sqlite_city, "GET", f"/{user}")).content["presence"] == shown


INVALID = (400, "M_INVALID_PARAM")


NOT_OURS = (403, "M_FORBIDDEN")


BAD = (422, "M_BAD_JSON")


NO_PRESENCE: list[tuple[str, str, Any, tuple[int, str]]] = [
    ("POST", "/online", {"matrix_user_id": "@alice:city.localhost"}, NOT_OURS),
    ("POST", "/online", {"matrix_user_id": "@agent_scribe:elsewhere.org"}, NOT_OURS),
    ("POST", "/online", {"matrix_user_id": "@daarion:city.localhost"}, NOT_OURS),
    ("POST", "/online", {"matrix_user_id": "@city_observer:city.localhost"}, NOT_OURS),
    ("POST", "/online", {"matrix_user_id": "@agent_nobody:city.localhost"}, (404, "M_NOT_FOUND")),
    ("POST", "/online", {"matrix_user_id": "agent_scribe"}, INVALID),
    ("POST", "/online", {"matrix_user_id": ""}, INVALID),
    ("POST", "/online", {}, BAD),
    ("POST", "/online", {"matrix_user_id": 5}, BAD),
    ("POST", "/online", {"matrix_user_id": "@agent_scribe:city.localhost", "status": "busy"}, BAD),
    ("POST", "/online", {"matrix_user_id": "@agent_scribe:city.localhost", "status_msg": "x" * 256}, BAD),
    ("POST", "/bulk", {"user_ids": []}, INVALID),
    ("POST", "/bulk", {"user_ids": ["@a:b"] * 501}, INVALID),
    ("POST", "/bulk", {"user_ids": ["@a:b", "b"]}, INVALID),
    ("POST", "/bulk", {"user_ids": "@a:b"}, BAD),
    ("POST", "/bulk", [], BAD),
    ("GET", "/bulk?user_ids=", ..., INVALID),
    ("GET", "/bulk", ..., BAD),
    ("GET", "/bulk?user_ids=@a:b,b", ..., INVALID),
    ("GET", "/bulk?user_ids=" + ",".join(["@a:b"] * 501), ..., INVALID),
    ("GET", "/alice", ..., INVALID),
    ("GET", "/@alice", ..., INVALID),
    ("GET", "/@alice:%20", ..., INVALID),
    ("GET", "/@a:b/more", ..., (404, "M_UNRECOGNIZED")),
    ("PUT", "/@a:b", ..., (405, "M_UNRECOGNIZED")),
]


async def test_invalid_presence_request_is_matrix_error(sqlite_city: InProcessCity) -> None:
    for method, path, content, refusal in NO_PRESENCE:
        answer = await call_internal(sqlite_city, method, path, content)
        assert matrix_error_of(answer) == refusal, (method, path[:100], str(content)[:100])


async def test_bulk_query_accepts_500_users(sqlite_city: InProcessCity) -> None:
    ids = [f"@user{number}:city.localhost" for number in range(500)]
    answer = await call_internal(sqlite_city, "POST", "/bulk", {"user_ids": ids})
    assert [each["user_id"] for each in answer.content["presences"]] == ids


async def test_cross_origin_form_cannot_set_presence(sqlite_city: InProcessCity) -> None:
    body = b'{"matrix_user_id": "@agent_scribe:city.localhost"}'
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = await call_internal(sqlite_city, "POST", "/online", body=body, headers={"Content-Type": content_type})
        assert matrix_error_of(answer) == (415, "M_NOT_JSON")
    broken = await call_internal(
        sqlite_city, "POST", "/online", body=b"{", headers={"Content-Type": "application/json"}
    )
    assert matrix_error_of(broken) == (400, "M_NOT_JSON")
    assert (await sqlite_city.get("/api/v1/agents/scribe/presence"))["presence"] == "offline"


async def test_without_token_host_must_be_loopback(sqlite_city: InProcessCity) -> None:
    path = "/@agent_daarwizz:city.localhost"
    rebound = await call_internal(sqlite_city, "GET", path, headers={"Host": "evil.example:7025"})
    assert matrix_error_of(rebound) == (421, "M_FORBIDDEN")
    elsewhere = await call_internal(sqlite_city, "GET", path, headers={"Host": "appservice:7025"})
    assert matrix_error_of(elsewhere) == (401, "M_MISSING_TOKEN")
    assert (await call_internal(sqlite_city, "GET", path, headers={"Host": "localhost:7025"})).status == 200


async def test_internal_token_is_required_when_configured(sqlite_url: str) -> None:
    token = "only services know this"
    async with in_process_city(sqlite_url, matrix={"internal_token": token}) as city:
        path = "/@alice:city.localhost"
        assert matrix_error_of(await call_internal(city, "GET", path)) == (401, "M_MISSING_TOKEN")
        for wrong in ("wrong", OKSANA, ADMIN_TOKEN, "a token of theirs", await city.agent_token("scribe")):
            assert matrix_error_of(await call_internal(city, "GET", path, token=wrong)) == (401, "M_UNKNOWN_TOKEN")
        assert (await call_internal(city, "GET", path, token=token)).status == 200
        assert (await city.call("GET", "/healthz", listener="matrix")).content == {"status": "ok"}


async def test_readyz_names_missing_dependency(sqlite_city: InProcessCity) -> None:
    answer = await sqlite_city.call("GET", "/readyz", listener="matrix")
    assert answer.status == 503
    checks = answer.content["checks"]
    assert (answer.content["status"], checks["database"]) == ("not ready", "ok")
    assert checks["homeserver"].startswith("away")


async def test_readyz_without_lease_names_no_leader(sqlite_city: InProcessCity) -> None:
    """Whether one leads is not known before the database has said so."""
    processes = []
    for sqlite_city.city.leader_lock.is_elsewhere in (False, True):
        answer = await sqlite_city.call("GET", "/readyz", listener="matrix")
        processes.append(answer.content["checks"]["processes"])
    assert processes[0] == "cannot read the leader lock from the database"
    assert "another process leads" in processes[1]


async def test_standby_with_redis_is_ready_beside_leader(sqlite_url: str, redis: RedisServer) -> None:
    async with in_process_city(sqlite_url, redis={"url": redis.url}) as city:
        assert (await readyz(city, "processes"))[1] == "failed", "it may be about to lead, and to set up the rooms"
        city.city.leader_lock.is_elsewhere = True
        assert (await readyz(city, "processes"))[1:] == ("ok", "standby")


async def test_readyz_verbose_states_each_part(sqlite_city: InProcessCity) -> None:
    for query in ("?verbose", "?verbose=1"):
        answer = await sqlite_city.call("GET", f"/readyz{query}", listener="matrix")
        assert answer.status == 503
        parts = answer.content["parts"]
        assert {"database", "disk", "as_token", "callback", "rooms", "transactions", "processes"} <= set(parts)
        assert parts["database"] == {"status": "ok", "detail": "takes writes", "age_s": None}
        assert parts["homeserver"]["status"] == "failed"
        assert answer.content["role"] == "standby"
    assert "parts" not in (await sqlite_city.call("GET", "/readyz", listener="matrix")).content


async def ready_city(city: InProcessCity) -> None:
    """Put the parts into the state of a running city."""
    city.city.monitor.mark_up()
    city.city.monitor.record_ping()
    city.city.leader_lock.is_held = city.city.reconciler.is_done = True
    assert (await city.call("GET", "/readyz", listener="matrix")).status == 200


async def readyz(city: InProcessCity, part: str) -> tuple[int, str, str]:
    """Return the status of the response, and status and detail of a part."""
    answer = await city.call("GET", "/readyz?verbose", listener="matrix")
    return answer.status, answer.content["parts"][part]["status"], answer.content["parts"][part]["detail"]


async def test_readyz_names_refused_token_and_callback(sqlite_city: InProcessCity) -> None:
    await ready_city(sqlite_city)
    monitor = sqlite_city.city.monitor
    monitor.refusal = "does not accept the as_token"
    assert await readyz(sqlite_city, "as_token") == (503, "failed", "does not accept the as_token")
    monitor.refusal, monitor.unreached = None, "has another hs_token"
    assert await readyz(sqlite_city, "callback") == (503, "failed", "has another hs_token")
    plain = await sqlite_city.call("GET", "/readyz", listener="matrix")
    assert plain.content["checks"]["homeserver"] == "has another hs_token"


async def test_readyz_states_age_of_last_ping(sqlite_city: InProcessCity) -> None:
    await ready_city(sqlite_city)
    monitor = sqlite_city.city.monitor
    monitor.last_ping_s = asyncio.get_running_loop().time() - 100
    assert await readyz(sqlite_city, "callback") == (200, "ok", "the last ping arrived 100 s ago")
    monitor.last_ping_s -= 100
    assert await readyz(sqlite_city, "callback") == (200, "warning", "the last ping arrived 200 s ago")


async def test_readyz_fails_without_linked_room(sqlite_city: InProcessCity) -> None:
    await ready_city(sqlite_city)
    database = sqlite_city.city.database
    async with database.transaction() as tx:
        rooms = await tx.rooms.all()
        for room in rooms:
            await tx.matrix_rooms.set_status(room.id, MatrixStatus.FAILED, "the alias is taken")
    status, part, detail = await readyz(sqlite_city, "rooms")
    assert (status, part) == (503, "failed")
    names = ", ".join(room.slug for room in rooms)
    assert detail == f"0 of 3 rooms are linked; {names}: the alias is taken"
    async with database.transaction() as tx:
        await tx.rooms.change(replace(rooms[2], archived=True))
    assert (await readyz(sqlite_city, "rooms"))[2].startswith("0 of 2 rooms are linked")
    async with database.transaction() as tx:
        await tx.matrix_rooms.set_status(rooms[0].id, MatrixStatus.LINKED, None)
    status, part, detail = await readyz(sqlite_city, "rooms")
    assert (status, part) == (200, "warning")
    assert "the alias is taken" in detail


async def test_readyz_fails_on_full_disk(sqlite_city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    await ready_city(sqlite_city)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    status, part, detail = await readyz(sqlite_city, "disk")
    assert (status, part) == (503, "failed")
    assert detail.startswith("0 MiB are free")


async def test_readyz_warns_of_refused_encryption_keys(sqlite_city: InProcessCity) -> None:
    await ready_city(sqlite_city)
    assert await readyz(sqlite_city, "encryption") == (200, "ok", "off")
    support = sqlite_city.city.encryption.support
    support._state, support.refusal = SupportState.REFUSED, "400 M_UNKNOWN: no"
    status, part, detail = await readyz(sqlite_city, "encryption")
    assert (status, part) == (200, "warning")
    assert detail.endswith("400 M_UNKNOWN: no")
