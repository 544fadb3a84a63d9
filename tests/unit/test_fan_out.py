"""Fan-out: slices of a delivery, their order, and listeners that end meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import count

from structlog.testing import capture_logs

from daarion_appservice.realtime.fan_out import FanOut
from tests.parts.waiting import WAIT_S

RECEIVERS = 1000
SLICE_S = 10.0


class City:
    """Receivers, and a clock that each frame advances by one second: a slice has about ten frames."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.frames: defaultdict[int, list[str]] = defaultdict(list)
        self.order: list[int] = []
        self.listening = set(range(RECEIVERS))
        self.fan_out = FanOut[int]("Test", slice_s=SLICE_S, now_s=lambda: self.now_s)

    def send(self, frame: str, receivers: int = RECEIVERS) -> None:
        every = {each: self._receive(each) for each in range(receivers)}
        self.fan_out.deliver(every, frame, is_listening=self.listening.__contains__)

    def _receive(self, receiver: int) -> Callable[[str], None]:
        def receive(frame: str) -> None:
            self.now_s += 1
            self.order.append(receiver)
            self.frames[receiver].append(frame)

        return receive

    async def is_done(self) -> None:
        done = asyncio.Event()
        self.fan_out.when_done(done.set)
        async with asyncio.timeout(WAIT_S):
            await done.wait()


async def test_delivery_to_few_listeners_is_complete_at_once() -> None:
    city = City()
    city.send("a", receivers=10)
    assert len(city.order) == 10
    assert not city.fan_out.is_running


async def test_delivery_to_thousand_yields_between_slices() -> None:
    city = City()
    turns = _turns_of_the_loop(city)
    city.send("a")
    assert 0 < len(city.order) < 100
    await city.is_done()
    assert sorted(city.order) == list(range(RECEIVERS))
    assert next(turns) > RECEIVERS / 100


async def test_deliveries_of_one_listener_keep_their_order() -> None:
    city = City()
    for frame in "abcde":
        city.send(frame)
    await city.is_done()
    assert set(map(tuple, city.frames.values())) == {tuple("abcde")}


async def test_listener_ending_between_slices_gets_nothing() -> None:
    city = City()
    city.send("a")
    waiting = city.listening - city.frames.keys()
    city.listening -= waiting
    await city.is_done()
    assert not waiting & city.frames.keys()


async def test_finish_completes_all_deliveries_at_once() -> None:
    city = City()
    city.send("a")
    city.send("b")
    city.fan_out.finish()
    assert set(map(tuple, city.frames.values())) == {("a", "b")}
    assert len(city.order) == 2 * RECEIVERS
    await asyncio.sleep(0)  # a slice that was due must not send again
    assert len(city.order) == 2 * RECEIVERS


async def test_too_many_deliveries_are_finished_at_once() -> None:
    city = City()
    for number in range(17):
        city.send(str(number))
    assert not city.fan_out.is_running


async def test_first_listener_differs_between_deliveries() -> None:
    city = City()
    for frame in "abcd":
        city.send(frame)
        city.fan_out.finish()
    assert len({city.order[number * RECEIVERS] for number in range(4)}) == 4


async def test_failing_listener_stops_no_other() -> None:
    city = City()

    def fail(_frame: str) -> None:
        raise ValueError("a fault")

    with capture_logs() as logs:
        city.fan_out.deliver({0: fail, 1: city._receive(1)}, "a", is_listening=city.listening.__contains__)
    assert city.order == [1]
    assert [entry["event"] for entry in logs] == ["listener_failed"]


async def test_delivery_begun_by_a_receiver_comes_after_it() -> None:
    city = City()

    def answer(_frame: str) -> None:
        city.send("b", receivers=2)

    receivers = {9: answer, 0: city._receive(0), 1: city._receive(1)}
    city.fan_out.deliver(receivers, "a", is_listening=city.listening.__contains__)
    await city.is_done()
    assert city.frames == {0: ["a", "b"], 1: ["a", "b"]}


def _turns_of_the_loop(city: City) -> Iterator[int]:
    """Count the turns of the event loop while deliveries run."""
    loop, turns = asyncio.get_running_loop(), count()

    def turn() -> None:
        next(turns)
        if city.fan_out.is_running:
            loop.call_soon(turn)

    loop.call_soon(turn)
    return turns
