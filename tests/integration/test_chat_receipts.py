"""Receipts of a linked person in direct chats: a ghost asks for them while something is unread there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from daarion_appservice.city.types import CitizenId, MatrixRoomId, MatrixStatus, MessageId, RoomId
from daarion_appservice.clock import now_ms
from daarion_appservice.matrix.presence import chat_polls, chat_receipts
from daarion_appservice.matrix.presence.metrics import GHOSTS_ASKING
from tests.parts.city import eventually
from tests.parts.matrix_chat import (
    ALICE,
    BOB,
    MATRIX_ROOM,
    OKSANA,
    OKSANA_GHOST,
    SCRIBE,
    TARAS,
    MatrixChat,
    deliver,
    matrix_chat,
)
from tests.parts.presence_socket import connected, until
from tests.parts.running_tasks import running_tasks
from tests.parts.scripted_homeserver import HANG_UP, NOT_REGISTERED, Fault, ReceivedRequest, Reply, refused

ENCRYPTION = {"algorithm": "m.megolm.v1.aes-sha2"}
OWN_ROOM = "!own:city.localhost"


@dataclass
class Chat:
    """A direct chat of the linked person Alice, who is the citizen Oksana."""

    base: MatrixChat
    room: RoomId
    matrix_room: str = MATRIX_ROOM

    async def post(self, body: str, token: str, **more: Any) -> str:
        """Post a message in the city and send it; return its event id."""
        path = f"/city/rooms/{self.room}/messages"
        answer = await self.base.city.call("POST", path, {"body": body} | more, token=token)
        assert answer.status == 201, answer
        await deliver(self.base)
        async with self.base.city.city.database.read_only() as tx:
            message = await tx.messages.get(MessageId(answer.content["id"]))
        assert message is not None
        assert message.matrix_event_id is not None
        return message.matrix_event_id

    def read(self, event: str, user: str = ALICE, **more: Any) -> Reply:
        """Return the response to a sync that has a receipt."""
        receipt = {"type": "m.receipt", "content": {event: {"m.read": {user: {"ts": now_ms()} | more}}}}
        joined = {
            self.matrix_room: {"ephemeral": {"events": [receipt]}},
            "!public": {"ephemeral": {"events": [receipt]}},
        }
        return Reply(200, {"next_batch": "s2", "rooms": {"join": joined}})

    async def counts(self) -> tuple[int, int]:
        listed = await self.base.city.get("/city/direct", token=OKSANA)
        return next((each["unread"], each["mentions"]) for each in listed if each["id"] == self.room)

    async def until_read(self) -> None:
        async def is_read() -> bool:
            return await self.counts() == (0, 0)

        await eventually(is_read, explain=lambda: str(self.polls()))

    def polls(self) -> list[ReceivedRequest]:
        return self.base.homeserver.all("sync")

    async def until_polled(self, count: int) -> list[tuple[str, str | None]]:
        """Wait for so many requests; return the ghost and the token of each."""

        async def are_there() -> bool:
            return len(self.polls()) >= count

        await eventually(are_there, explain=lambda: str(self.polls()))
        return [(each.user, each.query.get("since")) for each in self.polls()][:count]

    async def until_quiet(self) -> None:
        """Wait until no ghost asks any more."""

        async def is_quiet() -> bool:
            return bool(GHOSTS_ASKING._value.get() == 0)

        await eventually(is_quiet, explain=lambda: str(self.polls()))


@pytest.fixture
async def base(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MatrixChat]:
    monkeypatch.setattr(chat_receipts, "_SETTLE_S", 0.01)
    monkeypatch.setattr(chat_receipts, "_READ_EVERY_S", 0.1)
    monkeypatch.setattr(chat_receipts, "_REFUSED_PAUSE_S", 0.0)
    monkeypatch.setattr(chat_receipts, "_REFUSED_DELAY_MS", 0)
    monkeypatch.setattr(chat_polls, "_SHORTEST_PAUSE_MS", 10)
    async with matrix_chat(database_url) as base:
        city = base.city.city
        city.remote_receipts._patience_s = 0.2
        city.monitor.mark_up()
        async with receiving_receipts(base):
            yield base


def receiving_receipts(base: MatrixChat) -> AbstractAsyncContextManager[None]:
    """Run the tasks for receipts inside the block."""
    city = base.city.city
    return running_tasks(city.chat_receipts.run, city.remote_receipts.run, city.receipt_writer.run)


@pytest.fixture
async def chat(base: MatrixChat) -> Chat:
    """The chat that Alice opened on Matrix with the agent."""
    await base.link()
    return Chat(base, await base.id())


async def own_chat(base: MatrixChat, other: str) -> Chat:
    """Open a chat in the city, into whose Matrix room Alice's account has come."""
    await base.link()
    await base.city.city.citizen_names.record(CitizenId("u_2"), "Тарас")
    answer = await base.city.call("POST", "/city/direct", {"with": other}, token=OKSANA)
    assert answer.status in {200, 201}, answer
    room = RoomId(answer.content["id"])
    async with base.city.city.database.transaction() as tx:
        await tx.matrix_rooms.link(room, MatrixRoomId(OWN_ROOM))
        await tx.matrix_rooms.set_status(room, MatrixStatus.LINKED, None)
    await base.receive("m.room.member", {"membership": "join"}, state_key=ALICE, sender=ALICE, room_id=OWN_ROOM)
    return Chat(base, room, OWN_ROOM)


