"""What the homeserver calls: everything it was answered 200 for is stored, and nothing else is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse
from yarl import URL

from tests.parts.transactions import (
    AUTHORIZED,
    HS_TOKEN,
    TRANSACTIONS,
    TransactionHarness,
    event,
    open_transactions,
)


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[TransactionHarness]:
    async with open_transactions(database_url) as harness:
        yield harness


async def refused(response: ClientResponse) -> tuple[int, str]:
    """Return status and ``errcode`` of a Matrix error response."""
    content = await response.json()
    assert content.keys() == {"errcode", "error"}
    assert content["error"]
    return response.status, content["errcode"]


# --- who may speak ------------------------------------------------------------------------------------


REFUSED_TOKENS: list[tuple[str | None, tuple[int, str]]] = [
    (None, (401, "M_MISSING_TOKEN")),
    ("", (401, "M_MISSING_TOKEN")),
    ("Bearer", (401, "M_MISSING_TOKEN")),
    (f"Basic {HS_TOKEN}", (401, "M_MISSING_TOKEN")),
    ("Bearer wrong", (403, "M_FORBIDDEN")),
    (f"Bearer {HS_TOKEN}x", (403, "M_FORBIDDEN")),
    ("Bearer ключ", (403, "M_FORBIDDEN")),
]
CALLS = [
    ("PUT", f"{TRANSACTIONS}/1"),
    ("POST", "/_matrix/app/v1/ping"),
    ("GET", "/_matrix/app/v1/users/@agent_daarwizz:city.localhost"),
    ("GET", "/_matrix/app/v1/rooms/%23city_general:city.localhost"),
]


async def test_transaction_requires_hs_token(harness: TransactionHarness) -> None:
    for authorization, refusal in REFUSED_TOKENS:
        headers = {} if authorization is None else {"Authorization": authorization}
        for method, path in CALLS:
            response = await harness.client.request(method, path, json={"events": [event("$1")]}, headers=headers)
            assert await refused(response) == refusal, (method, path, authorization)

    in_the_address = await harness.client.put(f"{TRANSACTIONS}/1?access_token={HS_TOKEN}", json={"events": []})
    assert await refused(in_the_address) == (401, "M_MISSING_TOKEN")
    assert await harness.stored() == []
    assert harness.names.requests == []


async def test_hs_token_is_accepted_in_each_http_form(harness: TransactionHarness) -> None:
    for authorization in (f"Bearer {HS_TOKEN}", f"bearer {HS_TOKEN}", f"Bearer  {HS_TOKEN}"):
        response = await harness.client.post("/_matrix/app/v1/ping", json={}, headers={"Authorization": authorization})
        assert (response.status, await response.json()) == (200, {})


# --- what is refused ----------------------------------------------------------------------------------


NO_TRANSACTIONS = [
    (b"", "M_NOT_JSON"),
    (b"not json", "M_NOT_JSON"),
    (b'{"events": [{"event_id": "$1", "room_id": "!r"}', "M_NOT_JSON"),
    (b'{"events": [\xff]}', "M_NOT_JSON"),
    (b'{"events": [{"event_id": "\xff", "room_id": "!r"}]}', "M_NOT_JSON"),
    (b'{"events": [NaN]}', "M_NOT_JSON"),
    (b"[" * 100_000, "M_NOT_JSON"),
    (b"[]", "M_BAD_JSON"),
    (b"null", "M_BAD_JSON"),
    (b'"events"', "M_BAD_JSON"),
    (b'{"events": {}}', "M_BAD_JSON"),
    (b'{"events": "all of them"}', "M_BAD_JSON"),
    (b'{"events": null}', "M_BAD_JSON"),
]


async def test_invalid_transaction_is_refused_and_not_stored(harness: TransactionHarness) -> None:
    for body, errcode in NO_TRANSACTIONS:
        assert await refused(await harness.send_raw("1", body)) == (400, errcode), body[:100]
    assert await harness.stored() == []
    assert await harness.dead() == []
    assert (await harness.send("1", {"events": [event("$1")]})).status == 200
    assert len(await harness.stored()) == 1, "when it comes again, and whole, it counts"


UNKNOWN = [
    ("GET", "/_matrix/app/v1/nothing", 404),
    ("PUT", "/_matrix/app/v2/transactions/1", 404),
    ("PUT", "/_matrix/app/v1/transactions/", 404),
    ("GET", "/", 404),
    ("GET", "/_matrix/app/v1/transactions/1", 405),
    ("PUT", "/_matrix/app/v1/ping", 405),
    ("POST", "/_matrix/app/v1/users/@a:b", 405),
]


async def test_unknown_path_is_unrecognised(harness: TransactionHarness) -> None:
    for method, path, status in UNKNOWN:
        response = await harness.client.request(method, path, headers=AUTHORIZED)
        assert await refused(response) == (status, "M_UNRECOGNIZED"), (method, path)


async def test_transaction_size_is_limited_as_in_synapse(harness: TransactionHarness) -> None:
    events = [event(f"${number}", "x" * 200_000) for number in range(100)]
    assert (await harness.send_raw("large", json.dumps({"events": events}).encode())).status == 200
    assert len(await harness.stored()) == 100

    async with harness.database.read_only() as tx:
        batch = await tx.inbox.waiting(after_id=0, limit=100)
    assert sum(len(row.event) for row in batch) < 1_300_000  # so much of it is in memory at a time

    too_large = b'{"events": [], "x": "' + b"x" * (32 * 1024 * 1024) + b'"}'
    assert await refused(await harness.send_raw("too large", too_large)) == (413, "M_TOO_LARGE")


async def test_oversized_event_becomes_dead_letter(harness: TransactionHarness) -> None:
    response = await harness.send("1", {"events": [event("$large", "x" * 600_000), event("$next")]})

    assert response.status == 200
    assert [row.event_id for row in await harness.stored()] == ["$next"]
    (dead,) = await harness.dead()
    assert (dead.event_id, dead.event) == ("$large", "{}")
    assert dead.error is not None
    assert "more than an event may have" in dead.error


@pytest.mark.parametrize("key", ["type", "state_key"])
async def test_event_with_too_long_key_becomes_a_dead_letter(harness: TransactionHarness, key: str) -> None:
    """The room's current state could not be asked for it: the path of the request would be too long."""
    events = [event("$long") | {key: "я" * 256}, event("$next") | {key: "я" * 255}]
    assert (await harness.send("1", {"events": events})).status == 200
    assert [row.event_id for row in await harness.stored()] == ["$next"]
    (dead,) = await harness.dead()
    assert (dead.event_id, dead.error) == ("$long", f"its {key} is longer than 255 characters")


