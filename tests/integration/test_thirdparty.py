"""Third-party lookups of the homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.rooms import room_id_of
from tests.parts.in_process_city import InProcessCity, in_process_city

PREFIX = "/_matrix/app/v1/thirdparty"
HS_TOKEN = "a token of theirs"


@pytest.fixture
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(sqlite_url) as city:
        yield city


async def ask(city: InProcessCity, path: str, token: str | None = HS_TOKEN) -> tuple[int, Any]:
    answer = await city.call("GET", PREFIX + path, token=token, listener="matrix")
    return answer.status, answer.content


def user(slug: str, name: str) -> dict[str, Any]:
    return {
        "userid": f"@agent_{slug}:city.localhost",
        "protocol": "daarion",
        "fields": {"slug": slug, "name": name},
    }


DAARWIZZ, SCRIBE = user("daarwizz", "DAARWIZZ"), user("scribe", "Писар")


async def test_protocol_lists_search_fields(city: InProcessCity) -> None:
    status, protocol = await ask(city, "/protocol/daarion")
    assert status == 200
    # Required by the specification: each field has its type.
    assert protocol.keys() == {"user_fields", "location_fields", "icon", "field_types", "instances"}
    assert {*protocol["user_fields"], *protocol["location_fields"]} == set(protocol["field_types"])
    assert all(each.keys() == {"regexp", "placeholder"} for each in protocol["field_types"].values())


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/user/daarion?slug=scribe", [SCRIBE]),
        ("/user/daarion?name=wizz", [DAARWIZZ]),
        ("/user/daarion?name=%D0%9F%D0%98%D0%A1%D0%90%D0%A0", [SCRIBE]),
        ("/user/daarion?slug=scribe&name=wizz", None),
        ("/user/daarion", [DAARWIZZ, SCRIBE]),
        ("/user/daarion?access_token=legacy", [DAARWIZZ, SCRIBE]),
        ("/user/daarion?slug=", None),
        ("/user/daarion?slug=nobody", None),
        ("/user/daarion?nickname=scribe", None),
        ("/user/irc?slug=scribe", None),
        ("/user?userid=%40agent_scribe%3Acity.localhost", [SCRIBE]),
        ("/user?userid=%40agent_nobody%3Acity.localhost", None),
        ("/user?userid=%40agent_scribe%3Aelsewhere.example", None),
        ("/user?userid=%40citizen_u_1%3Acity.localhost", None),
        ("/user?userid=nonsense", None),
        ("/location/daarion?room=nowhere", None),
        ("/location/irc?room=general", None),
        ("/location?alias=%23city%3Acity.localhost", None),
        ("/location?alias=%23city_general%3Aelsewhere.example", None),
        ("/protocol/irc", None),
    ],
)
async def test_agents_and_rooms_are_found_by_field(city: InProcessCity, path: str, found: Any) -> None:
    status, content = await ask(city, path)
    if found is None:
        assert (status, content["errcode"]) == (404, "M_NOT_FOUND")
    else:
        assert (status, content) == (200, found)


async def test_listed_rooms_are_found(city: InProcessCity) -> None:
    general = {
        "alias": "#city_general:city.localhost",
        "protocol": "daarion",
        "fields": {"room": "general", "name": "General"},
    }
    assert await ask(city, "/location/daarion?room=general") == (200, [general])
    assert await ask(city, "/location?alias=%23city_general%3Acity.localhost") == (200, [general])
    status, rooms = await ask(city, "/location/daarion")
    assert (status, [each["fields"]["room"] for each in rooms]) == (200, ["general", "welcome", "builders"])

    async with city.city.database.transaction() as tx:
        await tx.rooms.set_rules(room_id_of("general"), join_rule="invite")
    assert (await ask(city, "/location/daarion?room=general"))[0] == 404


@pytest.mark.parametrize("path", ["/user", "/location", "/user?userid=", "/location?alias="])
async def test_query_without_search_field_is_refused(city: InProcessCity, path: str) -> None:
    status, content = await ask(city, path)
    assert (status, content["errcode"]) == (400, "M_MISSING_PARAM")


@pytest.mark.parametrize("path", ["/protocol/daarion", "/user/daarion", "/user", "/location/daarion", "/location"])
async def test_lookup_requires_hs_token(city: InProcessCity, path: str) -> None:
    for token, expected in ((None, (401, "M_MISSING_TOKEN")), ("a token of ours", (403, "M_FORBIDDEN"))):
        status, content = await ask(city, path, token)
        assert (status, content["errcode"]) == expected
