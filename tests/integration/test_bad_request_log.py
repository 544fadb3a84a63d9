"""WebSocket requests through a reverse proxy without upgrade headers: refused with a reason, logged once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST

PATHS = ["/ws/city/presence", "/ws/city/rooms/general"]


@pytest.fixture
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url) as city:
        yield city


async def get(city: InProcessCity, path: str, headers: dict[str, str]) -> tuple[int, str]:
    url = f"http://{HOST}:{city.city.settings.api.port}{path}"
    async with city.session.get(url, headers=headers) as answer:
        return answer.status, (await answer.json(content_type=None))["code"]


async def test_upgrade_dropped_by_proxy_logged_once(city: InProcessCity) -> None:
    with capture_logs() as logs:
        for path in PATHS * 2:
            assert await get(city, path, {"Sec-WebSocket-Key": "x"}) == (426, "no_upgrade")
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["upgrade_missing"]
    assert "proxy_set_header Upgrade" in logs[0]["help"]


async def test_plain_request_to_socket_causes_no_warning(city: InProcessCity) -> None:
    with capture_logs() as logs:
        assert await get(city, PATHS[0], {}) == (426, "no_upgrade")
    assert not [line for line in logs if line["log_level"] == "warning"]


async def test_host_replaced_by_proxy_logged_with_both_names(city: InProcessCity) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            headers = {"Origin": "https://town.example", "Upgrade": "websocket"}
            assert await get(city, PATHS[0], headers) == (403, "origin_not_allowed")
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert (line["event"], line["origin"]) == ("origin_refused", "https://town.example")
    assert HOST in line["host"]
    assert "proxy_set_header Host" in line["help"]
