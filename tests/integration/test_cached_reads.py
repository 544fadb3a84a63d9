"""Cached reads of rooms equal uncached ones after random changes, in the process that changed and in another one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from daarion_appservice.city.delivery_errors import DeliveryError
from daarion_appservice.city.reader_memberships import ReaderMemberships
from daarion_appservice.city.types import CitizenId, EventId, MessageId
from daarion_appservice.errors import CityError
from daarion_appservice.http.auth.principals import Admin, Anonymous, Citizen, Principal
from daarion_appservice.http.message_pages import PagePosition
from daarion_appservice.http.room_lists import RoomLists
from daarion_appservice.http.room_responses import CachedRoomResponses
from daarion_appservice.http.room_view_cache import RoomViewCache
from daarion_appservice.storage.database import Database
from daarion_appservice.storage.read_cache import ReadCache
from daarion_appservice.storage.read_versions import Versions
from tests.parts.city import ADMIN_TOKEN
from tests.parts.private_room import (
    ADMIN,
    ALICE,
    OKSANA,
    OKSANA_GHOST,
    TARAS,
    TARAS_GHOST,
    PrivateRoom,
    private_room,
)

NO_LIMITS: Final = dict.fromkeys(["reads", "messages", "changes", "rooms"], "")
READERS: Final[dict[str, Principal]] = {
    "anonymous": Anonymous(),
    "Оксана": Citizen(CitizenId("u_1"), "Оксана"),
    "admin": Admin(),
}
WRITERS: Final = st.sampled_from([OKSANA, TARAS, ADMIN])
USERS: Final = st.sampled_from([OKSANA_GHOST, TARAS_GHOST, ALICE])
ROOMS: Final = ("general", "builders")
SLUGS: Final = st.sampled_from(ROOMS)
WHICH: Final = st.integers(0, 50)


@dataclass(frozen=True)
class RoomReader:
    """The reading parts of one process."""

    database: Database
    pages: CachedRoomResponses
    lists: RoomLists

    async def read(self, principal: Principal) -> dict[str, Any]:
        """Return all that a principal can read of the rooms."""
        found: dict[str, Any] = {}
        encoded = await self.lists.page(principal, sort="recent", limit=10, offset=0)
        found["list"] = orjson.loads(encoded.body)
        for room in ROOMS:
            for position in (PagePosition(), PagePosition(before=8)):
                found[f"{room} {position}"] = await self._page(principal, room, position)
        return found

    async def _page(self, principal: Principal, room: str, position: PagePosition) -> Any:
        try:
            page = await self.pages.messages(room, principal, position, limit=5)
        except CityError as error:
            return error.code
        unread = await self.lists.state(principal, page.room.id)
        restriction = await self.pages.restriction(page.room, principal)
        ends = (page.older_before, page.newer_after)
        return page.room, orjson.loads(page.messages.body), ends, page.readable, unread, restriction


class _AlwaysOther:
    """Versions that are never equal, so that nothing cached is used."""

    async def read(self, rooms: Collection[str]) -> Versions:
        return Versions(object(), {room: object() for room in rooms})


class Reads:
    """A city and two more processes on its database: one with a cache, and one without."""

    def __init__(self, room: PrivateRoom, url: str) -> None:
        self._room = room
        uncached = self._reader(Database(url))
        uncached.database.read_cache = ReadCache(_AlwaysOther())
        self._uncached = uncached
        self._cached = {"this process": self._reader(room.city.city.database), "another": self._reader(Database(url))}

    def _reader(self, database: Database) -> RoomReader:
        city = self._room.city.city
        readers = ReaderMemberships(city.identities)
        lists = RoomLists(
            database,
            city.online_members,
            city.identities,
            readers,
            city.read_mark_writer,
            RoomViewCache(city.identities),
        )
        return RoomReader(database, CachedRoomResponses(database, city.identities, readers), lists)

    async def check(self) -> None:
        """Assert that what each reader gets is what the database holds."""
        for name, principal in READERS.items():
            self._uncached.lists.view_cache._cached.clear()
            expected = await self._uncached.read(principal)
            for process, reader in self._cached.items():
                assert await reader.read(principal) == expected, f"{name} reads from {process}"

    async def close(self) -> None:
        await self._uncached.database.close()
        await self._cached["another"].database.close()


class Run(Protocol):
    """Runs a coroutine until it ends."""

    def __call__(self, work: Coroutine[Any, Any, Any], /) -> Any: ...


class CachedReadsMachine(RuleBasedStateMachine):
    run: ClassVar[Run]
    room: ClassVar[PrivateRoom]
    reads: ClassVar[Reads]

    @rule(slug=SLUGS, writer=WRITERS, body=st.sampled_from(["Добрий **вечір**", "@daarwizz", "@u_2 і всі"]))
    def post(self, slug: str, writer: str, body: str) -> None:
        self._call("POST", slug, "/messages", {"body": body}, writer)

    @rule(slug=SLUGS, writer=WRITERS, which=WHICH)
    def reply_in_thread(self, slug: str, writer: str, which: int) -> None:
        if message := self._message(slug, which):
            self._call("POST", slug, "/messages", {"body": "у гілці", "thread_root": message}, writer)

    @rule(slug=SLUGS, which=WHICH, body=st.sampled_from(["інакше", "знову **інакше**"]))
    def edit(self, slug: str, which: int, body: str) -> None:
        if message := self._message(slug, which):
            for writer in (OKSANA, TARAS, ADMIN):
                self._call("PATCH", slug, f"/messages/{message}", {"body": body}, writer)

    @rule(slug=SLUGS, which=WHICH)
    def delete(self, slug: str, which: int) -> None:
        if message := self._message(slug, which):
            self._call("DELETE", slug, f"/messages/{message}", ..., ADMIN)

    @rule(slug=SLUGS, which=WHICH, writer=WRITERS, method=st.sampled_from(["PUT", "DELETE"]))
    def react(self, slug: str, which: int, writer: str, method: str) -> None:
        if message := self._message(slug, which):
            self._call(method, slug, f"/messages/{message}/reactions/%F0%9F%91%8D", ..., writer)

    @rule(slug=SLUGS, which=WHICH, writer=WRITERS)
    def mark_read(self, slug: str, which: int, writer: str) -> None:
        if message := self._message(slug, which):
            self._call("PUT", slug, "/read", {"message_id": message}, writer)

    @rule(slug=SLUGS, writer=WRITERS, what=st.sampled_from(["join", "leave"]))
    def join_or_leave(self, slug: str, writer: str, what: str) -> None:
        self._call("POST", slug, f"/{what}", {}, writer)

    @rule(slug=SLUGS, archived=st.booleans(), name=st.sampled_from(["Поділ", "Оболонь"]))
    def change_room(self, slug: str, archived: bool, name: str) -> None:
        self._call("PATCH", slug, "", {"archived": archived, "name": name}, ADMIN_TOKEN)

    @rule(body=st.sampled_from(["з Element", "@room"]))
    def receive_text(self, body: str) -> None:
        self.run(self.room.receive_text(body))

    @rule(user=USERS, membership=st.sampled_from(["join", "leave", "invite", "ban"]))
    def receive_membership(self, user: str, membership: str) -> None:
        content = {"membership": membership}
        sender = user if membership in {"join", "leave"} else ALICE
        self.run(self.room.receive("m.room.member", content, state_key=user, sender=sender))

    @rule(visibility=st.sampled_from(["world_readable", "shared", "joined", "invited"]), is_open=st.booleans())
    def receive_visibility(self, visibility: str, is_open: bool) -> None:
        self.run(self.room.set_visibility(visibility, "public" if is_open else "invite"))

    @rule(slug=SLUGS, which=WHICH, is_sent=st.booleans())
    def finish_delivery(self, slug: str, which: int, is_sent: bool) -> None:
        if message := self._message(slug, which):
            self.run(self._finish_delivery(message, is_sent=is_sent))

    @invariant()
    def cached_reads_equal_database(self) -> None:
        self.run(self.reads.check())

    async def _finish_delivery(self, message_id: str, *, is_sent: bool) -> None:
        city = self.room.city.city
        async with city.database.transaction() as tx:
            message = await tx.messages.get(MessageId(message_id))
            assert message is not None
            if is_sent:
                stored = await city.messages.mark_sent(tx, message, EventId(f"$sent_{message_id}"))
            else:
                stored = await city.messages.mark_failed(tx, message, DeliveryError.REFUSED)
        city.bus.publish(stored)

    def _message(self, slug: str, which: int) -> str | None:
        page = self.run(self.room.city.call("GET", f"/city/rooms/{slug}/messages", token=ADMIN_TOKEN)).content
        return page[which % len(page)]["id"] if isinstance(page, list) and page else None

    def _call(self, method: str, slug: str, path: str, content: Any, token: str) -> None:
        answer = self.run(self.room.city.call(method, f"/city/rooms/{slug}{path}", content, token=token))
        assert answer.status < 500, answer


@pytest.fixture
def machine(database_url: str) -> Iterator[type[CachedReadsMachine]]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def start() -> tuple[PrivateRoom, Reads]:
            room = await stack.enter_async_context(private_room(database_url, limits=NO_LIMITS))
            await room.city.call("POST", "/city/rooms", {"name": "Будівничі", "slug": "builders"}, token=OKSANA)
            reads = Reads(room, database_url)
            stack.push_async_callback(reads.close)
            return room, reads

        room, reads = runner.run(start())
        yield type("Machine", (CachedReadsMachine,), {"run": staticmethod(runner.run), "room": room, "reads": reads})
        runner.run(stack.aclose())


@pytest.mark.parametrize(
    ("examples", "steps"), [(2, 15), pytest.param(100, 60, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_cached_reads_equal_uncached_ones(machine: type[CachedReadsMachine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
