"""Each step of a message moves its metric once."""

from __future__ import annotations

import pytest

from daarion_appservice.realtime import message_steps
from daarion_appservice.realtime.message_steps import STORED_EVENTS, BegunSteps, Step
from tests.parts.city import citizen_token, eventually
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity, push
from tests.parts.inbound_harness import inbound_harness, message_event
from tests.parts.metrics import Moves
from tests.parts.outbound import OKSANA, outbound_harness, receive_echo
from tests.parts.ports import HOST
from tests.parts.scripted_homeserver import ScriptedHomeserver
from tests.parts.waiting import WAIT_S


def count(moves: Moves, step: Step) -> float:
    return moves.of("daarion_message_step_seconds_count", step=step)


async def test_steps_to_matrix_are_measured(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    homeserver, moves = ScriptedHomeserver(), Moves()
    async with (
        homeserver.serving(),
        outbound_harness(sqlite_url, homeserver, monkeypatch, client_timeout_s=WAIT_S) as outbound,
    ):
        message = await outbound.post("hello", author=OKSANA)
        await outbound.deliveries_when_done()
        assert [count(moves, step) for step in (Step.CLAIMED, Step.REQUESTED, Step.ECHOED)] == [1, 1, 0]
        await receive_echo(outbound, message)
        await receive_echo(outbound, message)
    assert count(moves, Step.ECHOED) == 1


async def test_steps_from_matrix_are_measured(sqlite_url: str) -> None:
    async with inbound_harness(sqlite_url) as harness:
        moves = Moves()
        STORED_EVENTS.begin("$here")
        await harness.store(message_event("$here"), message_event("$of another process"))
        await harness.handle_all()
    assert count(moves, Step.PUBLISHED) == 1


async def test_stored_transaction_is_measured_once(sqlite_city: InProcessCity) -> None:
    moves = Moves()
    for _ in range(2):
        assert await push(sqlite_city, "1", message_event("$1")) == 200
    assert count(moves, Step.STORED) == 1


async def test_frame_of_message_is_measured(sqlite_city: InProcessCity) -> None:
    moves, path = Moves(), "/city/rooms/general/messages"
    await sqlite_city.call("POST", path, {"body": "unseen"}, token=citizen_token("u_1"))
    assert count(moves, Step.WRITTEN) == 0
    url = f"http://{HOST}:{sqlite_city.city.settings.api.port}/ws/city/rooms/general"
    async with sqlite_city.session.ws_connect(url) as socket:

        async def is_subscribed() -> bool:
            return any(stream.listeners for stream in sqlite_city.city.room_streams._streams.values())

        await eventually(is_subscribed)
        await sqlite_city.call("POST", path, {"body": "seen"}, token=citizen_token("u_1"))
        while (await next_frame(socket))["event"] != "city.room.message":
            pass
    assert count(moves, Step.WRITTEN) == 1


def test_begun_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_steps, "_MOST_BEGUN", 2)
    begun, moves = BegunSteps(Step.PUBLISHED), Moves()
    for name in ("1", "2", "3"):
        begun.begin(name)
    for name in ("1", "2", "3", "3"):
        begun.end(name)
    assert count(moves, Step.PUBLISHED) == 2
