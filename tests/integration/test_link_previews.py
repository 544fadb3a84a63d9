"""Open Graph tags of the pages, and the pages that must not have any."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from daarion_appservice.city.types import HistoryVisibility, RoomId
from daarion_appservice.http import link_previews
from daarion_appservice.storage.ghosts import Ghost
from daarion_appservice.wiring import servers
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import AGENTS, InProcessCity, in_process_city

PUBLIC_URL = "https://city.example"
DOCUMENT = """<!doctype html><html lang="uk"><head>
    <meta name="description" content="A city of people &amp; agents" />
    <title>Built</title>
    <script src="/assets/a.js"></script>
</head><body><div id="root"></div></body></html>"""
HOSTILE = """"><script>alert('1')</script> & \\1 \\g<0> {0} %s"""
GENERAL = RoomId("city_general")


class _Tags(HTMLParser):
    """A document's ``<meta>`` and ``<title>``, as a crawler reads them, and which other elements there are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.meta: dict[str, str] = {}
        self.title = ""
        self.elements: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        values = dict(attrs)
        if tag == "meta" and (name := values.get("property") or values.get("name")):
            assert name not in self.meta, "a tag stands there once"
            self.meta[name] = values.get("content") or ""

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1] == "title":
            self.title += data.strip()


@pytest.fixture(autouse=True)
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "web_dist"
    folder.mkdir()
    (folder / "index.html").write_text(DOCUMENT)
    monkeypatch.setattr(servers, "DIST", folder)
    return folder


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    agents = [*AGENTS, {"slug": "rude", "display_name": HOSTILE, "title": HOSTILE, "microdao": "daarion"}]
    async with in_process_city(
        database_url, agents, api={"public_url": PUBLIC_URL + "/"}, city={"name": "Місто"}
    ) as city:
        yield city


async def tags(city: InProcessCity, path: str, **headers: str) -> _Tags:
    answer = await city.call("GET", path, headers=headers)
    assert answer.status == 200, path
    return _Tags(answer.content)


def og(found: _Tags) -> dict[str, str]:
    return {name: text for name, text in found.meta.items() if name.startswith(("og:", "twitter:"))}


async def open_room(city: InProcessCity, **room: str) -> Any:
    opened = await city.call("POST", "/city/rooms", room, token=citizen_token("u_1", "Оксана"))
    assert opened.status == 201, opened
    return opened.content


async def make_private(city: InProcessCity, room: str) -> None:
    async with city.city.database.transaction() as tx:
        await tx.rooms.set_rules(RoomId(room), join_rule="invite", history_visibility=HistoryVisibility.JOINED)


# --- what is claimed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/city", "/agents", "/secondme"])
async def test_city_page_has_city_preview(city: InProcessCity, path: str) -> None:
    found = await tags(city, path)
    assert og(found) == {
        "og:site_name": "Місто",
        "og:title": "Місто",
        "og:description": "A city of people & agents",
        "og:type": "website",
        "og:url": PUBLIC_URL + path,
        "og:image": PUBLIC_URL + link_previews.IMAGE,
        "og:image:width": "1200",
        "og:image:height": "630",
        "twitter:card": "summary_large_image",
    }
    assert found.title == "Місто"


async def test_room_page_has_name_and_description(city: InProcessCity) -> None:
    await open_room(city, name="Наука", description="Про зорі\nй не тільки")
    for path in ("/city/nauka", "/city/city_nauka"):
        found = await tags(city, path)
        assert found.title == "Наука · Місто"
        assert og(found) == og(found) | {
            "og:title": "Наука",
            "og:description": "Про зорі й не тільки",
            "og:type": "website",
            "og:url": f"{PUBLIC_URL}/city/nauka",
        }


async def test_renamed_room_has_new_name(city: InProcessCity) -> None:
    await open_room(city, name="Наука")
    assert (await tags(city, "/city/nauka")).meta["og:title"] == "Наука"
    first = await city.call("GET", "/city/nauka")
    await city.call("PATCH", "/city/rooms/nauka", {"name": "Ремесла"}, token=ADMIN_TOKEN)
    again = await city.call("GET", "/city/nauka", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, _Tags(again.content).meta["og:title"]) == (200, "Ремесла")


async def test_agent_page_has_name_title_and_picture(city: InProcessCity) -> None:
    wizz = await tags(city, "/agents/daarwizz")
    assert og(wizz) == og(wizz) | {
        "og:title": "DAARWIZZ",
        "og:description": "Orchestrator",
        "og:type": "profile",
        "og:url": f"{PUBLIC_URL}/agents/daarwizz",
        "og:image": PUBLIC_URL + link_previews.IMAGE,
    }
    user = city.city.identities.agent(city.city.agents.find("daarwizz").slug)
    async with city.city.database.transaction() as tx:
        await tx.ghosts.put(Ghost(user, avatar_mxc="mxc://city.localhost/wizz"))
    pictured = (await tags(city, "/agents/daarwizz")).meta
    assert pictured["og:image"] == f"{PUBLIC_URL}/city/media/city.localhost/wizz"
    assert pictured["twitter:card"] == "summary"
    assert "og:image:width" not in pictured, "it has another size"


async def test_place_page_has_its_name(city: InProcessCity) -> None:
    put = await city.call("PUT", "/api/v1/nodes/node-1", {"name": "Поділ", "description": "Вузол"}, token=ADMIN_TOKEN)
    assert put.status == 201
    node = (await tags(city, "/nodes/node-1")).meta
    assert (node["og:title"], node["og:description"]) == ("Поділ", "Вузол")
    assert (await tags(city, "/microdao/daarion")).meta["og:url"] == f"{PUBLIC_URL}/microdao/daarion"


async def test_url_without_public_url_is_the_requested_one(database_url: str) -> None:
    async with in_process_city(database_url) as city:
        host = f"127.0.0.1:{city.city.settings.api.port}"
        assert (await tags(city, "/city")).meta["og:url"] == f"http://{host}/city"
        assert (await tags(city, "/city", Host="city.localhost:7001")).meta[
            "og:url"
        ] == "http://city.localhost:7001/city"


# --- what is not --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/city/nowhere",
        "/city/%00",
        "/city/a%2Fb",
        "/city/" + "x" * 3000,
        "/city/%ED%A0%80",
        "/agents/nobody",
        "/agents/%00",
        "/nodes/none",
        "/microdao/none",
    ],
)
async def test_unknown_page_has_no_preview(city: InProcessCity, path: str) -> None:
    answer = await city.call("GET", path)
    assert (answer.status, answer.content) == (200, DOCUMENT)


@pytest.mark.parametrize("was_public", [True, False])
async def test_private_room_equals_missing_room(city: InProcessCity, was_public: bool) -> None:
    room = await open_room(city, name="Таємна", description="для своїх")
    if was_public:
        assert (await tags(city, "/city/taiemna")).meta["og:title"] == "Таємна"
    await make_private(city, room["id"])
    for path in ("/city/taiemna", f"/city/{room['id']}"):
        answer, unknown = await city.call("GET", path), await city.call("GET", "/city/nowhere")
        assert answer.content == DOCUMENT
        assert answer.headers["ETag"] == unknown.headers["ETag"]


async def test_direct_chat_has_no_preview(city: InProcessCity) -> None:
    agent = city.city.agents.find("daarwizz").slug
    async with city.city.database.transaction() as tx:
        chat = await tx.rooms.find("general")
        assert chat is not None
        await tx.rooms.add(replace(chat, id=RoomId("chat_1"), slug="chat-1", agent=agent), created_by=None)
    for path in ("/city/chat_1", "/city/chat-1"):
        assert (await city.call("GET", path)).content == DOCUMENT


async def test_city_without_anonymous_read_has_name_only(database_url: str) -> None:
    async with in_process_city(database_url, api={"anonymous_read": False}) as city:
        assert (await tags(city, "/")).meta["og:title"] == city.city.settings.city.name
        for path in ("/city/general", "/agents/daarwizz", "/nodes/node-1", "/microdao/daarion"):
            assert (await city.call("GET", path)).content == DOCUMENT


async def test_preview_text_is_escaped(city: InProcessCity) -> None:
    await open_room(city, name=HOSTILE, slug="rude", description=f"{HOSTILE}\u202e{'я' * 900}")
    elements = _Tags(DOCUMENT).elements
    for path in ("/city/rude", "/agents/rude"):
        found = await tags(city, path)
        assert found.meta["og:title"] == HOSTILE
        assert found.meta["og:description"].startswith(HOSTILE)
        assert "\u202e" not in found.meta["og:description"]
        assert len(found.meta["og:description"]) <= 300
        assert [each for each in found.elements if each != "meta"] == [each for each in elements if each != "meta"]


async def test_page_without_database_is_served(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(link_previews, "_TIMEOUT_S", 0.05)
        async with city.city.database.read_cache._turn:  # reads wait for it
            answer = await city.call("GET", "/city/general")
    assert (answer.status, answer.content) == (200, DOCUMENT)
    assert (await tags(city, "/city/general")).meta["og:title"] == "General"


# --- together with the rest ---------------------------------------------------------------------------


async def test_etag_begins_with_build_etag(city: InProcessCity) -> None:
    """The service worker compares builds by it."""
    built = (await city.call("GET", "/city/nowhere")).headers["ETag"].removeprefix('W/"').rstrip('"')
    assert len(built) == 32
    pages = [(await city.call("GET", path)).headers["ETag"] for path in ("/", "/city/general", "/agents/daarwizz")]
    assert all(each.startswith(f'W/"{built}-') for each in pages)
    assert len(set(pages)) == 3
