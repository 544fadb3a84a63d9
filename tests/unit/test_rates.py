"""How often is too often, who is counted under which name, and that counting never takes up more than so much."""

from __future__ import annotations

import tracemalloc

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from multidict import CIMultiDict
from pydantic import ValidationError
from structlog.testing import capture_logs

from daarion_appservice.config import LimitsSettings, Settings
from daarion_appservice.errors import TooManyRequests
from daarion_appservice.http.limits import moving_window
from daarion_appservice.http.limits.addresses import Addresses
from daarion_appservice.http.limits.connections import ConnectionLimiter
from daarion_appservice.http.limits.leaky_bucket import LeakyBucket
from daarion_appservice.http.limits.moving_window import MovingWindow
from daarion_appservice.http.limits.rates import Rate, RateLimiter
from daarion_appservice.http.limits.route_rates import ROUTE_RATES
from daarion_appservice.wiring import build_city
from daarion_appservice.wiring.servers import build_city_server
from tests.unit.test_docs import app_of


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- moving windows -----------------------------------------------------------------------------------


def test_no_span_holds_more_than_the_limit_whenever_it_begins(clock: Clock) -> None:
    window = MovingWindow(parse("3/minute"), clock)
    taken = []
    for clock.now_s in range(1000, 1200, 7):
        if window.count("u") == 0:
            taken.append(clock.now_s)
    assert taken == [1000, 1007, 1014, 1063, 1070, 1077, 1126, 1133, 1140, 1189, 1196]


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from("ab")), max_size=80))
def test_a_window_takes_what_a_list_of_all_times_would(steps: list[tuple[float, str]]) -> None:
    clock = Clock()
    window = MovingWindow(parse("3/minute"), clock)
    times: dict[str, list[float]] = {"a": [], "b": []}
    for step_s, who in steps:
        clock.now_s += step_s
        latest = [at_s for at_s in times[who] if at_s > clock.now_s - 60]
        expected = latest[0] + 60 - clock.now_s if len(latest) == 3 else 0
        assert window.wait_s(who) == window.count(who) == expected
        if not expected:
            times[who] = [*latest, clock.now_s]


def test_whoever_comes_when_told_is_let_in(clock: Clock) -> None:
    window = MovingWindow(parse("2/hour"), clock)
    assert [window.count("u"), window.count("u")] == [0, 0]
    clock.now_s += 600
    wait_s = window.count("u")
    assert wait_s == 3000
    clock.now_s += wait_s - 1
    assert window.count("u") == 1
    clock.now_s += 1
    assert window.count("u") == 0


def test_one_does_not_use_up_what_is_anothers(clock: Clock) -> None:
    window = MovingWindow(parse("1/minute"), clock)
    assert [window.count("a"), window.count("b")] == [0, 0]
    assert window.count("a") == window.count("b") == 60


def test_whoever_did_not_ask_for_two_spans_is_forgotten(clock: Clock) -> None:
    window = MovingWindow(parse("5/minute"), clock)
    for number in range(1000):
        window.count(f"address {number}")
    assert len(window) == 1000
    for _ in range(2):
        clock.now_s += 60
        window.count("somebody")
    assert len(window) == 1


def test_more_addresses_than_are_remembered_take_up_no_more(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_window, "MAX_KEYS", 1000)
    window = MovingWindow(parse("5/minute"), clock)
    for number in range(100_000):
        window.count(f"address {number}")
    assert len(window) <= 2000
    tracemalloc.start()
    for number in range(100_000, 200_000):
        window.count(f"address {number}")
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_000_000
    assert window.count("address 199999") == 0, "the newest are remembered"
    for _ in range(3):
        window.count("address 199999")
    assert window.count("address 199999") == 60


def test_whoever_asks_all_the_time_takes_up_no_more_than_one_span(clock: Clock) -> None:
    window = MovingWindow(parse("1000/minute"), clock)
    for _ in range(10_000):
        clock.now_s += 1
        assert window.count("u") == 0
    (times,) = window._young.values()
    assert len(times) <= 60


# --- the bucket of one socket ---------------------------------------------------------------------------


