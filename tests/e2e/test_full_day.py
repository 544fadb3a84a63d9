"""One scenario with all features: a Matrix user and a citizen on the page share a room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import nio
import pytest

from tests.parts.city import RunningCity, StartCity, citizen_token, eventually
from tests.parts.frames import next_frame
from tests.parts.matrix_user import Arrive, MatrixUser
from tests.parts.redis import RedisServer

OKSANA = citizen_token("u_1", "Оксана")
OKSANAS_GHOST = "@citizen_u_1:city.localhost"
DAARWIZZ = "@agent_daarwizz:city.localhost"
ALICE = "@alice:city.localhost"
GENERAL = "#city_general:city.localhost"


@dataclass
class Page:
    """Oksana's page: a WebSocket with its received events, and the requests of the page."""

    city: RunningCity
    socket: aiohttp.ClientWebSocketResponse
    received: list[dict[str, Any]] = field(default_factory=list)

    async def wait_for_event(
        self, event: str, matches: Callable[[dict[str, Any]], object] = lambda _: True
    ) -> dict[str, Any]:
        """The first such event, of those that came and those that come."""
        for known in self.received:
            if known["event"] == event and matches(known):
                return known
        while True:
            try:
                each: dict[str, Any] = await next_frame(self.socket)
            except TimeoutError:
                raise AssertionError(f"no such {event}; told: {self.received}") from None
            self.received.append(each)
            if each["event"] == event and matches(each):
                return each

    async def wait_for_message(self, body: str) -> dict[str, Any]:
        event = await self.wait_for_event("city.room.message", lambda each: each["message"]["body"] == body)
        message: dict[str, Any] = event["message"]
        return message

    async def asks(self, method: str, path: str, content: Any = None) -> dict[str, Any]:
        status, answer = await self.city.call(method, f"/city/rooms/general{path}", content, token=OKSANA)
        assert status in {200, 201}, answer
        assert isinstance(answer, dict)
        return answer


@asynccontextmanager
async def page_of(city: RunningCity, since: int) -> AsyncIterator[Page]:
    url = f"{city.api_url}/ws/city/rooms/general?token={OKSANA}&since={since}"
    async with city.session.ws_connect(url) as socket:
        yield Page(city, socket)


def relation(event: dict[str, Any]) -> dict[str, Any]:
    related = event["content"].get("m.relates_to", {})
    assert isinstance(related, dict)
    return related


@pytest.fixture
def one_or_two(database_url: str, request: pytest.FixtureRequest) -> RedisServer | None:
    """Redis where there are two processes: on PostgreSQL, since only one process can have a SQLite file."""
    redis: RedisServer | None = request.getfixturevalue("redis") if database_url.startswith("postgresql") else None
    return redis


@pytest.fixture(params=["12", pytest.param("10", marks=pytest.mark.soak)])
def room_version(request: pytest.FixtureRequest) -> str:
    version: str = request.param
    return version


# The short run has two processes and Redis.
@pytest.mark.parametrize("database_url", [pytest.param("sqlite", marks=pytest.mark.soak), "postgresql"], indirect=True)
async def test_a_day_in_the_city(
    start_city: StartCity, arrive: Arrive, one_or_two: RedisServer | None, room_version: str
) -> None:
    settings: dict[str, str | float] = {"city.room_version": room_version}
    if one_or_two:
        settings["redis.url"] = one_or_two.url
    city = await start_city(settings=settings)
    other = city.replica("other") if one_or_two else None
    try:
        if other:
            await other.start()
        alice = await arrive(city, "alice")
        seq = (await city.get("/city/rooms/general"))["last_seq"]
        async with page_of(other or city, seq) as page:
            room = await _morning(page, alice)
            await _talk(page, alice, room)
            await _second_thoughts(page, alice, room)
            await _signs(page, alice, room)
            await _evening(page, alice, room)
            last = max(each["seq"] for each in page.received if "seq" in each)
            assert [each["seq"] for each in page.received if "seq" in each] == list(range(seq + 1, last + 1)), "no hole"
        async with page_of(city, seq) as again:
            await again.wait_for_event("city.room.leave", lambda each: each["seq"] == last)
            assert [each["seq"] for each in again.received if "seq" in each] == list(range(seq + 1, last + 1)), "again"
    finally:
        if other:
            await other.close()


