"""Presence as pages in a real Chromium and Matrix clients show it.

The pages come from another origin than the city's API, as the city's frontend may, so that everything here goes through
CORS and the check of a WebSocket's origin.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import groupby
from typing import Any

import pytest
import pytest_asyncio

from tests.parts.browser import Browser, Tab, serve_page, start_browser
from tests.parts.city import RunningCity, StartCity, citizen_token, eventually, shared_city
from tests.parts.matrix_user import Arrive, quiet_user, syncing
from tests.parts.synapse import SERVER_NAME
from tests.parts.tcp_proxy import tcp_proxy_to

TTL_S = 8.0
"""Shorter than a city's, so that a test need not wait 40 s for an agent to be missed."""

PAGE = """<!doctype html><meta charset="utf-8"><title>A page of the city's frontend</title>
<script>
const frames = [], events = [];
let socket, stream, beats = 0;

const openSocket = (api, token) => new Promise(resolve => {
  socket = new WebSocket(api.replace("http", "ws") + "/ws/city/presence?token=" + token);
  socket.onmessage = message => frames.push(JSON.parse(message.data));
  socket.onopen = () => resolve("open");
  socket.onclose = closed => resolve("closed " + closed.code);
});

const openStream = api => new Promise(resolve => {
  stream = new EventSource(api + "/api/v1/presence/stream");
  for (const event of ["snapshot", "presence", "resync"])
    stream.addEventListener(event, message => events.push([event, message.lastEventId, JSON.parse(message.data)]));
  stream.onopen = () => resolve("open");
  stream.onerror = () => resolve("error");
});

const call = (api, method, path, token, body) => fetch(api + path, {
  method, body: body && JSON.stringify(body),
  headers: {Authorization: "Bearer " + token, "Content-Type": "application/json"},
}).then(answer => answer.status, refused => refused.name);

const beHere = (user, session) => {
  const say = event => socket.send(JSON.stringify({event, user_id: user, session_id: session}));
  const beat = () => { say("presence.heartbeat"); beats += 1; };
  beat();
  setInterval(beat, 250);
  addEventListener("pagehide", () => say("presence.offline"));
};
</script>"""


