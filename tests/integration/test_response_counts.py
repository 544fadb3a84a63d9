"""``daarion_http_responses_total``: responses of both listeners by status."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.parts.in_process_city import InProcessCity, in_process_city


async def counted(city: InProcessCity, listener: str, status: str) -> float:
    text = await city.get("/metrics", listener="matrix")
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "daarion_http_responses_total" and sample.labels == {"listener": listener, "status": status}
    )


@pytest.mark.parametrize(
    ("listener", "path", "status"),
    [
        ("api", "/city/rooms", 200),
        ("api", "/city/rooms/nowhere", 404),
        ("matrix", "/readyz", 503),
        ("matrix", "/x", 404),
    ],
)
async def test_response_is_counted_by_listener_and_status(
    sqlite_url: str, listener: str, path: str, status: int
) -> None:
    async with in_process_city(sqlite_url) as city:
        before = await counted(city, listener, str(status))
        assert (await city.call("GET", path, listener=listener)).status == status
        assert await counted(city, listener, str(status)) == before + 1
