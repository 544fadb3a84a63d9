"""Messages in both directions between the city and Matrix during faults, and a check of their delivery."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import aiohttp
import nio

from daarion_appservice.city.room_events import RoomEvent, RoomEventKind
from daarion_appservice.city.types import RoomId
from daarion_appservice.storage.database import Database
from tests.parts.city import RunningCity, citizen_token, eventually
from tests.parts.matrix_user import MatrixUser

CITIZEN = "@citizen_u_123:city.localhost"

_PAUSE_S = 0.05
_RETRY_S = 0.1

Messages = dict[str, list[str]]
"""Bodies of the sent messages by Matrix user id, in the order of sending."""


def numbered_messages(count: int, who: str) -> list[str]:
    return [f"{who} {number}" for number in range(1, count + 1)]


async def post_as_citizen(city: RunningCity, words: Iterable[str], sent: list[str]) -> None:
    """Post messages as the city's page does: in order, each repeated until it is accepted."""
    token = citizen_token("u_123", "Оксана")
    for body in words:
        while not await _is_taken(city, body, token):
            await asyncio.sleep(_RETRY_S)
        sent.append(body)
        await asyncio.sleep(_PAUSE_S)


async def _is_taken(city: RunningCity, body: str, token: str) -> bool:
    message = {"body": body, "client_id": f"client:{body}"}
    try:
        status, answer = await city.call("POST", "/city/rooms/general/messages", message, token=token)
    except (aiohttp.ClientError, ConnectionError):
        return False
    assert status in {200, 201}, answer
    return True


async def send_as_person(person: MatrixUser, room_id: str, words: Iterable[str], sent: list[str]) -> None:
    """Send messages as Matrix clients do: each repeated with the same transaction id until the homeserver responds."""
    for body in words:
        content = {"msgtype": "m.text", "body": body}
        answer: Any = None
        while not isinstance(answer, nio.RoomSendResponse):
            # nio itself repeats it for as long as nobody answers.
            answer = await person.client.room_send(room_id, "m.room.message", content, tx_id=f"txn:{body}")
        sent.append(body)
        await asyncio.sleep(_PAUSE_S)


async def in_the_city(city: RunningCity) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = await city.get("/city/rooms/general/messages?limit=200")
    return messages


async def on_matrix(city: RunningCity, person: MatrixUser, room_id: str) -> list[tuple[str, str]]:
    """Return (sender, body) of all messages of a room on the homeserver, oldest first."""
    path = f"/_matrix/client/v3/rooms/{quote(room_id)}/messages?dir=b&limit=100"
    found: list[tuple[str, str]] = []
    cursor = ""
    while True:
        status, page = await city.call("GET", path + cursor, token=person.client.access_token, url=city.homeserver.url)
        assert status == 200, page
        found += [
            (event["sender"], event["content"]["body"]) for event in page["chunk"] if event["type"] == "m.room.message"
        ]
        if "end" not in page:
            return found[::-1]
        cursor = f"&from={quote(page['end'])}"


async def both_sides_received(
    city: RunningCity, person: MatrixUser, room_id: str, sent: Messages, *, is_restored: bool = False
) -> None:
    """Check that all messages are on both sides once, in the order of each author, and that both queues are empty.

    The numbers of the room's events have no hole, but in a city that ``is_restored`` from a backup.
    """
    count = sum(map(len, sent.values()))

    async def all_is_done() -> bool:
        messages = await in_the_city(city)
        return len(messages) >= count and all(message["delivery"] == "sent" for message in messages)

    async def nothing_waits() -> bool:
        return await waiting(city) == ({}, [])

    await eventually(all_is_done, explain=lambda: "\n".join(city.service.last_lines(60)))
    await eventually(nothing_waits)
    messages = await in_the_city(city)
    assert _by_author((each["author"]["matrix_user_id"], each["body"]) for each in messages) == sent
    history = await _history(city)
    if not is_restored and all(event.kind is not RoomEventKind.RESYNC for event in history):
        assert [event.seq for event in history] == list(range(1, len(history) + 1)), "without a hole"
    written = [event.message for event in history if event.kind is RoomEventKind.MESSAGE]
    stand = [(event.kind, event.seq, event.message and event.message.body) for event in history]
    assert [message and message.id for message in written] == [message["id"] for message in messages], stand
    assert _by_author(await on_matrix(city, person, room_id)) == sent


async def _history(city: RunningCity) -> list[RoomEvent]:
    """Return all events of the room's history in order."""
    database = Database(city.database_url)
    try:
        async with database.read_only() as tx:
            return await tx.room_events.after(RoomId("city_general"), 0, limit=100_000)
    finally:
        await database.close()


async def waiting(city: RunningCity) -> tuple[dict[str, int], list[Any]]:
    """Return the numbers of unprocessed events by state, and of unsent messages."""
    database = Database(city.database_url)
    try:
        async with database.read_only() as tx:
            return await tx.inbox.counts(), list(await tx.outbox.waiting(limit=10))
    finally:
        await database.close()


def _by_author(messages: Iterable[tuple[str, str]]) -> Messages:
    sent: defaultdict[str, list[str]] = defaultdict(list)
    for author, body in messages:
        sent[author].append(body)
    return dict(sent)
