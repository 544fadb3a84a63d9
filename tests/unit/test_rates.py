"""Rate limits: settings, the windows of each rate, and the routes with a rate of their own."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from daarion_appservice.config import LimitsSettings, Settings
from daarion_appservice.errors import TooManyRequests
from daarion_appservice.http.limits.rates import Rate, RateLimiter
from daarion_appservice.http.limits.route_rates import ROUTE_RATES, rate_of_event
from daarion_appservice.wiring import build_city
from daarion_appservice.wiring.servers import build_city_server
from tests.parts.clock import SecondsClock
from tests.unit.test_docs import app_of


@pytest.mark.parametrize("text", ["10/second", "240/minute", "10 per hour", "100/5 seconds", "1/day", ""])
def test_rate_setting_valid_text_is_accepted(text: str) -> None:
    assert LimitsSettings(reads=text).reads == text


@pytest.mark.parametrize(
    "text", ["often", "0/minute", "-1/minute", "10", "10/fortnight", "1/second;20/minute", "1.5/minute"]
)
def test_rate_setting_invalid_text_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match=r"must be like 10/second"):
        LimitsSettings(reads=text)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "proxy.example", ""])
def test_proxy_setting_invalid_network_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match=r"must be an address like"):
        Settings.model_validate({"api": {"trusted_proxies": [text]}})


@pytest.mark.parametrize("rate", list(Rate))
async def test_rate_limit_applies_unless_empty(rate: Rate, clock: SecondsClock) -> None:
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


async def test_route_rates_name_existing_routes() -> None:
    settings = Settings.model_validate(
        {"appservice": {"as_token": "ours", "hs_token": "theirs"}, "database": {"url": "sqlite:///:memory:"}}
    )
    city = build_city(settings)
    try:
        routes = app_of(build_city_server(city)).router.routes()
        assert ROUTE_RATES.keys() <= {(route.method, route.resource.canonical) for route in routes if route.resource}
    finally:
        await city.close()


@pytest.mark.parametrize(
    ("event", "rate"),
    [
        ("city.room.send", Rate.MESSAGES),
        ("city.room.typing", Rate.TYPING),
        ("presence.heartbeat", None),
        ("unknown", Rate.CHANGES),
        (["city.room.send"], Rate.CHANGES),
        (None, Rate.CHANGES),
    ],
)
def test_rate_of_event_unknown_counts_as_change(event: object, rate: Rate | None) -> None:
    assert rate_of_event(event) is rate