async def _morning(page: Page, alice: MatrixUser) -> str:
    """Alice comes in, and both type."""
    room = await alice.join(GENERAL)
    came = await page.wait_for_event("city.room.join", lambda each: each["member"]["id"] == ALICE)
    assert came["member"]["display_name"] == "Alice"

    async def alice_is_online() -> bool:
        return ALICE in [member["id"] for member in (await page.asks("GET", ""))["online_members"]]

    await eventually(alice_is_online)
    await alice.client.room_typing(room, typing_state=True)
    await page.wait_for_event("city.room.typing", lambda each: each["typing"] == [ALICE])
    await alice.client.room_typing(room, typing_state=False)
    await page.wait_for_event("city.room.typing", lambda each: each["typing"] == [])
    return room


async def _talk(page: Page, alice: MatrixUser, room: str) -> None:
    """Formatted text, replies, mentions, emotes and notices, both ways."""
    html = "<em>Добрий</em> день<script>alert(1)</script>"
    await alice.send_text(room, "Добрий день", more={"format": "org.matrix.custom.html", "formatted_body": html})
    message = await page.wait_for_message("Добрий день")
    assert (message["formatted_body"], message["author"]["id"]) == ("<em>Добрий</em> день", ALICE)

    frame = {"event": "city.room.send", "body": "**І тобі**, @alice:city.localhost", "reply_to": message["id"]}
    await page.socket.send_json(frame | {"client_id": "c1"})
    own = await page.wait_for_message(frame["body"])
    assert (own["client_id"], own["delivery"], own["mentions"]) == ("c1", "pending", [ALICE])
    seen = await alice.wait_for_event(lambda each: each["content"].get("body") == frame["body"])
    assert seen["sender"] == OKSANAS_GHOST
    assert relation(seen) == {"m.in_reply_to": {"event_id": message["matrix_event_id"]}}
    assert seen["content"]["m.mentions"] == {"user_ids": [ALICE]}
    assert seen["content"]["formatted_body"].startswith("<strong>І тобі</strong>, <a href=")
    arrived = await page.wait_for_event("city.room.message.updated", lambda each: each["message"]["id"] == own["id"])
    assert (arrived["message"]["delivery"], arrived["message"]["matrix_event_id"]) == ("sent", seen["event_id"])
    await page.wait_for_event("city.room.join", lambda each: each["member"]["id"] == "u_1")

    answer = {"m.in_reply_to": {"event_id": seen["event_id"]}}
    mentions = {"user_ids": [OKSANAS_GHOST, DAARWIZZ]}
    await alice.send_text(room, "Як справи?", more={"m.relates_to": answer, "m.mentions": mentions})
    received = await page.wait_for_message("Як справи?")
    assert (received["reply_to"], received["mentions"]) == (own["id"], ["u_1", "agent:daarwizz"])

    await page.socket.send_json({"event": "city.room.typing"})
    await alice.wait_for(lambda: [OKSANAS_GHOST] in alice.typing)
    await page.asks("POST", "/messages", {"body": "усміхається", "msgtype": "m.emote"})
    smile = await alice.wait_for_event(lambda each: each["content"].get("body") == "усміхається")
    assert smile["content"]["msgtype"] == "m.emote"
    await alice.wait_for(lambda: alice.typing[-1] == [])
    await alice.send_text(room, "Перерва", "m.notice")
    assert (await page.wait_for_message("Перерва"))["msgtype"] == "m.notice"


