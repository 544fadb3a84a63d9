"""Read receipts of Matrix users, sent with matrix-nio: the city's API and WebSocket, and after a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from playwright.async_api import expect

from tests.parts.browser import Browser
from tests.parts.city import RunningCity, StartCity, citizen_token, eventually
from tests.parts.matrix_user import Arrive, MatrixUser

OKSANA = citizen_token("u_1", "Оксана")
RECEIPTS = "/city/rooms/general/receipts"

# Both databases have the same receipts in tests/integration/test_receipts.py.
pytestmark = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)], indirect=True
)


async def receive_reads(city: RunningCity, frames: list[dict[str, Any]], opened: asyncio.Event) -> None:
    async with city.session.ws_connect(f"{city.api_url}/ws/city/rooms/general") as socket:
        opened.set()
        async for frame in socket:
            assert frame.type is aiohttp.WSMsgType.TEXT
            content = frame.json()
            if content["event"] == "city.room.read":
                frames.append(content)


async def mark_read(
    user: MatrixUser, room: str, event: str, kind: str = "m.read", thread_id: str | None = None
) -> None:
    """Send a receipt; matrix-nio itself sends only unthreaded ones."""
    content = {} if thread_id is None else {"thread_id": thread_id}
    path = f"/_matrix/client/v3/rooms/{room}/receipt/{kind}/{event}"
    headers = {"Authorization": f"Bearer {user.client.access_token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(user.client.homeserver + path, json=content, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def test_receipts_on_matrix_are_seen_in_city(start_city: StartCity, arrive: Arrive, browser: Browser) -> None:
    city = await start_city()
    alice, bob = await arrive(city, "alice"), await arrive(city, "bob")
    room = await alice.join("#city_general:city.localhost")
    await bob.join("#city_general:city.localhost")
    alice_id, bob_id = alice.client.user_id, bob.client.user_id
    frames: list[dict[str, Any]] = []
    opened = asyncio.Event()
    listening = asyncio.create_task(receive_reads(city, frames, opened))
    await opened.wait()

    async def listed(query: str = "") -> dict[str, str]:
        return {each["user_id"]: each["message_id"] for each in await city.get(RECEIPTS + query)}

    async def until(query: str = "", **wanted: str) -> None:
        async def is_so() -> bool:
            return await listed(query) == wanted

        await eventually(is_so, explain=lambda: f"{wanted}, {frames}, {city.service.last_lines(10)}")

    posted = await city.post("/city/rooms/general/messages", {"body": "Доброго ранку"}, token=OKSANA)
    event = (await alice.wait_for_event(lambda each: each["content"].get("body") == "Доброго ранку"))["event_id"]
    await bob.client.room_read_markers(room, event, event)  # the client's fully-read marker and an unthreaded m.read
    await until(**{bob_id: posted["id"]})

    async def is_sent() -> bool:
        return [(each["user_id"], each["reader"]["display_name"]) for each in frames] == [(bob_id, "Bob")]

    await eventually(is_sent, explain=lambda: str(frames))
    visit = await (await browser.other_profile(locale="en-US")).open(f"{city.api_url}/city/general")
    row = visit.page.get_by_role("article").filter(has_text="Доброго ранку")
    await expect(row.get_by_role("img", name="Read by Bob")).to_be_visible()

    # A receipt at an event that the city does not show, and one in a thread.
    answer = await bob.client.room_send(
        room, "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": "🌻"}}
    )
    await mark_read(alice, room, answer.event_id, thread_id="main")
    await until(**{bob_id: posted["id"], alice_id: posted["id"]})
    in_thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": event}}
    reply = await bob.send_text(room, "у нитці", more=in_thread)
    await mark_read(alice, room, reply, thread_id=event)
    query = f"?thread_root={posted['id']}"

    async def is_threaded() -> bool:
        return alice_id in await listed(query)

    await eventually(is_threaded, explain=lambda: str(frames))

    # What is read in private stays private; the receipt after it shows that the city has seen what came before.
    last = await alice.send_text(room, "останнє")
    await mark_read(bob, room, last, kind="m.read.private")
    await mark_read(alice, room, last)
    newest = await listed()

    async def has_moved() -> bool:
        newest.update(await listed())
        return bool(newest[alice_id] != posted["id"])

    await eventually(has_moved, explain=lambda: str(frames))
    assert newest[bob_id] == posted["id"]

    # Receipts of the time without a service come with the initial sync, and the others are stored.
    listening.cancel()
    await city.service.stop()
    await mark_read(bob, room, last)
    await city.start()
    await until(**{alice_id: newest[alice_id], bob_id: newest[alice_id]})
