"""``GET /api/v1/people/{person_id}/export``: everything that the city stores about a person, and nothing of others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from daarion_appservice.storage.personal_data import export as people_export
from daarion_appservice.storage.personal_data.holdings import HOLDINGS
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.person_rows import CITIZEN, NAME, OF_AGENTS_ONLY, SPARROW, TEXT, USER, add_person

Record = dict[str, Any]


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        await add_person(city.city.database)
        yield city


def path_of(person: str) -> str:
    return f"/api/v1/people/{quote(person, safe='')}/export"


async def exported(city: InProcessCity, person: str = CITIZEN) -> list[Record]:
    text: str = await city.get(path_of(person), token=ADMIN_TOKEN)
    return [orjson.loads(line) for line in text.splitlines()]


def of_type(records: list[Record], name: str) -> list[Record]:
    return [record for record in records if record["type"] == name]


async def test_export_has_records_of_every_table(city: InProcessCity) -> None:
    records = await exported(city)
    expected = {holding.record for holding in HOLDINGS if holding.record and holding.table not in OF_AGENTS_ONLY}
    assert {record["type"] for record in records} == expected | {"export", "presence", "end"}


async def test_export_begins_and_ends_with_frame(city: InProcessCity) -> None:
    first, *others, last = await exported(city)
    assert (first["schema"], first["subjects"]) == (1, [USER, CITIZEN])
    assert last == {"type": "end", "records": len(others)}


async def test_export_has_own_messages_only(city: InProcessCity) -> None:
    records = await exported(city)
    messages = {record["id"]: record for record in of_type(records, "message")}
    assert messages.keys() == {"m1", "m2", "m4", "m6", "m7"}
    assert messages["m1"]["media"]["filename"] == "zebra.png"
    assert messages["m1"]["created_at"] == "1970-01-01T00:01:41.000Z"
    assert messages["m4"]["deleted"]
    assert [record["message_id"] for record in of_type(records, "edit")] == ["m1"]
    # Whom the person writes to and blocks is data of the person.
    others = [record for record in records if record["type"] not in {"citizen_chat", "block"}]
    assert SPARROW not in orjson.dumps(others).decode()


async def test_both_ids_of_linked_person_export_same(city: InProcessCity) -> None:
    assert [each for each in await exported(city, USER) if each["type"] != "export"] == [
        each for each in await exported(city) if each["type"] != "export"
    ]


async def test_export_has_no_secrets(city: InProcessCity) -> None:
    text = orjson.dumps(await exported(city)).decode()
    assert "pickle" not in text.lower()
    assert TEXT in text
    assert NAME in text


async def test_export_in_small_pages_is_complete(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (await exported(city))[1:]
    monkeypatch.setattr(people_export, "_PAGE", 1)
    assert (await exported(city))[1:] == whole


async def test_agent_is_exported_with_tokens(city: InProcessCity) -> None:
    secret = await city.agent_token("scribe")
    records = await exported(city, "agent:scribe")
    assert [record["slug"] for record in of_type(records, "agent")] == ["scribe"]
    (token,) = of_type(records, "token")
    assert token.keys() == {"type", "id", "agent_id", "created_at", "revoked_at"}
    # A secret may hold "_" itself: its last part alone could be one digit.
    _, token_id, hidden = secret.split("_", 2)
    assert token_id == token["id"]
    assert hidden not in orjson.dumps(records).decode()


@pytest.mark.parametrize(
    ("person", "status", "code"),
    [
        ("u_nobody", 404, "no_such_person"),
        ("agent:nobody", 404, "no_such_person"),
        ("agent:Not A Slug", 422, "no_person"),
        ("@city_observer:city.localhost", 422, "no_person"),
        ("a\nb", 422, "no_person"),
    ],
)
async def test_unknown_person_is_refused(city: InProcessCity, person: str, status: int, code: str) -> None:
    answer = await city.call("GET", path_of(person), token=ADMIN_TOKEN)
    assert (answer.status, answer.content["code"]) == (status, code)


async def test_only_admins_export(city: InProcessCity) -> None:
    tokens = {None: 401, citizen_token(CITIZEN): 403, await city.agent_token("scribe"): 403, ADMIN_TOKEN: 200}
    found = {token: (await city.call("GET", path_of(CITIZEN), token=token)).status for token in tokens}
    assert found == tokens