async def test_message_read_on_matrix_is_read_in_pages(chat: Chat) -> None:
    async with connected(chat.base.city, "?unread=1", OKSANA) as socket:
        event = await chat.post("Нагадую", await chat.base.city.agent_token("scribe"))

        def told() -> list[int]:
            return [
                each["unread"] for frame in socket.events if frame["event"] == "city.unread" for each in frame["rooms"]
            ]

        await until(lambda: told()[-1:] == [1])
        assert await chat.counts() == (1, 1)
        chat.base.homeserver.next("sync", chat.read(event))
        await chat.until_read()
        await until(lambda: told()[-1:] == [0])
    assert {each.user for each in chat.polls()} == {SCRIBE}
    assert {each.query["set_presence"] for each in chat.polls()} == {"offline"}
    await chat.until_quiet()


@pytest.mark.parametrize(("other", "ghost"), [("agent:daarwizz", "@agent_daarwizz"), ("citizen:u_2", "@citizen_u_1")])
async def test_chat_opened_in_the_city_is_read(base: MatrixChat, other: str, ghost: str) -> None:
    chat = await own_chat(base, other)
    token = TARAS if other.startswith("citizen") else await base.city.agent_token("daarwizz")
    event = await chat.post("Нагадую", token)
    assert await chat.counts() == (1, 1)
    base.homeserver.next("sync", chat.read(event))
    await chat.until_read()
    assert {each.user for each in chat.polls()} == {f"{ghost}:city.localhost"}
    await chat.until_quiet()


async def test_nobody_asks_without_unread_messages(base: MatrixChat) -> None:
    chat = Chat(base, await base.id())
    agent = await base.city.agent_token("scribe")
    await chat.post("нікому", agent)
    await base.link()
    await chat.until_polled(1)
    await base.say("моє")
    await chat.until_quiet()
    await base.receive("m.room.encryption", ENCRYPTION, state_key="")
    known = len(chat.polls())
    await base.say("знову", SCRIBE)
    async with base.city.city.database.read_only() as tx:
        assert await tx.chat_receipts.unread(since_ms=0) == []
        assert await tx.chat_receipts.observable([MatrixRoomId(MATRIX_ROOM)]) == {}
    assert len(chat.polls()) == known


async def test_reading_in_the_pages_ends_the_requests(chat: Chat) -> None:
    await chat.post("Нагадую", await chat.base.city.agent_token("scribe"))
    await chat.until_polled(1)
    (message,) = [each for each in (await chat.base.get()).content if each["body"] == "Нагадую"]
    path = f"/city/rooms/{chat.room}/read"
    answer = await chat.base.city.call("PUT", path, {"message_id": message["id"]}, token=OKSANA)
    assert answer.status == 204
    assert await chat.counts() == (0, 0)
    await chat.until_quiet()


async def test_message_in_thread_is_read_by_its_receipt(chat: Chat) -> None:
    agent = await chat.base.city.agent_token("scribe")
    root = await chat.post("корінь", agent)
    (message,) = [each for each in (await chat.base.get()).content if each["body"] == "корінь"]
    chat.base.homeserver.next("sync", chat.read(root, thread_id="main"))
    await chat.until_read()
    reply = await chat.post("у нитці", agent, thread_root=message["id"])
    assert await chat.counts() == (0, 1)
    chat.base.homeserver.next("sync", chat.read(reply, thread_id=root))
    await chat.until_read()
    await chat.until_quiet()


async def test_receipt_at_reaction_is_found_as_the_ghost(chat: Chat) -> None:
    await chat.post("Нагадую", await chat.base.city.agent_token("scribe"))
    chat.base.homeserver.next("event", Reply(200, {"origin_server_ts": now_ms() + 1_000}))
    chat.base.homeserver.next("sync", chat.read("$reaction"))
    await chat.until_read()
    assert [each.user for each in chat.base.homeserver.all("event")] == [SCRIBE]


@pytest.mark.parametrize("user", ["@bob:city.localhost", OKSANA_GHOST, SCRIBE])
async def test_receipt_of_others_reads_nothing(chat: Chat, user: str) -> None:
    event = await chat.post("Нагадую", await chat.base.city.agent_token("scribe"))
    chat.base.homeserver.next("sync", chat.read(event, user))
    await chat.until_polled(4)
    assert await chat.counts() == (1, 1)