async def _second_thoughts(page: Page, alice: MatrixUser, room: str) -> None:
    """Edits and deletions, both ways."""
    written = await page.asks("POST", "/messages", {"body": "Завтра о пятій"})
    original = await alice.wait_for_event(lambda each: each["content"].get("body") == "Завтра о пятій")
    await page.asks("PATCH", f"/messages/{written['id']}", {"body": "Завтра о п'ятій"})
    edit = await alice.wait_for_event(lambda each: relation(each).get("rel_type") == "m.replace")
    assert relation(edit)["event_id"] == original["event_id"]
    assert edit["content"]["m.new_content"]["body"] == "Завтра о п'ятій"
    # No edit, to whoever knows who wrote what it is of.
    others = await alice.send_text(
        room, "* Завтра о шостій", more={"m.new_content": {}, "m.relates_to": relation(edit)}
    )

    event_id = await alice.send_text(room, "Прийду")
    promise = await page.wait_for_message("Прийду")
    new = {"msgtype": "m.text", "body": "Не прийду"}
    replacing = {"rel_type": "m.replace", "event_id": event_id}
    await alice.send_text(room, "* Не прийду", more={"m.new_content": new, "m.relates_to": replacing})
    changed = await page.wait_for_event(
        "city.room.message.updated", lambda each: each["message"]["body"] == "Не прийду"
    )
    assert (changed["message"]["id"], changed["by"]["id"]) == (promise["id"], ALICE)

    await alice.client.room_redact(room, event_id)
    gone = await page.wait_for_event("city.room.message.deleted", lambda each: each["message"]["id"] == promise["id"])
    assert (gone["message"]["body"], gone["by"]["id"]) == ("", ALICE)
    await page.asks("DELETE", f"/messages/{written['id']}")
    redaction = await alice.wait_for_event(lambda each: each["type"] == "m.room.redaction" and _of(each, original))
    assert redaction["sender"] == OKSANAS_GHOST
    for event_id, is_gone in ((original["event_id"], True), (edit["event_id"], True), (others, False)):
        answer: Any = await alice.client.room_get_event(room, event_id)
        assert isinstance(answer, nio.RoomGetEventResponse)
        assert (answer.event.source["content"] == {}) is is_gone, "with all that its author made of it"


async def _signs(page: Page, alice: MatrixUser, room: str) -> None:
    """Reactions, both ways, given and taken back."""
    event_id = await alice.send_text(room, "Хто за прогулянку?")
    received = await page.wait_for_message("Хто за прогулянку?")
    path = f"/messages/{received['id']}/reactions/{quote('👍')}"
    await page.asks("PUT", path)
    own = await alice.wait_for_event(lambda each: each["type"] == "m.reaction" and each["sender"] == OKSANAS_GHOST)
    assert relation(own) == {"rel_type": "m.annotation", "event_id": event_id, "key": "👍"}
    annotation = {"rel_type": "m.annotation", "event_id": event_id, "key": "👍"}
    sent: Any = await alice.client.room_send(room, "m.reaction", {"m.relates_to": annotation})
    both = await page.wait_for_event("city.room.reaction", lambda each: each["by"]["id"] == ALICE)
    (tally,) = both["message"]["reactions"]
    assert (tally["emoji"], tally["count"], tally["by"]) == ("👍", 2, ["u_1", ALICE])
    await page.asks("DELETE", path)
    await alice.wait_for_event(lambda each: each["type"] == "m.room.redaction" and _of(each, own))
    await alice.client.room_redact(room, sent.event_id)
    none = await page.wait_for_event("city.room.reaction", lambda each: not each["added"] and each["by"]["id"] == ALICE)
    assert none["message"]["reactions"] == []


async def _evening(page: Page, alice: MatrixUser, room: str) -> None:
    await alice.client.room_leave(room)
    left = await page.wait_for_event("city.room.leave")
    assert left["member"]["id"] == ALICE


def _of(redaction: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether this redaction is of that event; where it stands depends on the room's version."""
    redacted = redaction.get("redacts") or redaction["content"].get("redacts")
    return bool(redacted == event["event_id"])
