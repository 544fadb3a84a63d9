"""Tests of the city listener against its OpenAPI document, by schemathesis clients."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import Any

import aiohttp
import pytest

from daarion_appservice.city.types import AgentSlug
from daarion_appservice.config.pickle_key import new_pickle_key
from tests.parts.agents_core import ScriptedCore
from tests.parts.browser import Browser
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.encryption_rows import account_row
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.schemathesis_client import (
    SchemathesisClient,
    SchemathesisRun,
    is_for,
    needs_homeserver,
    routes,
    schemathesis_process,
)

EXAMPLE_ID = "01M80JJAXFTK9TPCTY26E2R4Y5"
EXAMPLE_TOKEN_ID = "01M80JJAXGAGENT0T0KEN00000"
NO_LIMITS = dict.fromkeys(
    [
        "reads",
        "previews",
        "wrong_tokens",
        "messages",
        "changes",
        "sign_ins",
        "uploads",
        "rooms",
        "typing",
        "heartbeats",
    ],
    "",
)


Schemathesis = Callable[..., Awaitable[SchemathesisRun]]


@pytest.fixture
async def city(sqlite_url: str) -> AsyncIterator[InProcessCity]:
    async with (
        ScriptedCore().serving() as core,
        in_process_city(
            sqlite_url,
            limits=NO_LIMITS,
            agents_core={"url": core.url},
            sign_in={"name": True},
            encryption={"pickle_key": new_pickle_key()},
        ) as city,
    ):
        yield city


@pytest.fixture(scope="module")
def schemathesis() -> Iterator[Schemathesis]:
    with schemathesis_process() as run:
        yield run


def url(city: InProcessCity, path: str = "") -> str:
    return f"http://{HOST}:{city.city.settings.api.port}{path}"


# --- the routes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_documentation_is_revalidated_by_etag(city: InProcessCity, path: str) -> None:
    first = await city.call("GET", path)
    assert first.status == 200
    assert first.headers["Cache-Control"] == "public, no-cache"
    again = await city.call("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.content, again.headers["ETag"]) == (304, "", first.headers["ETag"])
    other = await city.call("GET", path, headers={"If-None-Match": '"another"'})
    assert (other.status, other.content) == (200, first.content)
    head = await city.call("HEAD", path)
    assert (head.status, head.headers["ETag"]) == (200, first.headers["ETag"])


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_documentation_is_compressed_by_gzip(city: InProcessCity, path: str) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        plain = await session.get(url(city, path), headers={"Accept-Encoding": "identity"})
        packed = await session.get(url(city, path), headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in plain.headers
        assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert len(body := await packed.read()) < 80_000
        assert gzip.decompress(body) == await plain.read()


async def test_document_needs_no_valid_token(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, api={"anonymous_read": False, "jwt": {"secret": "another " * 8}}) as city:
        for token in (None, "no token of ours"):
            assert (await city.call("GET", "/openapi.json", token=token)).status == 200
        document = await city.get("/openapi.json")
        assert {} not in document["paths"]["/city/rooms"]["get"]["security"]


async def test_page_fits_a_phone_and_loads_nothing_else(city: InProcessCity, browser: Browser) -> None:
    tab = await browser.open(url(city, "/docs"))
    await tab.page.set_viewport_size({"width": 360, "height": 780})
    assert await tab.run("document.documentElement.scrollWidth") == 360, "the page has no horizontal scroll bar"
    assert await tab.run("performance.getEntriesByType('resource').length") == 0
    await tab.page.get_by_role("link", name="Post a message").click()
    await tab.page.get_by_text("no second message is posted").wait_for()
    assert await tab.run("getComputedStyle(document.querySelector('pre')).whiteSpace") == "pre-wrap", (
        "the style sheet is applied"
    )
    assert tab.errors == []


# --- conformance --------------------------------------------------------------------------------------


async def test_responses_conform_to_document(city: InProcessCity, schemathesis: Schemathesis) -> None:
    document = await create_example_resources(city)
    clients = await clients_of(city)
    responses = set()
    for each in await poll_operations(city):  # before a client archives the room
        responses |= await check_conformance(schemathesis, city, each, clients[0], examples=1)
    left = dict(routes(document))
    for each in clients:
        covered = {name for name, route in left.items() if is_for(each.kind, route)}
        left = {name: route for name, route in left.items() if name not in covered}
        responses |= await check_conformance(schemathesis, city, document, each, examples=1, covered=covered)
    assert left == {}, "a route has no client"
    responses |= await check_conformance(
        schemathesis, city, await agent_operations(city), SchemathesisClient("admin", ADMIN_TOKEN), examples=1
    )
    expected = {
        (name, int(next(iter(route["responses"]))))
        for name, route in routes(document)
        if not needs_homeserver(route)  # this city has none
    }
    assert expected - responses == set(), "no client received the usual response"


async def test_schemathesis_finds_differences(city: InProcessCity, schemathesis: Schemathesis) -> None:
    document = await city.get("/openapi.json")
    home = document["paths"]["/city/home"]["get"]
    home["responses"]["200"]["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/TypingResult"}
    del document["paths"]["/city/feed"]["get"]["responses"]["422"]
    document["paths"] = {path: document["paths"][path] for path in ("/city/home", "/city/feed")}
    result = await schemathesis(document, url(city), SchemathesisClient("anonymous"), examples=1)
    assert result.faults.keys() == {
        "GET /city/home: Response violates schema",
        "GET /city/feed: Undocumented status code",
    }


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 4))
async def test_responses_conform_to_document_soak(city: InProcessCity, schemathesis: Schemathesis, seed: int) -> None:
    document = await create_example_resources(city)
    for each in await clients_of(city):
        await check_conformance(schemathesis, city, document, each, examples=50, seed=seed)


async def clients_of(city: InProcessCity) -> list[SchemathesisClient]:
    return [
        SchemathesisClient("citizen", citizen_token("u_123", "Оксана")),
        SchemathesisClient("agent", await city.agent_token("daarwizz")),
        SchemathesisClient("service", SERVICE_TOKEN),
        SchemathesisClient("admin", ADMIN_TOKEN),
        SchemathesisClient("anonymous"),
    ]


async def create_example_resources(city: InProcessCity) -> Any:
    """Create the resources that the examples name, and return the document with their ids."""
    oksana = citizen_token("u_123", "Оксана")
    await city.call("POST", "/city/rooms", {"name": "Поділ", "slug": "podil"}, token=oksana)
    await city.call("POST", "/city/rooms/podil/join", token=citizen_token("u_124", "Тарас"))
    put = await city.call("PUT", "/api/v1/nodes/node-kyiv-1", {"name": "Київ"}, token=ADMIN_TOKEN)
    assert put.status in {200, 201}, put.content
    posted = await city.call("POST", "/city/rooms/podil/messages", {"body": "Добрий вечір!"}, token=oksana)
    return json.loads(json.dumps(await city.get("/openapi.json")).replace(EXAMPLE_ID, posted.content["id"]))


async def agent_operations(city: InProcessCity) -> Any:
    """Return the document with the operations that need an agent with a token and a device, and the id of the token."""
    await city.call("PUT", "/api/v1/agents/daarwizz", {"display_name": "DAARWIZZ"}, token=ADMIN_TOKEN)
    made = await city.call("POST", "/api/v1/agents/daarwizz/tokens", token=ADMIN_TOKEN)
    text = json.dumps(await city.get("/openapi.json")).replace(EXAMPLE_TOKEN_ID, made.content["id"])
    document = json.loads(text)
    async with city.city.database.transaction() as tx:
        await tx.encryption_accounts.save(account_row(city.city.identities.agent(AgentSlug("daarwizz"))))
    operations = ("/tokens/{token_id}", "/encryption/reset")
    document["paths"] = {path: each for path, each in document["paths"].items() if path.endswith(operations)}
    return document


async def poll_operations(city: InProcessCity) -> list[Any]:
    """Return the document with the operations of polls, once for each path, with the id of a poll of its own."""
    text, oksana = json.dumps(await city.get("/openapi.json")), citizen_token("u_123", "Оксана")
    documents = []
    for end in ("/votes", "/end"):
        poll = {"poll": {"question": "Куди?", "options": ["Фунікулер", "Поділ"]}}
        posted = await city.call("POST", "/city/rooms/podil/messages", poll, token=oksana)
        document = json.loads(text.replace(EXAMPLE_ID, posted.content["id"]))
        document["paths"] = {path: each for path, each in document["paths"].items() if path.endswith(end)}
        documents.append(document)
    return documents


async def check_conformance(
    schemathesis: Schemathesis,
    city: InProcessCity,
    document: Any,
    client: SchemathesisClient,
    *,
    examples: int,
    seed: int = 1,
    covered: Collection[str] | None = None,
) -> set[tuple[str, int]]:
    """Run schemathesis as a client, and return the statuses of the operations."""
    result = await schemathesis(document, url(city), client, examples=examples, seed=seed, covered=covered)
    assert result.faults == {}, "\n\n".join(result.faults.values())
    return result.answered