# --- what is stored -----------------------------------------------------------------------------------


async def test_events_are_stored_in_order_before_the_answer(harness: TransactionHarness) -> None:
    response = await harness.send("1", {"events": [event("$b"), event("$a"), event("$c", room_id="!other")]})

    assert (response.status, await response.json()) == (200, {})
    rows = await harness.stored()
    assert [(row.event_id, row.matrix_room_id) for row in rows] == [("$b", "!r"), ("$a", "!r"), ("$c", "!other")]
    assert json.loads(rows[0].event) == event("$b")
    assert len(harness.woken) == 1


async def test_a_transaction_without_events_is_fine(harness: TransactionHarness) -> None:
    nothing: list[dict[str, Any]] = [{}, {"events": []}]
    for content in nothing:
        assert (await harness.send("1", content)).status == 200
    assert await harness.stored() == []


async def test_the_same_transaction_counts_once(harness: TransactionHarness) -> None:
    for _ in range(2):
        assert (await harness.send("1", {"events": [event("$1"), event("$2")]})).status == 200
    assert [row.event_id for row in await harness.stored()] == ["$1", "$2"]


async def test_concurrent_equal_transactions_count_once(harness: TransactionHarness) -> None:
    content = {"events": [event(f"${number}") for number in range(20)]}
    responses = await asyncio.gather(*(harness.send("1", content) for _ in range(10)))
    assert {response.status for response in responses} == {200}
    assert len(await harness.stored()) == 20


async def test_transaction_ids_may_restart(harness: TransactionHarness) -> None:
    await harness.send("1", {"events": [event("$before")]})
    await harness.send("1", {"events": [event("$after")]})
    assert [row.event_id for row in await harness.stored()] == ["$before", "$after"]


async def test_event_in_two_transactions_counts_once(harness: TransactionHarness) -> None:
    await harness.send("1", {"events": [event("$1"), event("$1"), event("$2")]})
    await harness.send("2", {"events": [event("$2"), event("$3")]})
    assert [row.event_id for row in await harness.stored()] == ["$1", "$2", "$3"]


UNREADABLE: list[Any] = [
    None,
    17,
    "event",
    ["$1"],
    {},
    {"type": "m.room.message", "room_id": "!r"},
    {"event_id": "$1", "type": "m.room.message"},
    event(""),
    event("$1", room_id=""),
    event("$1", room_id=None),
    event("$" + "x" * 255),
    event("$\0"),
    {"event_id": ["$1"], "room_id": "!r"},
]


