"""Metrics move when what they count happens, on real parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from daarion_appservice.agents.metrics import REPLIED
from daarion_appservice.city.pending_replies import ReplyFailure
from daarion_appservice.city.presence import Heartbeat, Status
from daarion_appservice.city.types import Author, AuthorKind, SubjectId, UserId
from daarion_appservice.errors import (
    DatabaseError,
    DatabaseUnavailable,
    HomeserverRefused,
    HomeserverTimeout,
    HomeserverUnavailable,
)
from daarion_appservice.matrix.client import monitor as monitor_module
from daarion_appservice.matrix.client import transport as transport_module
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.inbound import worker as inbound_worker
from daarion_appservice.storage.queue_depths import read_queue_depths
from tests.parts.agent_replies import open_agent_replies
from tests.parts.agents_core import says
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import HS_TOKEN, InProcessCity, in_process_city, push
from tests.parts.inbound_harness import inbound_harness, member_event, message_event, state_event
from tests.parts.metrics import Moves, scrape
from tests.parts.outbound import OKSANA, OKSANAS_GHOST, OutboundHarness, outbound_harness
from tests.parts.ports import HOST, free_port
from tests.parts.redis import RedisServer
from tests.parts.running_tasks import running_tasks
from tests.parts.scripted_homeserver import HANG, ScriptedHomeserver, refused
from tests.parts.waiting import WAIT_S

BOT = UserId("@daarion_bot:city.localhost")


# --- HTTP, WebSockets, limits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listener", "method", "path", "route", "status"),
    [
        ("api", "GET", "/city/rooms", "/city/rooms", 200),
        ("api", "GET", "/city/rooms/nowhere", "/city/rooms/{room_id}", 404),
        ("api", "GET", "/no/such/path", "none", 404),
        ("matrix", "GET", "/readyz", "/readyz", 503),
        ("matrix", "DELETE", "/readyz", "none", 405),
    ],
)
async def test_request_is_measured_by_route(
    sqlite_city: InProcessCity, listener: str, method: str, path: str, route: str, status: int
) -> None:
    moves = Moves()
    assert (await sqlite_city.call(method, path, listener=listener)).status == status
    labels = {"listener": listener, "method": method, "route": route, "status": str(status)}
    assert moves.of("daarion_http_request_seconds_count", **labels) == 1
    assert moves.of("daarion_http_request_seconds_count") == 1


async def test_unknown_method_is_measured_as_other(sqlite_city: InProcessCity) -> None:
    moves = Moves()
    await sqlite_city.call("PURGE", "/city/rooms")
    assert moves.of("daarion_http_request_seconds_count", method="other", route="none") == 1


async def test_streams_count_what_they_carry(sqlite_city: InProcessCity) -> None:
    city, moves = sqlite_city, Moves()
    url = f"http://{HOST}:{city.city.settings.api.port}"
    async with city.session.ws_connect(f"{url}/ws/city/presence") as socket:
        assert moves.of("daarion_streams_open", kind="presence") == 1
        await socket.send_json({"event": "auth", "token": citizen_token("u_1")})
        await socket.send_json({"event": "presence.heartbeat"})
        async for message in socket:
            if "u_1" in message.data:
                break
    assert moves.of("daarion_stream_received_messages_total", kind="presence") == 2
    assert moves.of("daarion_stream_sent_messages_total", kind="presence") >= 2
    assert moves.of("daarion_stream_sent_bytes_total", kind="presence") > 100
    async with city.session.ws_connect(f"{url}/ws/city/rooms/general"):
        assert moves.of("daarion_streams_open", kind="room") == 1
    async with city.session.get(f"{url}/api/v1/presence/stream") as response:
        await response.content.readuntil(b"snapshot")
        assert moves.of("daarion_streams_open", kind="presence_events") == 1
        assert moves.of("daarion_stream_sent_bytes_total", kind="presence_events") > 0
    await eventually(lambda: is_true(moves.of("daarion_streams_open") == 0))


async def is_true(condition: bool) -> bool:
    return condition


async def test_limits_count_their_hits(sqlite_url: str) -> None:
    limits = {"messages": "1/minute", "sockets_per_subject": 1, "socket_events": "1/second"}
    async with in_process_city(sqlite_url, limits=limits) as city:
        moves, token = Moves(), citizen_token("u_1")
        for body in ("first", "second"):
            await city.call("POST", "/city/rooms/general/messages", {"body": body}, token=token)
        assert moves.of("daarion_limit_hits_total", limit="messages") == 1
        url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/presence?token={token}"
        async with city.session.ws_connect(url) as socket:
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await city.session.ws_connect(url)
            assert moves.of("daarion_limit_hits_total", limit="sockets_per_subject") == 1
            for _ in range(3):
                await socket.send_json({"event": "presence.heartbeat"})
            await eventually(lambda: is_true(moves.of("daarion_limit_hits_total", limit="socket_events") > 0))
        assert moves.of("daarion_messages_total", author="citizen") == 1


# --- from Matrix ----------------------------------------------------------------------------------------


async def test_transaction_is_measured(city: InProcessCity) -> None:
    moves = Moves()
    assert await push(city, "1", message_event("$1")) == 200
    assert await push(city, "1", message_event("$1")) == 200
    assert await push(city, "2", message_event("$2"), token="wrong") == 403
    for result in ("stored", "repeated", "refused"):
        assert moves.of("daarion_transactions_total", result=result) == 1, result
    assert moves.of("daarion_transaction_events_total", kind="event") == 2
    assert moves.of("daarion_transaction_events_total", kind="ephemeral") == 2
    assert moves.of("daarion_transaction_size_bytes_count") == 2
    assert moves.of("daarion_transaction_seconds_count") == 3


@pytest.mark.parametrize(
    ("body", "headers", "is_stored", "result"),
    [
        (b"{", {}, True, "refused"),
        (b"{}", {"Content-Encoding": "br"}, True, "refused"),
        (b'{"events": []}', {}, False, "failed"),
    ],
)
async def test_transaction_without_effect_is_counted(
    sqlite_city: InProcessCity,
    monkeypatch: pytest.MonkeyPatch,
    body: bytes,
    headers: dict[str, str],
    is_stored: bool,
    result: str,
) -> None:
    async def away(_transaction: object) -> bool:
        raise DatabaseUnavailable("away")

    if not is_stored:
        monkeypatch.setattr(sqlite_city.city.database.inbox_writer, "store", away)
    moves = Moves()
    await sqlite_city.call(
        "PUT", "/_matrix/app/v1/transactions/1", token=HS_TOKEN, body=body, headers=headers, listener="matrix"
    )
    assert moves.of("daarion_transactions_total", result=result) == 1
    assert moves.of("daarion_transactions_total") == 1


async def test_handled_event_is_measured_by_type(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound_worker, "_MIN_RETRY_MS", 1)
    async with inbound_harness(sqlite_url) as harness:
        moves = Moves()
        harness.handlers.broken.add("$broken")
        await harness.store(
            member_event("$1", "@alice:city.localhost"),
            message_event("$2"),
            state_event("$3", "m.of.nobody", {}),
            message_event("$broken", room="!builders"),
        )
        await harness.handle_all()
    assert moves.of("daarion_event_handler_seconds_count", type="m.room.message") > 1
    assert moves.of("daarion_event_handler_seconds_count", type="other") >= 1
    assert moves.of("daarion_event_handler_seconds_count", type="m.of.nobody") == 0
    assert moves.of("daarion_inbox_delay_seconds_count") == 3
    assert moves.of("daarion_inbox_failures_total", result="retry") == inbound_worker.MAX_ATTEMPTS - 1
    assert moves.of("daarion_inbox_failures_total", result="dead") == 1


# --- to Matrix ------------------------------------------------------------------------------------------


@pytest.fixture
async def homeserver() -> AsyncIterator[ScriptedHomeserver]:
    homeserver = ScriptedHomeserver()
    async with homeserver.serving():
        yield homeserver


@pytest.fixture
async def outbound(
    sqlite_url: str, homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OutboundHarness]:
    async with outbound_harness(sqlite_url, homeserver, monkeypatch, client_timeout_s=WAIT_S) as harness:
        yield harness


async def test_sent_and_rejected_messages_are_measured(
    outbound: OutboundHarness, homeserver: ScriptedHomeserver
) -> None:
    moves = Moves()
    await outbound.post("hello", author=OKSANA)
    await outbound.until_empty()
    homeserver.next("send", refused(400, "M_TOO_LARGE"))
    await outbound.post("too large", author=OKSANA)
    await outbound.until_empty()
    assert moves.of("daarion_outbox_sends_total", kind="message", result="sent") == 1
    # An attempt is counted after its commit, which empties the outbox.
    await eventually(lambda: is_true(moves.of("daarion_outbox_sends_total", kind="message", result="given_up") == 1))
    assert moves.of("daarion_outbox_send_seconds_count", kind="message") == 1
    assert moves.of("daarion_outbox_delay_seconds_count") >= 1
    assert 0 < moves.of("daarion_outbox_delay_seconds_sum") < 600
    send = "/rooms/{roomId}/send/{eventType}/{txnId}"
    assert moves.of("daarion_homeserver_requests_total", method="PUT", endpoint=send, result="ok") == 1
    assert moves.of("daarion_homeserver_requests_total", method="PUT", endpoint=send, result="refused") == 1
    assert moves.of("daarion_homeserver_request_seconds_count", method="PUT", endpoint=send) == 2
    assert OKSANAS_GHOST not in str(moves._values())


async def test_failed_requests_are_measured(homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    moves = Moves()
    client, absent = Homeserver(homeserver.url, "as"), Homeserver(f"http://{HOST}:{free_port()}", "as")
    homeserver.next("joined_rooms", refused(429, "M_LIMIT_EXCEEDED"), HANG)
    with pytest.raises(HomeserverRefused):
        await client.joined_rooms(as_user=BOT)
    with pytest.raises(HomeserverTimeout):
        await client.joined_rooms(as_user=BOT)
    with pytest.raises(HomeserverUnavailable):
        await absent.joined_rooms(as_user=BOT)
    homeserver.next("joined_rooms", HANG)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.joined_rooms(as_user=BOT), 0.05)
    await client.close()
    with pytest.raises(RuntimeError):  # of the HTTP client, after the service has closed it
        await client.joined_rooms(as_user=BOT)
    for result in ("rate_limited", "timeout", "unavailable", "cancelled", "error"):
        assert moves.of("daarion_homeserver_requests_total", endpoint="/joined_rooms", result=result) == 1, result
    assert moves.of("daarion_homeserver_requests_in_flight") == 0
    await absent.close()


async def test_pings_are_counted_by_result(homeserver: ScriptedHomeserver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "_PING_TIMEOUT_S", 0.1)
    moves, client = Moves(), Homeserver(homeserver.url, "as")
    monitor = HomeserverMonitor(client, "city")
    homeserver.next("ping", refused(502, "M_CONNECTION_FAILED"), HANG)
    assert [await monitor.request_delivery() for _ in range(3)] == [False, False, True]
    for result in ("failed", "unanswered", "arrived"):
        assert moves.of("daarion_homeserver_pings_total", result=result) == 1, result
    monitor.mark_up()
    monitor.report_unavailable(HomeserverUnavailable("gone"))
    assert moves.of("daarion_homeserver_absences_total") == 1
    await client.close()


# --- the state of the process ---------------------------------------------------------------------------


async def test_presence_is_counted_by_kind_and_status(sqlite_city: InProcessCity) -> None:
    city = sqlite_city.city
    moves = Moves(city.metrics)
    await city.presence.record_heartbeat(
        [
            Heartbeat(SubjectId("u_1")),
            Heartbeat(SubjectId("u_1"), status_msg="обід"),
            Heartbeat(SubjectId("agent:scribe"), Status.AWAY),
        ]
    )
    await city.presence.record_heartbeat([Heartbeat(SubjectId("u_1"), Status.OFFLINE)])
    assert moves.of("daarion_presence_subjects", kind="citizens", status="online") == 0
    assert moves.of("daarion_presence_subjects", kind="agents", status="away") == 1
    assert moves.of("daarion_presence_transitions_total", kind="citizens", status="online") == 1
    assert moves.of("daarion_presence_transitions_total", kind="citizens", status="offline") == 1


async def test_readiness_and_role_are_exported(sqlite_city: InProcessCity) -> None:
    before = await scrape(sqlite_city)
    assert (before["daarion_ready"][""], before["daarion_leader"][""], before["daarion_homeserver_up"][""]) == (0, 0, 0)
    assert "daarion_part_state" not in before, "nothing is examined yet"
    city = sqlite_city.city
    city.monitor.mark_up()
    city.monitor.record_ping()
    await city.leader_lock.acquire()
    city.reconciler.is_done = True
    await city.readiness_log.examine(after_s=1.0)
    after = await scrape(sqlite_city)
    assert (after["daarion_ready"][""], after["daarion_leader"][""], after["daarion_homeserver_up"][""]) == (1, 1, 1)
    assert after["daarion_part_state"]["database"] == 0
    assert after["daarion_homeserver_ping_last_timestamp_seconds"][""] > 1e9
    assert after["daarion_inbox_catching_up"][""] == 1
    assert after["daarion_build_info"].popitem()[1] == 1
    assert "daarion_redis_up" not in after

    async def problem() -> str:
        return "does not answer"

    city.database.problem = problem  # type: ignore[method-assign]
    await city.readiness_log.examine(after_s=2.0)
    failed = await scrape(sqlite_city)
    assert (failed["daarion_ready"][""], failed["daarion_part_state"]["database"]) == (0, 2)


async def test_hanging_examination_is_not_ready(sqlite_city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    city = sqlite_city.city
    await city.readiness_log.examine(after_s=1.0)
    assert "daarion_part_state" in await scrape(sqlite_city)
    monkeypatch.setattr("daarion_appservice.ops.readiness_log._OUTDATED_S", 0.0)
    outdated = await scrape(sqlite_city)
    assert outdated["daarion_ready"][""] == 0
    assert "daarion_part_state" not in outdated


async def test_statements_and_waits_are_measured(city: InProcessCity) -> None:
    moves = Moves()
    await city.call("POST", "/city/rooms/general/messages", {"body": "hello"}, token=citizen_token("u_1"))
    # Its inserts are parts of other statements.
    for operation in ("select", "update"):
        assert moves.of("daarion_database_statement_seconds_count", operation=operation) > 0, operation
    assert moves.of("daarion_database_wait_seconds_count") > 0
    before, moves = await scrape(city), Moves()
    async with city.city.database.read_only() as tx:
        await tx.rooms.find("general")
        during = await scrape(city)
    assert moves.of("daarion_database_statement_seconds_count", operation="select") == 1
    assert before["daarion_database_pool_connections"]["in_use"] == 0
    assert during["daarion_database_pool_connections"]["in_use"] == 1


async def test_unavailable_database_is_counted(city: InProcessCity) -> None:
    moves = Moves()
    with pytest.raises(DatabaseError):
        async with city.city.database.read_only() as tx:
            await tx.connection.exec_driver_sql("SELECT * FROM no_such_table")
    assert moves.of("daarion_database_errors_total") == 1


async def test_redis_is_up_and_measured(sqlite_url: str, redis: RedisServer) -> None:
    async with in_process_city(sqlite_url, redis={"url": redis.url}) as city:
        presence, moves = city.city.presence, Moves()

        async def is_up() -> bool:
            return (await scrape(city))["daarion_redis_up"][""] == 1

        async with running_tasks(presence.run):
            await eventually(is_up)
            await presence.record_heartbeat([Heartbeat(SubjectId("u_1"))])
            assert moves.of("daarion_redis_command_seconds_count") > 0


async def test_reply_is_counted_with_its_outcome(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_agent_replies(sqlite_url, monkeypatch) as harness:
        moves = Moves()
        oksana = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
        await harness.messaging.post(oksana, "general", "@scribe, котра година?")
        async with harness.database.read_only() as tx:
            owed = (await read_queue_depths(tx)).replies
        assert (owed.counts, owed.oldest_ms is None) == ({"pending": 1}, False)
        harness.core.next(says("Восьма"))
        async with harness.running_worker():
            await harness.replies()
            await eventually(lambda: is_true(moves.of("daarion_agent_replies_total", outcome=REPLIED) == 1))
        harness.has_core = False
        await harness.messaging.post(oksana, "general", "@scribe, а зараз?")
        async with harness.running_worker():
            await eventually(
                lambda: is_true(moves.of("daarion_agent_replies_total", outcome=ReplyFailure.NO_CORE) == 1)
            )
        assert moves.of("daarion_agent_reply_seconds_count") == 1