def test_a_socket_may_say_so_much_at_once_and_then_as_much_as_drains(clock: Clock) -> None:
    bucket = LeakyBucket(parse("10/second"), clock)
    assert [bucket.add() for _ in range(10)] == [0] * 10
    wait_s = bucket.add()
    assert wait_s == pytest.approx(0.2)
    assert not bucket.is_exhausted
    clock.now_s += wait_s
    assert bucket.add() == pytest.approx(0)
    clock.now_s += 3600
    assert [bucket.add() > 0 for _ in range(11)] == [False] * 10 + [True], "no more is saved up"


def test_heartbeats_of_many_tabs_are_never_too_fast(clock: Clock) -> None:
    bucket = LeakyBucket(parse("50/second"), clock)
    for _ in range(1000):
        clock.now_s += 0.1
        assert bucket.add() == 0


def test_whoever_goes_on_is_a_flood(clock: Clock) -> None:
    bucket = LeakyBucket(parse("10/second"), clock)
    for _ in range(20):
        bucket.add()
        assert not bucket.is_exhausted
    bucket.add()
    assert bucket.is_exhausted


# --- what is open -------------------------------------------------------------------------------------


def test_there_are_so_many_places_for_one_and_as_many_for_another() -> None:
    places = ConnectionLimiter(per_subject=2, per_address=3)
    with places.take("a", "1.2.3.4"), places.take("a", "1.2.3.4"):
        with pytest.raises(TooManyRequests):
            places.take("a", "5.6.7.8")
        with places.take("b", "1.2.3.4"), pytest.raises(TooManyRequests):
            places.take("b", "1.2.3.4")
        with places.take("b", "5.6.7.8"), places.take("b", "1.2.3.4"), places.take(None, None):
            assert len(places) == 8
    assert len(places) == 0


def test_there_is_no_limit_where_none_is_wanted() -> None:
    places = ConnectionLimiter(per_subject=0, per_address=0)
    assert [places.take("a", "1.2.3.4") for _ in range(1000)]


def test_a_place_that_cannot_become_anothers_stays_whose_it_was() -> None:
    places = ConnectionLimiter(per_subject=1, per_address=1)
    with places.take(None, "1.2.3.4") as place:
        with places.take("a", None):
            with pytest.raises(TooManyRequests):
                place.move("a", None)
            with pytest.raises(TooManyRequests):
                places.take(None, "1.2.3.4")
        place.move("a", None)
        place.move("a", None)
        places.take(None, "1.2.3.4").__exit__()
        with pytest.raises(TooManyRequests):
            places.take("a", None)
    assert len(places) == 0
    assert not places._subjects
    assert not places._addresses


# --- addresses ----------------------------------------------------------------------------------------

PROXY, CLIENT = "10.0.0.1", "203.0.113.7"


def counted(peer: str, *forwarded: str, trusted: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8")) -> str | None:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in forwarded])
    return Addresses(trusted).of(make_mocked_request("GET", "/", headers=headers).clone(remote=peer))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        pytest.param(CLIENT, [], CLIENT, id="no proxy"),
        pytest.param(PROXY, [], PROXY, id="the proxy itself"),
        pytest.param(PROXY, [CLIENT], CLIENT, id="by a proxy"),
        pytest.param(CLIENT, ["198.51.100.1"], CLIENT, id="who is no proxy invents one"),
        pytest.param(PROXY, [f"198.51.100.1, {CLIENT}"], CLIENT, id="invented on the left"),
        pytest.param(PROXY, [f"127.0.0.1, {CLIENT}"], CLIENT, id="pretends to be this machine"),
        pytest.param(PROXY, [f"10.0.0.9, {CLIENT}"], CLIENT, id="pretends to be a proxy"),
        pytest.param(PROXY, ["198.51.100.1", CLIENT], CLIENT, id="invented in a line of its own"),
        pytest.param(PROXY, [f"{CLIENT}, 10.0.0.2"], CLIENT, id="two proxies"),
        pytest.param(PROXY, ["10.0.0.3, 10.0.0.2"], "10.0.0.3", id="only proxies"),
        pytest.param(PROXY, [f"{CLIENT}, unknown"], PROXY, id="a proxy that does not tell"),
        pytest.param(PROXY, ["<script>, , 10.0.0.2"], "10.0.0.2", id="nonsense"),
        pytest.param(PROXY, [""], PROXY, id="empty"),
        pytest.param(PROXY, [" " * 5000 + CLIENT], PROXY, id="longer than any address"),
        pytest.param(PROXY, [f"{CLIENT}:51234"], CLIENT, id="with a port"),
        pytest.param(PROXY, ["[2001:db8:1:2::9]:443"], "2001:db8:1:2::/64", id="six with a port"),
        pytest.param("2001:db8:1:2:ffff::1", [], "2001:db8:1:2::/64", id="six"),
        pytest.param("2001:db8:1:2::1", [], "2001:db8:1:2::/64", id="another of that household"),
        pytest.param("2001:db8:1:3::1", [], "2001:db8:1:3::/64", id="the neighbours"),
        pytest.param("fe80::1%eth0", [], "fe80::/64", id="with a zone"),
        pytest.param(f"::ffff:{CLIENT}", [], CLIENT, id="four on a socket for six"),
        pytest.param(f"::ffff:{PROXY}", [CLIENT], CLIENT, id="a proxy on a socket for six"),
        pytest.param("fd00::1", [CLIENT], CLIENT, id="a proxy with six"),
        pytest.param("127.0.0.1", [], None, id="this machine"),
        pytest.param("::1", [], None, id="this machine with six"),
        pytest.param("127.0.0.1", [CLIENT], None, id="this machine is no proxy here"),
    ],
)
def test_a_request_is_counted_for_whoever_sent_it(peer: str, forwarded: list[str], expected: str | None) -> None:
    assert counted(peer, *forwarded) == expected