async def test_events_without_id_become_dead_letters(harness: TransactionHarness) -> None:
    content = {"events": [event("$first"), *UNREADABLE, event("$last")]}
    for txn_id in ("1", "2"):
        assert (await harness.send(txn_id, content)).status == 200

    assert [row.event_id for row in await harness.stored()] == ["$first", "$last"]
    dead = await harness.dead()
    assert [json.loads(row.event) for row in dead] == UNREADABLE
    assert {row.error for row in dead} == {"no event_id or room_id"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"a\u0000b", "a\0b"),
        (r"a\ud800b", "a?b"),
        (r"\udc00\ud800", "??"),
        (r"\ud83c\udf89", "🎉"),
        (r"\\ud800", r"\ud800"),
    ],
    ids=["NUL", "half a character", "two halves in the wrong order", "a whole one", "a backslash"],
)
async def test_text_that_only_json_can_hold_stops_nothing(harness: TransactionHarness, written: str, read: str) -> None:
    body = r'{"events": [{"event_id": "$1", "room_id": "!r", "content": {"body": "%s"}}, %s]}'
    response = await harness.send_raw("1", (body % (written, json.dumps(event("$2")))).encode())

    assert response.status == 200
    rows = await harness.stored()
    assert [row.event_id for row in rows] == ["$1", "$2"]
    assert json.loads(rows[0].event)["content"]["body"] == read


async def test_an_event_that_is_nested_deeply_stops_nothing(harness: TransactionHarness) -> None:
    for depth in (100, 300, 1000):
        deep = '{"x": ' * depth + "1" + "}" * depth
        body = '{"events": [{"event_id": "$%d", "room_id": "!r", "content": %s}, %s]}'
        body %= (depth, deep, json.dumps(event(f"$after {depth}")))
        assert (await harness.send_raw(str(depth), body.encode())).status == 200

    stored = [row.event_id for row in await harness.stored()]
    dead = [row.event_id for row in await harness.dead()]
    assert [each for each in stored if each != "$1000"] == ["$100", "$after 100", "$300", "$after 300", "$after 1000"]
    assert "$1000" in (*stored, *dead)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1" + "0" * 400, None),
        ("-1" + "0" * 5_000, None),
        ("1e400", None),
        ("1" + "0" * 30, 1e30),
        (str(2**63), 2**63),
        (str(2**53), 2**53),
        ('["]", ' * 3_000 + "1" + "]" * 3_000, ["]"]),
    ],
    ids=["beyond a float", "5000 digits", "infinite", "beyond 64 bits", "unsigned", "64 bits", "nested"],
)
@pytest.mark.parametrize("place", ["events", "ephemeral"])
async def test_non_canonical_json_is_accepted(harness: TransactionHarness, written: str, read: Any, place: str) -> None:
    strange = '{"event_id": "$1", "room_id": "!r", "type": "m.receipt", "content": {"x": ?}}'.replace("?", written)
    events = f"{strange}, {json.dumps(event('$2'))}" if place == "events" else json.dumps(event("$2"))
    body = f'{{"events": [{events}], "ephemeral": [{strange}]}}'
    assert (await harness.send_raw("1", body.encode())).status == 200

    stored = {row.event_id: json.loads(row.event) for row in await harness.stored()}
    assert "$2" in stored
    if place == "events":
        value = stored["$1"]["content"]["x"]
        assert (value[:1] if isinstance(value, list) else value) == read


async def test_transaction_id_may_be_any_text(harness: TransactionHarness) -> None:
    names = ["%00", "%ff", "a%2fb", "x" * 2000, "%F0%9F%8E%89", "%20"]
    for name in names * 2:
        url = URL(f"{TRANSACTIONS}/{name}", encoded=True)
        response = await harness.client.put(url, json={"events": [event(name[:5])]}, headers=AUTHORIZED)
        assert response.status == 200
    assert [row.event_id for row in await harness.stored()] == [name[:5] for name in names]


# --- queries ------------------------------------------------------------------------------------------


QUESTIONS = [
    ("users/%40agent_daarwizz%3Acity.localhost", "@agent_daarwizz:city.localhost", True),
    ("users/@agent_nobody:city.localhost", "@agent_nobody:city.localhost", False),
    ("rooms/%23city_general%3Acity.localhost", "#city_general:city.localhost", True),
    ("rooms/%23city_%D1%8E%3Acity.localhost", "#city_ю:city.localhost", False),
    ("users/a%2Fb", "a/b", False),
]


async def test_existing_users_and_aliases_are_reported(harness: TransactionHarness) -> None:
    for path, _, is_there in QUESTIONS:
        response = await harness.client.get(URL(f"/_matrix/app/v1/{path}", encoded=True), headers=AUTHORIZED)
        if is_there:
            assert (response.status, await response.json()) == (200, {})
        else:
            assert await refused(response) == (404, "M_NOT_FOUND")
    assert harness.names.requests == [name for _, name, _ in QUESTIONS]
