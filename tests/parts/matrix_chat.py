"""A direct chat with an agent that a Matrix user opened in a Matrix client, and its readers in the city."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from daarion_appservice.city.linked_accounts import LinkedAccount
from daarion_appservice.city.types import CitizenId, RoomId, UserId
from daarion_appservice.clock import now_ms
from daarion_appservice.storage.outbox import OutboxRow
from tests.parts.city import ADMIN_TOKEN, citizen_token, eventually
from tests.parts.in_process_city import AGENTS, HttpResponse, InProcessCity, in_process_city
from tests.parts.scripted_homeserver import ReceivedRequest, Reply, ScriptedHomeserver

MATRIX_ROOM: Final = "!chat:city.localhost"
ALICE, BOB, SCRIBE = "@alice:city.localhost", "@bob:city.localhost", "@agent_scribe:city.localhost"
OKSANA, TARAS = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас")
OKSANA_GHOST: Final = "@citizen_u_1:city.localhost"
WORD: Final = quote("привіт")
ADMIN: Final = citizen_token("u_9", "Ада", role="admin")


class ChatHomeserver(ScriptedHomeserver):
    """A homeserver with the state of one room."""

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, dict[str, Any]] = {}
        """The contents of the state events by type."""

    def _answer(self, received: ReceivedRequest) -> dict[str, Any]:
        if received.what == "state" and (content := self.state.get(received.path["type"])) is not None:
            return {"content": content, "sender": ALICE} if received.query.get("format") == "event" else content
        return super()._answer(received)


@dataclass
class MatrixChat:
    """The chat of Alice with the agent Scribe."""

    city: InProcessCity
    homeserver: ChatHomeserver
    count: int = field(default=0)
    members: list[str] = field(default_factory=lambda: [ALICE, SCRIBE])

    async def receive(self, event_type: str, content: Any, **more: Any) -> str:
        """Handle an event of the Matrix room, and return its id."""
        self.count += 1
        event = {
            "event_id": f"${self.count}",
            "room_id": MATRIX_ROOM,
            "type": event_type,
            "sender": ALICE,
            "content": content,
            "origin_server_ts": now_ms(),
        } | more
        await self.city.handle(event)
        return f"${self.count}"

    async def say(self, body: str, sender: str = ALICE, **content: Any) -> str:
        return await self.receive("m.room.message", {"msgtype": "m.text", "body": body} | content, sender=sender)

    async def member(self, user: str, membership: str, sender: str | None = None) -> None:
        if membership == "join":
            self.members.append(user)
        elif user in self.members:
            self.members.remove(user)
        await self.receive("m.room.member", {"membership": membership}, state_key=user, sender=sender or user)

    async def set_state(self, event_type: str, content: dict[str, Any]) -> None:
        """Set a state event, of which the city hears, and let the reconciler read it."""
        self.homeserver.state[event_type] = content
        await self.receive(event_type, content, state_key="")
        await self.reconcile()

    async def reconcile(self) -> None:
        """Let the reconciler of direct chats read the members and the state of the room, as it does after each change."""
        city = self.city.city
        async with city.database.read_only() as tx:
            pending = await tx.direct_chats.pending()
        for chat in pending:
            self.homeserver.next("members", Reply(200, {"joined": {user: {} for user in self.members}}))
            await city.direct_chats._reconcile(chat)

    async def link(self, citizen: str = "u_1", user: str = ALICE) -> None:
        account = LinkedAccount(CitizenId(citizen), UserId(user), "Alice")
        city = self.city.city
        async with city.database.transaction() as tx:
            assert await tx.accounts.link(account, now_ms=now_ms())
        await city.account_cache.load()

    async def unlink(self, token: str = OKSANA) -> None:
        assert (await self.city.call("DELETE", "/city/me/matrix", token=token)).status == 204

    async def id(self) -> RoomId:
        async with self.city.city.database.read_only() as tx:
            rooms = await tx.connection.exec_driver_sql("SELECT id FROM rooms WHERE agent IS NOT NULL")
            return RoomId(rooms.scalar_one())

    async def listed(self, token: str = OKSANA) -> list[Any]:
        return list(await self.city.get("/city/direct", token=token))

    async def get(self, path: str = "/messages", token: str | None = OKSANA) -> HttpResponse:
        return await self.city.call("GET", f"/city/rooms/{await self.id()}{path}", token=token)

    async def read(self, token: str | None = OKSANA) -> list[str] | None:
        """Return the texts that a reader gets; None if there is no such room for the reader."""
        answer = await self.get(token=token)
        return [each["body"] for each in answer.content] if answer.status == 200 else None

    async def post(self, body: str, token: str = OKSANA) -> HttpResponse:
        return await self.city.call("POST", f"/city/rooms/{await self.id()}/messages", {"body": body}, token=token)


@asynccontextmanager
async def matrix_chat(database_url: str) -> AsyncIterator[MatrixChat]:
    """Open a city in which Alice invited Scribe to a chat and said one thing; nobody is linked."""
    homeserver = ChatHomeserver()
    sections: dict[str, Any] = {"homeserver": {"address": homeserver.url}, "encryption": {"enabled": False}}
    async with homeserver.serving():
        sections["homeserver"]["address"] = homeserver.url
        async with in_process_city(database_url, AGENTS, **sections) as city:
            chat = MatrixChat(city, homeserver)
            await chat.receive("m.room.member", {"membership": "invite"}, state_key=SCRIBE)
            await chat.reconcile()
            await chat.say("Привіт")
            yield chat


async def outbox(chat: MatrixChat) -> list[tuple[str, str | None]]:
    async with chat.city.city.database.read_only() as tx:
        return [(row.kind, row.user_id) for row in await tx.outbox.waiting(limit=99)]


async def deliver(chat: MatrixChat) -> None:
    """Send what waits in the outbox."""
    city = chat.city.city
    city.monitor.mark_up()
    async with city.database.read_only() as tx:
        rows = await tx.outbox.waiting(limit=99)

    async def is_sent(row: OutboxRow) -> bool:
        return await city.outbound._delivery.deliver(row) is None

    for row in rows:
        await eventually(partial(is_sent, row), explain=partial(str, row), interval_s=0)


async def is_hidden(chat: MatrixChat, token: str | None) -> bool:
    """Whether no route tells a reader of the chat."""
    room = await chat.id()
    paths = ("", "/messages", "/messages?after=0", "/receipts", "/threads")
    refused = [(await chat.get(path, token)).status == 404 for path in paths]
    lists = [
        str(await chat.city.get(path, token=token)) for path in ("/city/rooms?limit=500", f"/city/rooms?ids={room}")
    ]
    lists.append(str((await chat.city.get(f"/city/search?q={WORD}", token=token))["results"]))
    lists.append(str(await chat.city.get(f"/city/me/unread?since={room}:0", token=token)))
    lists.append(str(await chat.city.get("/city/feed?limit=100", token=token)))
    if token is not None and token != ADMIN_TOKEN:
        lists.append(str(await chat.listed(token)))
        writes = [
            ("POST", "/messages", {"body": "x"}),
            ("POST", "/join", ...),
            ("POST", "/leave", ...),
            ("PUT", "/typing", {"typing": True}),
            ("PUT", "/notifications", {"mode": "none"}),
        ]
        answers = [
            await chat.city.call(how, f"/city/rooms/{room}{path}", body, token=token) for how, path, body in writes
        ]
        refused += [answer.status == 404 for answer in answers]
    return all(refused) and room not in str(lists)