def test_a_proxy_on_this_machine_is_trusted_by_default() -> None:
    assert counted("127.0.0.1", CLIENT, trusted=tuple(Settings().api.trusted_proxies)) == CLIENT
    assert counted("::1", CLIENT, trusted=tuple(Settings().api.trusted_proxies)) == CLIENT


def test_of_a_proxy_that_is_not_trusted_the_admin_is_told_once() -> None:
    addresses = Addresses([])
    with capture_logs() as logs:
        for _ in range(3):
            request = make_mocked_request("GET", "/", headers=CIMultiDict({"X-Forwarded-For": CLIENT}))
            addresses.of(request.clone(remote="172.17.0.1"))
    assert [(each["event"], each["address"]) for each in logs] == [("proxy_not_trusted", "172.17.0.1")]


# --- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["10/second", "240/minute", "10 per hour", "100/5 seconds", "1/day", ""])
def test_a_rate_is_written_as_the_library_has_it_or_not_at_all(text: str) -> None:
    assert LimitsSettings(reads=text).reads == text


@pytest.mark.parametrize(
    "text", ["often", "0/minute", "-1/minute", "10", "10/fortnight", "1/second;20/minute", "1.5/minute"]
)
def test_what_is_no_rate_is_a_mistake(text: str) -> None:
    with pytest.raises(ValidationError, match=r"must be like 10/second"):
        LimitsSettings(reads=text)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "proxy.example", ""])
def test_what_is_no_network_is_a_mistake(text: str) -> None:
    with pytest.raises(ValidationError, match=r"must be an address like"):
        Settings.model_validate({"api": {"trusted_proxies": [text]}})


@pytest.mark.parametrize("rate", list(Rate))
async def test_each_rate_has_its_setting_and_can_be_switched_off(rate: Rate, clock: Clock) -> None:
    limited = RateLimiter(LimitsSettings.model_validate({rate: "1/minute"}), None, clock)
    await limited.count(rate, "u")
    with pytest.raises(TooManyRequests, match=r"at most 1/minute") as refusal:
        await limited.count(rate, "u")
    assert refusal.value.retry_after_s == 60
    with pytest.raises(TooManyRequests):
        limited.check(rate, "u")
    limited.check(rate, "another")
    unlimited = RateLimiter(LimitsSettings.model_validate({rate: ""}), None, clock)
    for _ in range(100):
        await unlimited.count(rate, "u")
        unlimited.check(rate, "u")


async def test_what_is_counted_apart_exists() -> None:
    settings = Settings.model_validate(
        {"appservice": {"as_token": "ours", "hs_token": "theirs"}, "database": {"url": "sqlite:///:memory:"}}
    )
    city = build_city(settings)
    try:
        routes = app_of(build_city_server(city)).router.routes()
        assert ROUTE_RATES.keys() <= {(route.method, route.resource.canonical) for route in routes if route.resource}
    finally:
        await city.close()