in_one_city = pytest.mark.asyncio(loop_scope="module")
"""All tests but the one with people on Matrix: when Synapse misses them, pages hear of it."""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Presence is in memory; one database will do."""
    return sqlite_url


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    async with serve_page(PAGE) as origin:
        yield origin


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def frontend() -> AsyncIterator[str]:
    """The origin of the pages that may call ``city``."""
    async with serve_page(PAGE) as origin:
        yield origin


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(tmp_path_factory: pytest.TempPathFactory, frontend: str) -> AsyncIterator[RunningCity]:
    """Each test ends without online subjects."""
    async with shared_city(tmp_path_factory.mktemp("seen"), first=allow(frontend)) as city:
        yield city


@pytest_asyncio.fixture(loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


def allow(origin: str) -> Callable[[RunningCity], Awaitable[None]]:
    """What an admin writes, so that the pages of ``origin`` may call the API."""

    async def allow(city: RunningCity) -> None:
        text = city.config.read_text()
        assert "allowed_origins: []" in text
        city.config.write_text(text.replace("allowed_origins: []", f"allowed_origins: [{origin}]"))

    return allow


class Agent:
    """Sends heartbeats, the last one again and again, until ``stop``."""

    def __init__(self, city: RunningCity, slug: str, token: str) -> None:
        self._city = city
        self._path = f"/api/v1/agents/{slug}/heartbeat"
        self._token = token
        self._beating: asyncio.Task[None] | None = None

    @classmethod
    async def of(cls, city: RunningCity, slug: str) -> Agent:
        return cls(city, slug, await city.agent_token(slug))

    async def beat(self, **heartbeat: str) -> None:
        await self._city.post(self._path, heartbeat, token=self._token)

    async def keep_beating(self, **heartbeat: str) -> None:
        await self.stop()
        await self.beat(**heartbeat)
        self._beating = asyncio.create_task(self._beat_again(heartbeat))

    async def stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    async def _beat_again(self, heartbeat: dict[str, str]) -> None:
        while True:
            await asyncio.sleep(1)
            await self.beat(**heartbeat)


async def in_page(tab: Tab, script: str, argument: Any = None) -> Any:
    """Wait until a JavaScript expression is true, and return its value."""

    async def value() -> Any:
        return await tab.run(script, argument)

    async def seen() -> str:
        return str(await tab.run("({frames, events})"))

    try:
        return await eventually(value)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{script} {argument}\n{await seen()}\n{tab.errors}") from None


async def is_received(tab: Tab, user: str, status: str, text: str | None = None) -> None:
    """Both the WebSocket and the EventSource of the page heard last of ``user`` that they are so."""
    shown = """([user, status, text]) => {
      const last = told => told.filter(each => each.user_id === user).at(-1);
      const socketSaid = last(frames);
      const streamSaid = last(events.map(([, , data]) => data));
      return [socketSaid, streamSaid].every(each => each && each.status === status && each.status_msg === text);
    }"""
    await in_page(tab, shown, [user, status, text])


async def open_socket(tab: Tab, city: RunningCity, token: str) -> Any:
    return await tab.run("([api, token]) => openSocket(api, token)", [city.api_url, token])


async def open_stream(tab: Tab, url: str) -> Any:
    return await tab.run("api => openStream(api)", url)


async def test_page_and_matrix_see_presence_changes(
    start_city: StartCity, arrive: Arrive, browser: Browser, origin: str
) -> None:
    city = await start_city(first=allow(origin), settings={"presence.ttl_s": TTL_S, "presence.heartbeat_s": 1.0})
    daarwizz, ghost = await Agent.of(city, "daarwizz"), f"@agent_daarwizz:{SERVER_NAME}"
    olena = await arrive(city, "olena")
    await olena.join(f"#city_general:{SERVER_NAME}")
    tab = await browser.open(origin)
    assert await open_socket(tab, city, citizen_token("u_1")) == "open"
    assert await open_stream(tab, city.api_url) == "open"
    assert await in_page(tab, "frames[0]?.event") == "presence.snapshot"
    assert await in_page(tab, "events[0]?.[0]") == "snapshot"

    def on_matrix() -> list[tuple[str, str | None]]:
        """What Olena saw of the ghost, without what only said the same again."""
        states = [(presence, text) for user, presence, text, _ in olena.presences if user == ghost]
        return [state for state, _ in groupby(states)]

    async def is_seen_by_all(presence: str, status: str, text: str | None) -> None:
        await is_received(tab, "agent:daarwizz", status, text)
        await olena.wait_for(lambda: on_matrix()[-1:] == [(presence, text)])

    await daarwizz.keep_beating(status="online", status_msg="слухаю")
    await is_seen_by_all("online", "online", "слухаю")
    await daarwizz.keep_beating(status="away", status_msg="перерва")
    await is_seen_by_all("unavailable", "away", "перерва")
    await daarwizz.keep_beating(status="online")
    await is_seen_by_all("online", "online", "перерва")
    await daarwizz.stop()
    await is_seen_by_all("offline", "offline", None)
    assert on_matrix()[-4:] == [
        ("online", "слухаю"),
        ("unavailable", "перерва"),
        ("online", "перерва"),
        ("offline", None),
    ]

    async with quiet_user(city.homeserver, "taras") as taras:
        await taras.join(f"#city_general:{SERVER_NAME}")
        async with syncing(taras):
            await is_received(tab, taras.user_id, "online")
        await taras.set_presence("unavailable", "обідаю")
        await is_received(tab, taras.user_id, "away", "обідаю")
        await taras.set_presence("offline")
        await is_received(tab, taras.user_id, "offline")
    assert tab.errors == []


@in_one_city
async def test_citizen_offline_after_last_tab_closes(city: RunningCity, chromium: Browser, frontend: str) -> None:
    token = citizen_token("u_1", "Оксана")
    watching, first, second = [await chromium.open(frontend) for _ in range(3)]
    for tab in (watching, first, second):
        assert await open_socket(tab, city, token) == "open"
    await in_page(watching, "frames.length === 1")
    for tab, session in ((first, "tab-1"), (second, "tab-2")):
        await tab.run("session => beHere('u_1', session)", session)
    await in_page(second, "frames.some(each => each.user_id === 'u_1') && beats > 2")

    await first.close()
    # Had the good-bye of the first taken them away, these would bring them back, which the third page would have seen.
    beats = await second.run("beats")
    await in_page(second, "before => beats > before + 6", beats)
    await second.close()
    await in_page(watching, "frames.at(-1).status === 'offline'")
    assert await watching.run("frames.slice(1).map(each => [each.user_id, each.status])") == [
        ["u_1", "online"],
        ["u_1", "offline"],
    ]
    assert watching.errors == []


@in_one_city
async def test_a_page_whose_line_breaks_misses_nothing(city: RunningCity, chromium: Browser, frontend: str) -> None:
    daarwizz, scribe = await Agent.of(city, "daarwizz"), await Agent.of(city, "scribe")
    async with tcp_proxy_to(city.api_port) as relay:
        tab = await chromium.open(frontend)
        assert await open_stream(tab, relay.url) == "open"
        await in_page(tab, "events.length === 1")
        await daarwizz.beat(status="online")
        await in_page(tab, "events.length === 2")

        relay.cut()
        await daarwizz.beat(status="away")
        await scribe.beat(status="online", status_msg="пишу")
        relay.mend()
        await in_page(tab, "events.length === 4")
        received = await tab.run("events")
        assert [(event, data.get("user_id"), data.get("status")) for event, _, data in received] == [
            ("snapshot", None, None),
            ("presence", "agent:daarwizz", "online"),
            ("presence", "agent:daarwizz", "away"),
            ("presence", "agent:scribe", "online"),
        ]
        numbers = [int(number) for _, number, _ in received]
        assert numbers == sorted(set(numbers))

        # A restarted service does not know its earlier events, and sends a resync.
        await city.service.stop()
        city.service.start()
        await city.ready()
        await in_page(tab, "events.length >= 6")
        assert await tab.run("events.slice(4, 6).map(([event]) => event)") == ["resync", "snapshot"]
        await scribe.beat(status="away")
        await in_page(tab, "events.at(-1)[2].user_id === 'agent:scribe' && events.at(-1)[2].status === 'away'")
    await scribe.beat(status="offline")


@in_one_city
async def test_pages_of_other_origins_are_shown_nothing(city: RunningCity, chromium: Browser, frontend: str) -> None:
    token = await city.agent_token("daarwizz")
    heartbeat = [city.api_url, "POST", "/api/v1/agents/daarwizz/heartbeat", token, {}]
    friend = await chromium.open(frontend)
    assert await friend.run("request => call(...request)", heartbeat) == 200
    async with serve_page(PAGE) as elsewhere:
        stranger = await chromium.open(elsewhere)
        assert await open_socket(stranger, city, token) == "closed 1006"
        assert await open_stream(stranger, city.api_url) == "error"
        assert await stranger.run("request => call(...request)", heartbeat) == "TypeError"
        assert await stranger.run("[frames, events]") == [[], []]
    await city.post("/api/v1/agents/daarwizz/heartbeat", {"status": "offline"}, token=token)
