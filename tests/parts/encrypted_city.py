"""A city whose agents are asked in encrypted chats, and checks of what the homeserver has of these chats."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from daarion_appservice.city.types import MatrixRoomId, Message, RoomId
from daarion_appservice.storage.database import Database
from tests.parts.agents_core import EchoingCore, answer_to
from tests.parts.city import LONG_PRESENCE, RunningCity, eventually, shared_city
from tests.parts.encrypted_user import EncryptedArrive, EncryptedUser, encrypted_users
from tests.parts.http_proxy import HttpProxy
from tests.parts.js_client import ArriveByJsSdk, JsClient, JsEvent, arriving_by_js_sdk
from tests.parts.ports import free_port

DAARWIZZ: Final = "@agent_daarwizz:city.localhost"
SCRIBE: Final = "@agent_scribe:city.localhost"
AGENTS: Final = ("daarwizz", "scribe")

ANSWERED_S: Final = 60.0
"""Seconds until an answer counts as lost: a waiting event is tried again after 1, 5, 20 and 60 s."""

_IN_CLEAR: Final = {"m.reaction", "m.room.redaction"}
"""Types of events without state that clients, too, send in clear into encrypted rooms."""


@dataclass
class EncryptedCity:
    """A city behind a proxy on its way to Synapse; its agents repeat each question in their answer."""

    city: RunningCity
    core: EchoingCore
    to_synapse: HttpProxy
    arrive: EncryptedArrive
    arrive_by_js_sdk: ArriveByJsSdk
    _agent_tokens: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def with_people(self) -> AsyncIterator[EncryptedCity]:
        """Return the city with people who leave at the end of the context."""
        async with encrypted_users(self.city.directory / "keys") as arrive, arriving_by_js_sdk() as arrive_by_js_sdk:
            yield replace(self, arrive=arrive, arrive_by_js_sdk=arrive_by_js_sdk)

    async def reset(self) -> None:
        """Undo what the last test left."""
        self.core.clear_script()
        self.core.requests.clear()
        self.to_synapse.pass_everything()
        if not self.city.service.running:
            await self.start()
        await self.set_online()

    async def start(self) -> None:
        """Start the service again, and set the agents online."""
        await self.city.start()
        await self.set_online()

    async def set_online(self) -> None:
        """Send a heartbeat of each agent."""
        for slug in AGENTS:
            await self.city.post(f"/api/v1/agents/{slug}/heartbeat", token=await self.agent_token(slug))

    async def agent_token(self, slug: str) -> str:
        """Return a token of an agent, which is created once."""
        if slug not in self._agent_tokens:
            self._agent_tokens[slug] = await self.city.agent_token(slug)
        return self._agent_tokens[slug]

    # --- what the city has ----------------------------------------------------------------------------

    async def chat(self, room_id: str) -> RoomId | None:
        """Return the id of the chat in a Matrix room; None if the city does not know the room."""
        database = Database(self.city.database_url)
        try:
            async with database.read_only() as tx:
                room = await tx.rooms.by_matrix_id(MatrixRoomId(room_id))
                return room.id if room is not None else None
        finally:
            await database.close()

    async def messages(self, room_id: str) -> list[Message]:
        """Return the messages of a chat, oldest first."""
        database = Database(self.city.database_url)
        try:
            async with database.read_only() as tx:
                room = await tx.rooms.by_matrix_id(MatrixRoomId(room_id))
                assert room is not None
                return await tx.messages.between(room.id, 0, room.last_seq, limit=1000)
        finally:
            await database.close()

    async def bodies(self, room_id: str) -> list[str]:
        """Return the bodies of a chat's messages that are not deleted, oldest first."""
        return [message.body for message in await self.messages(room_id) if not message.deleted]

    # --- conversations --------------------------------------------------------------------------------

    async def ask(self, person: EncryptedUser, room_id: str, question: str) -> dict[str, Any]:
        """Ask the agent of a chat, and return its answer as the person reads it."""
        await person.send_text(room_id, question)
        return await self.answer(person, room_id, question)

    async def answer(self, person: EncryptedUser, room_id: str, question: str) -> dict[str, Any]:
        """Return the answer to a question that was sent."""

        def is_answer(event: Mapping[str, Any]) -> bool:
            return (event["room_id"], event["content"].get("body")) == (room_id, answer_to(question))

        async def found() -> dict[str, Any] | None:
            return next(filter(is_answer, person.events), None)

        event = await eventually(found, ANSWERED_S, lambda: self.explain(person, room_id))
        assert event is not None
        assert event["encrypted"], event
        return event

    async def ask_by_js_sdk(self, person: JsClient, room_id: str, question: str) -> JsEvent:
        """Ask the agent of a chat, and return its answer as matrix-js-sdk shows it, which must be without a shield."""
        await person.say(room_id, question)
        event = await person.wait_for({"content": {"body": answer_to(question)}}, room_id=room_id, timeout_s=ANSWERED_S)
        assert event["encrypted"], event
        assert await person.shield(room_id, event["event_id"]) == {"colour": "NONE", "reason": None}
        return event

    def check_answers(self, person: EncryptedUser, room_id: str, questions: Iterable[str]) -> None:
        """Fail unless each question has one answer, which the person read, and nothing else came from agents."""
        expected = Counter(answer_to(question) for question in questions)
        found = Counter(text for agent in (DAARWIZZ, SCRIBE) for text in person.texts(room_id, agent))
        lost, doubled = expected - found, found - expected
        assert not lost, self.explain(person, room_id)
        assert not doubled, f"doubled: {doubled}\n{self.explain(person, room_id)}"
        assert not person.unread_of(room_id), person.undecrypted

    def explain(self, person: EncryptedUser, room_id: str) -> str:
        """Return what is known when an answer is missing."""
        asked = [request.content["input"] for request in self.core.requests[-10:]]
        log = "\n".join(self.city.service.last_lines(60))
        return (
            f"read: {person.texts(room_id, DAARWIZZ)[-10:]}, not decrypted: {person.unread_of(room_id)}, "
            f"the core was asked: {asked}\n{log}"
        )

    # --- what the homeserver has ----------------------------------------------------------------------

    def events(self, room_id: str) -> list[dict[str, Any]]:
        """Return all events of a room as Synapse stores them, oldest first."""
        sql = "SELECT j.json FROM events e JOIN event_json j USING (event_id) WHERE e.room_id = ? ORDER BY e.stream_ordering"
        with closing(sqlite3.connect(self.city.homeserver.setup.directory / "homeserver.db")) as connection:
            return [json.loads(text) for (text,) in connection.execute(sql, [room_id])]

    def check_encrypted(self, room_id: str, *, texts: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Check everything that ghosts sent into a room after it was encrypted.

        Nothing of it may be in clear, no text may stand in any event, and no index of a session may have encrypted two
        events.

        Args:
            room_id: The room.
            texts: Texts that must stand in no event.

        Returns:
            The encrypted events of ghosts, oldest first.
        """
        events = self.events(room_id)
        begin = next(index for index, event in enumerate(events) if event["type"] == "m.room.encryption")
        by_ghosts = [event for event in events[begin:] if _is_of_a_ghost(event) and "state_key" not in event]
        in_clear = [event for event in by_ghosts if event["type"] not in {"m.room.encrypted", *_IN_CLEAR}]
        assert in_clear == []
        stored = json.dumps(events[begin:], ensure_ascii=False)
        assert [text for text in texts if text in stored] == []
        encrypted = [event for event in by_ghosts if event["type"] == "m.room.encrypted" and event["content"]]
        indexes = Counter((event["content"]["session_id"], _message_index(event)) for event in encrypted)
        assert [index for index, count in indexes.items() if count > 1] == [], "a ratchet encrypted two events"
        return encrypted

    def homeserver_rows(self, sql: str, *parameters: str) -> list[tuple[Any, ...]]:
        """Run a query on the database of Synapse."""
        with closing(sqlite3.connect(self.city.homeserver.setup.directory / "homeserver.db")) as connection:
            return list(connection.execute(sql, parameters))


def _is_of_a_ghost(event: Mapping[str, Any]) -> bool:
    return str(event["sender"]).startswith("@agent_")


def _message_index(event: Mapping[str, Any]) -> int:
    """Return the index of the session that encrypted an event: the first field of a Megolm message, a varint."""
    ciphertext = event["content"]["ciphertext"]
    message = base64.b64decode(ciphertext + "=" * (-len(ciphertext) % 4))
    assert message[:2] == b"\x03\x08", "version 3, field 1"
    index = shift = 0
    for byte in message[2:]:
        index |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return index


@asynccontextmanager
async def encrypted_city(
    directory: Path, database_url: str, *, is_started: bool = True
) -> AsyncIterator[EncryptedCity]:
    """Start a city for encrypted chats, with two agents that are online."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(EchoingCore().serving())
        to_synapse = HttpProxy(free_port())
        await to_synapse.start()
        stack.push_async_callback(to_synapse.stop)
        city = await stack.enter_async_context(
            shared_city(
                directory,
                database_url,
                homeserver={"port": to_synapse.target_port},
                settings={
                    **LONG_PRESENCE,
                    "homeserver.address": to_synapse.url,
                    "agents_core.url": core.url,
                    "limits.messages": "100000/minute",
                    "agents_core.max_image_bytes": 1_000_000,
                },
                is_started=is_started,
            )
        )
        arrive = await stack.enter_async_context(encrypted_users(directory / "keys"))
        by_js_sdk = await stack.enter_async_context(arriving_by_js_sdk())
        started = EncryptedCity(city, core, to_synapse, arrive, by_js_sdk)
        if is_started:
            await started.set_online()
        yield started
