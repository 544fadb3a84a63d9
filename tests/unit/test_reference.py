"""docs/reference: generated pages are up to date, and pages written by hand name what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import web

from daarion_appservice.config.keys import all_keys, environment_keys
from daarion_appservice.storage import tables
from daarion_appservice.wiring import build_city
from daarion_appservice.wiring.servers import build_city_server, build_matrix_server
from docgen import api, configuration, log_events, pages
from tests.unit.test_docs import in_first_column, text

ROOT = Path(__file__).parents[2]


async def test_generated_files_are_up_to_date() -> None:
    stale = [name for name, content in (await pages.generate()).items() if (ROOT / name).read_text() != content]
    assert stale == [], "run `make reference` and commit the files"


async def test_api_page_has_every_route() -> None:
    page = text("reference/api.md")
    named = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /\S*)`", page))
    assert await installed_routes() <= named


async def installed_routes() -> set[str]:
    """Return the routes of both listeners, without the pages."""
    city = build_city(pages.settings())
    try:
        listeners: list[web.Application] = [
            api.application(build_city_server(city)),
            api.application(build_matrix_server(city)),
        ]
        return {
            f"{route.method} {route.resource.canonical}"
            for app in listeners
            for route in app.router.routes()
            if route.method not in {"HEAD", "OPTIONS"} and route.resource is not None
        }
    finally:
        await city.close()


def test_configuration_page_has_every_key() -> None:
    page = configuration.page()
    assert [key.dotted for key in all_keys() if key.section is None and f"| `{key.dotted}` |" not in page] == []
    assert [variable for variable in environment_keys() if f"`{variable}`" not in page] == []


def test_log_event_catalogue_matches_log_calls() -> None:
    catalogue = log_events.read_catalogue()
    assert {*catalogue["information"], *catalogue["attention"]} == set(log_events.modules_of_events())
    assert not set(catalogue["information"]) & set(catalogue["attention"])


def test_each_outage_in_the_log_has_its_end() -> None:
    catalogue = log_events.read_catalogue()
    ends = {event: entry.get("ends_with") for event, entry in catalogue["attention"].items()}
    assert {end for end in ends.values() if end} <= set(catalogue["information"])
    outages = {each for each in ends if each.endswith(("_lost", "_unavailable", "_gone", "_open", "not_ready"))}
    # Each of these reports one event, file or request, and no state.
    single = {
        "avatar_lost",
        "bus_events_lost",
        "media_unavailable",
        "openid_unavailable",
        "encryption_identity_lost",
        "encryption_devices_lost",
    }
    assert {each for each in outages if not ends[each]} <= single


def test_database_page_has_every_table() -> None:
    assert in_first_column(text("reference/database.md")) == set(tables.metadata.tables)
