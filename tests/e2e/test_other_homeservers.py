"""What another homeserver sends counts as far as the city's own homeserver lets it count.

The other server is cut off from news, so its people go on with rights that they no longer have. Synapse soft-fails their
events: no client sees them, but the service receives them all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import quote

import nio
import pytest

from daarion_appservice.city.types import RoomId
from daarion_appservice.config import loading as config_file
from daarion_appservice.storage.database import Database, Transaction
from daarion_appservice.storage.inbox import ReceivedEvent
from tests.parts.city import citizen_token, eventually
from tests.parts.federation import FederatedCity, StartFederation
from tests.parts.http_proxy import HttpProxy
from tests.parts.matrix_user import Arrive, MatrixUser
from tests.parts.ports import free_port

OKSANA = citizen_token("u_123", "Оксана")
POWERS = "m.room.power_levels"
MODERATOR = 150
"""In room version 12 a tombstone needs it."""


@dataclass
class FederatedHarness:
    """The city's room general with alice of the city's homeserver and fay of the other one."""

    federation: FederatedCity
    to_service: HttpProxy
    alice: MatrixUser
    fay: MatrixUser
    general: str

    @property
    def server(self) -> str:
        return self.federation.city.homeserver.server_name

    async def as_bot(self, method: str, path: str, content: Any = None) -> Any:
        """Send a request to the city's homeserver as the bot, which owns the room."""
        city = self.federation.city
        token = config_file.load(city.config).appservice.as_token.get_secret_value()
        path = f"/_matrix/client/v3/rooms/{quote(self.general)}/{path}"
        status, answer = await city.call(method, path, content, token=token, url=city.homeserver.url)
        assert status == 200, answer
        return answer

    async def set_power(self, level: int, *more: MatrixUser) -> None:
        """Set the power level of fay and others on the city's homeserver."""
        powers = await self.as_bot("GET", f"state/{POWERS}/")
        powers["users"] |= {person.client.user_id: level for person in (self.fay, *more)}
        await self.as_bot("PUT", f"state/{POWERS}/", powers)

    async def set_remote_state(self, event_type: str, content: dict[str, Any], state_key: str = "") -> str:
        answer = await self.fay.client.room_put_state(self.general, event_type, content, state_key)
        assert isinstance(answer, nio.RoomPutStateResponse), answer
        return str(answer.event_id)

    async def wait_handled(self, event_id: str) -> None:
        """Wait until the service has received this event and its inbox is empty."""

        async def came() -> bool:
            return any(passed.is_transaction and event_id in str(passed.content) for passed in self.to_service.passed)

        await eventually(came)
        await eventually(self._inbox_is_empty)

    async def _inbox_is_empty(self) -> bool:
        async with self.read_only() as tx:
            counts = await tx.inbox.counts()
        assert "dead" not in counts
        return counts == {}

    @asynccontextmanager
    async def read_only(self) -> AsyncIterator[Transaction]:
        database = Database(self.federation.city.database_url)
        try:
            async with database.read_only() as tx:
                yield tx
        finally:
            await database.close()

    async def room(self) -> dict[str, Any]:
        answer: dict[str, Any] = await self.federation.city.get("/city/rooms/general")
        return {key: answer[key] for key in ("name", "description", "matrix_status", "matrix_error")}

    async def member_names(self) -> dict[str, str | None]:
        async with self.read_only() as tx:
            return {member.user_id: member.display_name for member in await tx.members.of_room(RoomId("city_general"))}

    async def post(self, body: str) -> int:
        """Post a message as a citizen; return the status of the response."""
        status, _ = await self.federation.city.call(
            "POST", "/city/rooms/general/messages", {"body": body}, token=OKSANA
        )
        return status

    async def dropped_events(self) -> float:
        """Return how many events were dropped since the service started."""
        async with self.federation.city.session.get(f"{self.federation.city.matrix_url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("daarion_events_dropped_total"))


class Start(Protocol):
    """The type of the fixture ``start``."""

    async def __call__(self, **settings: str | float) -> FederatedHarness: ...


@pytest.fixture
async def start(start_federation: StartFederation, arrive: Arrive) -> AsyncIterator[Start]:
    proxies: list[HttpProxy] = []

    async def start_both(**settings: str | float) -> FederatedHarness:
        to_service = HttpProxy(free_port())
        proxies.append(to_service)
        await to_service.start()
        on_the_way: dict[str, str | float] = {
            "matrix.port": to_service.target_port,
            "appservice.address": to_service.url,
        }
        federation = await start_federation(settings=on_the_way | settings)
        alice, fay = await arrive(federation.city, "alice"), await arrive(federation.other, "fay")
        general = await alice.join(federation.alias("general"))
        await fay.join(federation.alias("general"))
        sides = FederatedHarness(federation, to_service, alice, fay, general)
        await sides.wait_handled(await fay.send_text(general, "hello"))
        return sides

    yield start_both
    for proxy in proxies:
        await proxy.stop()


ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@ON_SQLITE
async def test_banned_remote_user_cannot_post_in_city(start: Start) -> None:
    sides = await start()
    fay_id = sides.fay.client.user_id
    edited = await sides.fay.send_text(sides.general, "as it was")
    await sides.wait_handled(edited)
    sides.federation.link.cut(from_there=False)

    await sides.as_bot("POST", "ban", {"user_id": fay_id})
    for number in range(6):
        await sides.fay.send_text(sides.general, f"banned {number} @daarwizz")
    await sides.fay.client.room_redact(sides.general, edited)
    edit = {"m.new_content": {"msgtype": "m.text", "body": "otherwise"}}
    relation = {"m.relates_to": {"rel_type": "m.replace", "event_id": edited}}
    await sides.fay.send_text(sides.general, "* otherwise", more=edit | relation)
    await sides.set_remote_state("m.room.member", {"membership": "join", "displayname": "Not banned"}, fay_id)
    last = await sides.fay.send_text(sides.general, "banned at last")
    await sides.wait_handled(last)

    assert await sides.federation.city.bodies() == ["hello", "as it was"]
    assert fay_id not in await sides.member_names()
    assert await sides.dropped_events() == 9
    # Nobody else waits for it.
    await sides.wait_handled(await sides.alice.send_text(sides.general, "and so we go on"))
    assert (await sides.federation.city.bodies())[-1] == "and so we go on"


@ON_POSTGRESQL
async def test_former_moderator_changes_nothing_in_city(start: Start) -> None:
    sides = await start()
    assert await sides.post("before") == 201
    await sides.set_power(MODERATOR)
    before = await sides.room()
    await sides.fay.wait_for_event(lambda event: event["type"] == POWERS and sides.fay.client.user_id in str(event))
    sides.federation.link.cut(from_there=False)

    await sides.set_power(0)
    await sides.set_remote_state("m.room.name", {"name": "Fay's"})
    await sides.set_remote_state("m.room.topic", {"topic": "of fay"})
    await sides.set_remote_state("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    await sides.set_remote_state("m.room.join_rules", {"join_rule": "invite"})
    await sides.set_remote_state(POWERS, {"users": {sides.fay.client.user_id: 100}, "events_default": 100})
    await sides.fay.client.room_ban(sides.general, f"@citizen_u_123:{sides.server}")
    await sides.fay.client.room_kick(sides.general, f"@agent_scribe:{sides.server}")
    members = await sides.member_names()
    last = await sides.set_remote_state("m.room.tombstone", {"replacement_room": "!elsewhere", "body": "gone"})
    await sides.wait_handled(last)

    assert await sides.room() == before
    assert await sides.member_names() == members
    assert await sides.post("after") == 201
    # What happens to the room after that tombstone still counts.
    powers = await sides.as_bot("GET", f"state/{POWERS}/")
    muted = await sides.as_bot("PUT", f"state/{POWERS}/", powers | {"events_default": 60})
    await sides.wait_handled(muted["event_id"])

    async def is_muted() -> bool:
        return await sides.post("muted") == 403

    await eventually(is_muted)


@ON_SQLITE
async def test_concurrent_names_resolve_to_matrix_state(start: Start) -> None:
    sides = await start()
    await sides.set_power(MODERATOR)
    await sides.fay.wait_for_event(lambda event: event["type"] == POWERS and sides.fay.client.user_id in str(event))
    sides.federation.link.cut()
    await sides.set_remote_state("m.room.topic", {"topic": "of there"})
    await sides.set_remote_state("m.room.name", {"name": "Of there"})
    await sides.as_bot("PUT", "state/m.room.topic/", {"topic": "of here"})
    await sides.as_bot("PUT", "state/m.room.name/", {"name": "Of here"})
    sides.federation.link.mend()
    await sides.wait_handled(await sides.fay.send_text(sides.general, "healed"))

    async def is_same() -> bool:
        # The reconciler may be sending one of the city's values to Matrix meanwhile.
        name = (await sides.as_bot("GET", "state/m.room.name/"))["name"]
        topic = (await sides.as_bot("GET", "state/m.room.topic/"))["topic"]
        room = await sides.room()
        return bool((room["name"], room["description"]) == (name, topic))

    await eventually(is_same)


@ON_SQLITE
async def test_lost_state_is_read_again_with_missing_events(start: Start) -> None:
    sides = await start(**{"homeserver.sweep_s": 1.0})
    await sides.set_power(MODERATOR, sides.alice)
    await sides.fay.wait_for_event(lambda event: event["type"] == POWERS and sides.fay.client.user_id in str(event))
    sides.to_service.answer(lambda passed: passed.is_transaction, 200, {})
    sides.federation.link.cut()
    lost = await sides.set_remote_state("m.room.name", {"name": "Of there"})
    won = await sides.alice.client.room_put_state(sides.general, "m.room.name", {"name": "Of here"})
    assert isinstance(won, nio.RoomPutStateResponse)
    await _apply_in_city(sides, "Of there", [lost, won.event_id])
    sides.federation.link.mend()
    await sides.fay.send_text(sides.general, "healed")

    async def is_mended() -> bool:
        name = (await sides.as_bot("GET", "state/m.room.name/"))["name"]
        room = await sides.room()
        return name == room["name"] == "Of here" and "healed" in await sides.federation.city.bodies()

    await eventually(is_mended)


async def _apply_in_city(sides: FederatedHarness, name: str, handled: list[str]) -> None:
    """Store these events as processed and this room name, as if the city had applied the events already."""
    database = Database(sides.federation.city.database_url)
    try:
        async with database.transaction() as tx:
            rows = [ReceivedEvent(event_id, sides.general, "{}") for event_id in handled]
            await tx.inbox.add(rows, now_ms=1, is_done=True)
            room = await tx.rooms.find("general")
            assert room is not None
            await tx.rooms.change(replace(room, name=name))
            await tx.matrix_rooms.set_applied_text(room.id, name=name)
    finally:
        await database.close()
