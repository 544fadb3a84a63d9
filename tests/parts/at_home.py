"""A city with a user of matrix-js-sdk, users of matrix-nio, a WebSocket of a room and a page in Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import nio
import pytest
from playwright.async_api import Locator, Page

from tests.parts.agents_core import ScriptedCore
from tests.parts.browser import start_browser
from tests.parts.city import LONG_PRESENCE, RunningCity, citizen_token, eventually, shared_city
from tests.parts.js_client import JsClient, arriving_by_js_sdk
from tests.parts.matrix_user import MatrixUser

BOT, OBSERVER = "@city:city.localhost", "@city_observer:city.localhost"
DAARWIZZ, SCRIBE = "@agent_daarwizz:city.localhost", "@agent_scribe:city.localhost"
OKSANA: Final = citizen_token("u_1", "Оксана")
OKSANA_GHOST: Final = "@citizen_u_1:city.localhost"
TARAS: Final = citizen_token("u_2", "Тарас")
TARAS_GHOST: Final = "@citizen_u_2:city.localhost"
GENERAL: Final = "/city/rooms/general"
IN_ONE_CITY: Final = (
    pytest.mark.asyncio(loop_scope="module"),
    # What clients show does not depend on the database.
    pytest.mark.parametrize(
        "module_database_url",
        ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)],
        indirect=True,
        scope="module",
    ),
)
"""The marks of a module whose tests share a city."""


@dataclass
class RoomSocket:
    """A connection to ``/ws/city/rooms/{id}`` that records every event."""

    events: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def connected(cls, city: RunningCity, token: str) -> AsyncIterator[RoomSocket]:
        room_socket = cls()
        async with city.session.ws_connect(f"{city.api_url}/ws/city/rooms/general?token={token}") as socket:
            reading = asyncio.create_task(room_socket._read(socket))
            try:
                yield room_socket
            finally:
                reading.cancel()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            self.events.append(frame.json())

    async def event(self, name: str, matches: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the first event with this name that matches, of those that came and those that come."""

        async def found() -> dict[str, Any] | None:
            return next((each for each in self.events if each["event"] == name and matches(each)), None)

        event = await eventually(found, explain=lambda: str(self.events[-5:]))
        assert event is not None
        return event

    async def message(self, matrix_event_id: str) -> dict[str, Any]:
        """Return the message of a Matrix event, as it arrived."""
        event = await self.event(
            "city.room.message", lambda each: each["message"]["matrix_event_id"] == matrix_event_id
        )
        message: dict[str, Any] = event["message"]
        return message

    async def message_with(self, body: str) -> dict[str, Any]:
        """Return the message with this body, as it arrived."""
        event = await self.event("city.room.message", lambda each: each["message"]["body"] == body)
        message: dict[str, Any] = event["message"]
        return message


@dataclass
class AtHome:
    """The room General and those who are in it.

    Greta uses matrix-js-sdk, Alice matrix-nio, Oksana the page in Chromium; Olena, an admin of the city, matrix-nio.
    """

    city: RunningCity
    core: ScriptedCore
    room: str
    """The id of the Matrix room."""
    greta: JsClient
    alice: MatrixUser
    olena: MatrixUser
    page: Page
    socket: RoomSocket
    _agent_tokens: dict[str, str] = field(default_factory=dict)

    async def reset(self) -> None:
        """Undo what a failed test left: open the room without a panel, and drop responses of the core."""
        self.core.clear_script()
        url = f"{self.city.api_url}/city/general"
        if self.page.url != url:
            await self.page.goto(url)

    async def set_online(self, *slugs: str) -> None:
        """Send a heartbeat of each agent."""
        for slug in slugs:
            if slug not in self._agent_tokens:
                self._agent_tokens[slug] = await self.city.agent_token(slug)
            await self.city.post(f"/api/v1/agents/{slug}/heartbeat", token=self._agent_tokens[slug])

    async def sign_in(self, user: MatrixUser) -> str:
        """Sign in with a Matrix account, as the widget does; return the citizen's token."""
        proof = await user.client.get_openid_token(str(user.client.user_id))
        assert isinstance(proof, nio.GetOpenIDTokenResponse), proof
        nonce = (await self.city.post("/city/sign-in/nonce"))["nonce"]
        content = {"access_token": proof.access_token, "matrix_server_name": proof.matrix_server_name, "nonce": nonce}
        return str((await self.city.post("/city/sign-in/matrix", content))["token"])

    async def post(self, content: dict[str, Any], *, token: str = TARAS) -> dict[str, Any]:
        """Post a message in the city."""
        message: dict[str, Any] = await self.city.post(f"{GENERAL}/messages", content, token=token)
        return message

    async def stored(self, matrix_event_id: str) -> dict[str, Any]:
        """Return the message of a Matrix event, as the API has it now."""
        messages = await self.city.get(f"{GENERAL}/messages?limit=100")
        return next(each for each in messages if each["matrix_event_id"] == matrix_event_id)

    async def reload_greta(self) -> None:
        """Sync again with an empty store, as after a reload of Element."""
        await self.greta.stop()
        await self.greta.login(password="secret")
        await self.greta.start()

    @property
    def log(self) -> Locator:
        """The conversation on the page."""
        return self.page.get_by_role("log", name="Conversation in")

    def row(self, body: str) -> Locator:
        """The message with this text on the page."""
        return self.log.get_by_role("article").filter(has_text=body)


@asynccontextmanager
async def at_home(directory: Path, database_url: str) -> AsyncIterator[AtHome]:
    """Start a city on this database, and let everyone join the room General."""
    olena: MatrixUser | None = None

    async def admit_olena(city: RunningCity) -> None:
        nonlocal olena
        olena = await MatrixUser.arrive(city.homeserver, "olena")
        stack.push_async_callback(olena.leave)
        config = city.config.read_text()
        city.config.write_text(config.replace("\n  admins: []\n", f'\n  admins: ["{olena.client.user_id}"]\n'))

    async with AsyncExitStack() as stack, ScriptedCore().serving() as core:
        settings = LONG_PRESENCE | {"agents_core.url": core.url, "sign_in.matrix": True}
        city = await stack.enter_async_context(
            shared_city(directory, database_url, settings=settings, first=admit_olena)
        )
        arrive = await stack.enter_async_context(arriving_by_js_sdk())
        greta = await arrive(city, "greta")
        alice = await MatrixUser.arrive(city.homeserver, "alice")
        stack.push_async_callback(alice.leave)
        assert olena is not None
        room = await greta.join("#city_general:city.localhost")
        for person in (alice, olena):
            await person.join(room)
        for token in (OKSANA, TARAS):
            await city.post(f"{GENERAL}/join", token=token)
        browser = await stack.enter_async_context(start_browser())
        stored: Any = [{"name": "city.session", "value": OKSANA}]
        profile = await browser.other_profile(
            locale="en-US",
            viewport={"width": 1440, "height": 900},
            storage_state={"cookies": [], "origins": [{"origin": city.api_url, "localStorage": stored}]},
        )
        page = (await profile.open(f"{city.api_url}/city/general")).page
        socket = await stack.enter_async_context(RoomSocket.connected(city, TARAS))
        yield AtHome(city, core, room, greta, alice, olena, page, socket)