async def test_account_that_is_linked_later_begins_anew(chat: Chat) -> None:
    """Also if a request that was made before is answered after the link."""
    await chat.base.link("u_2", "@bob:city.localhost")
    answer = chat.base.homeserver.hold("sync")
    await chat.post("Нагадую", await chat.base.city.agent_token("scribe"))
    await chat.until_polled(1)
    await chat.base.unlink(TARAS)
    answer.set()
    assert await chat.until_polled(3) == [(SCRIBE, None), (SCRIBE, None), (SCRIBE, "s1")]


@pytest.mark.parametrize(
    ("fault", "tokens"),
    [
        (Reply(502, {}), [None, "s1", "s1"]),
        (HANG_UP, [None, "s1", "s1"]),
        (refused(401, "M_UNKNOWN_TOKEN"), [None, "s1", "s1"]),
        (refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=1), [None, "s1", "s1"]),
        (refused(500, "M_UNKNOWN"), [None, "s1", "s1"]),
        (NOT_REGISTERED, [None, "s1", None]),
        (refused(400, "M_UNKNOWN"), [None, "s1", None]),
        (Reply(200, {"next_batch": "s1", "rooms": {"join": {"!a": None}}}), [None, "s1", "s1"]),
    ],
    ids=["502", "hang-up", "401", "429", "500", "403", "400", "malformed"],
)
async def test_error_delays_the_receipt(chat: Chat, fault: Fault, tokens: list[str | None]) -> None:
    homeserver, monitor = chat.base.homeserver, chat.base.city.city.monitor
    homeserver.next("sync", Reply(200, {"next_batch": "s1"}), fault)
    event = await chat.post("Нагадую", await chat.base.city.agent_token("scribe"))
    homeserver.next("sync", chat.read(event))

    async def is_lost_or_read() -> bool:
        monitor.mark_up()
        return await chat.counts() == (0, 0)

    await eventually(is_lost_or_read, explain=lambda: str(chat.polls()))
    assert [token for _, token in await chat.until_polled(3)] == tokens


async def test_refusal_and_return_are_logged_once(chat: Chat) -> None:
    with capture_logs() as logs:
        chat.base.homeserver.next("sync", NOT_REGISTERED, NOT_REGISTERED)
        await chat.post("Нагадую", await chat.base.city.agent_token("scribe"))
        await chat.until_polled(4)
    told = [(line["event"], line["ghost"]) for line in logs if line["event"].startswith("chat_receipts")]
    assert told == [("chat_receipts_refused", SCRIBE), ("chat_receipts_back", SCRIBE)]


async def test_receipt_from_before_the_start_is_in_initial_sync(database_url: str) -> None:
    async with matrix_chat(database_url) as base:
        await base.link()
        chat = Chat(base, await base.id())
        event = await chat.post("Нагадую", await base.city.agent_token("scribe"))
        assert await chat.counts() == (1, 1)
        base.homeserver.next("sync", chat.read(event))
        base.city.city.monitor.mark_up()
        async with receiving_receipts(base):
            await chat.until_read()
        assert chat.polls()[0].query.get("since") is None
    assert GHOSTS_ASKING._value.get() == 0


async def listed(chat: Chat, count: int) -> dict[str, tuple[str, str]]:
    """Wait until the chat lists the receipts of so many readers; return their names and messages."""

    async def are_there() -> list[Any] | None:
        answer = await chat.base.get("/receipts")
        return list(answer.content) if len(answer.content) == count else None

    found = await eventually(are_there, explain=lambda: str(chat.polls()))
    return {each["user_id"]: (each["reader"]["display_name"], each["message_id"]) for each in found or []}


async def test_member_who_reads_a_chat_of_matrix_is_listed(chat: Chat) -> None:
    event = await chat.post("Нагадую", await chat.base.city.agent_token("scribe"))
    (message,) = [each for each in (await chat.base.get()).content if each["body"] == "Нагадую"]
    both = {user: {"ts": now_ms()} for user in (ALICE, BOB)}
    receipt = {"type": "m.receipt", "content": {event: {"m.read": both}}}
    joined = {MATRIX_ROOM: {"ephemeral": {"events": [receipt]}}}
    chat.base.homeserver.next("sync", Reply(200, {"next_batch": "s2", "rooms": {"join": joined}}))
    assert await listed(chat, 1) == {ALICE: ("Alice", message["id"])}


async def test_reading_a_chat_of_matrix_in_the_pages_is_listed(chat: Chat) -> None:
    (message,) = (await chat.base.get()).content[-1:]
    path = f"/city/rooms/{chat.room}/read"
    for token in (OKSANA, await chat.base.city.agent_token("scribe")):
        answer = await chat.base.city.call("PUT", path, {"message_id": message["id"]}, token=token)
        assert answer.status == 204
    assert {user: read for user, (_, read) in (await listed(chat, 2)).items()} == {
        ALICE: message["id"],
        "agent:scribe": message["id"],
    }
