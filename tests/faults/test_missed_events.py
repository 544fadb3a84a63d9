"""Events that Synapse accepted and did not deliver while it was reachable: found, and inserted in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import nio
import pytest

from daarion_appservice.city.types import AuthorKind, RoomId
from daarion_appservice.storage.database import Database
from tests.parts.city import RunningCity, StartCity, eventually
from tests.parts.federation import FederatedCity, StartFederation
from tests.parts.frames import next_frame
from tests.parts.http_proxy import HttpProxy
from tests.parts.matrix_user import Arrive, MatrixUser
from tests.parts.ports import free_port
from tests.parts.synapse_workers import BootWorkers, SynapseWorkers
from tests.parts.two_way_messages import Messages, both_sides_received, numbered_messages, send_as_person

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
ALICE = "@alice:city.localhost"
SOON: dict[str, str | float] = {"homeserver.sweep_s": 1.0}


@pytest.fixture
async def to_service() -> AsyncIterator[HttpProxy]:
    """On Synapse's way to the matrix listener."""
    proxy = HttpProxy(free_port())
    await proxy.start()
    yield proxy
    await proxy.stop()


@ON_POSTGRESQL
async def test_worker_kill_loses_and_reorders_nothing(
    start_city: StartCity, synapse_workers: BootWorkers, arrive: Arrive, to_service: HttpProxy
) -> None:
    settings: dict[str, str | float] = {"matrix.port": to_service.target_port, "appservice.address": to_service.url}
    city = await start_city(boot=synapse_workers, settings=settings | SOON)
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    sent: Messages = {ALICE: []}
    await send_as_person(alice, general, ["before"], sent[ALICE])
    await both_sides_received(city, alice, general, sent)

    to_service.lose_answers(lambda passed: passed.is_transaction)
    await send_as_person(alice, general, ["arrives"], sent[ALICE])
    await eventually(_has_lost(to_service))
    await send_as_person(alice, general, numbered_messages(7, "held by the worker"), sent[ALICE])
    assert isinstance(city.homeserver, SynapseWorkers)
    city.homeserver.kill_processes("appservice")
    to_service.pass_everything()
    # No later message triggers a delivery.
    await both_sides_received(city, alice, general, sent)

    await send_as_person(alice, general, numbered_messages(3, "without a worker"), sent[ALICE])
    await city.homeserver.start_processes("appservice")
    await send_as_person(alice, general, numbered_messages(3, "with a worker"), sent[ALICE])
    await both_sides_received(city, alice, general, sent)
    assert await _missed(city, "worker") >= 7


@ON_SQLITE
async def test_lost_event_precedes_later_ones(start_city: StartCity, arrive: Arrive, to_service: HttpProxy) -> None:
    settings: dict[str, str | float] = {
        "matrix.port": to_service.target_port,
        "appservice.address": to_service.url,
        "homeserver.sweep_s": 12.0,
    }
    city = await start_city(settings=settings)
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    await alice.send_text(general, "first")
    await eventually(_has(city, 1))

    to_service.answer(lambda passed: passed.is_transaction, 200, {})
    lost = await alice.send_text(general, "lost")
    to_be_edited = await alice.send_text(general, "to be edited")
    await eventually(_has_answered(to_service, "to be edited"))
    to_service.pass_everything()
    new = {"msgtype": "m.text", "body": "edited"}
    replaces = {"rel_type": "m.replace", "event_id": to_be_edited}
    await alice.send_text(general, "* edited", more={"m.new_content": new, "m.relates_to": replaces})
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": lost, "key": "👍"}}
    await alice.client.room_send(general, "m.reaction", reaction)
    await alice.send_text(general, "last")
    await eventually(_has(city, 2))
    assert await city.bodies() == ["first", "last"]
    (_, last) = before = await city.get("/city/rooms/general/messages")

    await eventually(_has(city, 4), explain=lambda: _log(city))

    async def is_complete() -> bool:
        # The inbox may handle the events that the sweep found in several transactions.
        messages = await city.get("/city/rooms/general/messages")
        return messages[2]["body"] == "edited" and "👍" in str(messages[1]["reactions"])

    await eventually(is_complete, explain=lambda: _log(city))
    messages = await city.get("/city/rooms/general/messages")
    assert [each["body"] for each in messages] == ["first", "lost", "edited", "last"]
    assert messages[0] == before[0]
    assert (messages[3]["id"], messages[3]["seq"] > last["seq"]) == (last["id"], True)
    seqs = [each["seq"] for each in messages]
    assert seqs == sorted(seqs)
    async with city.session.ws_connect(f"{city.api_url}/ws/city/rooms/general?since={last['seq']}") as socket:
        frames = [await next_frame(socket)]
        while frames[-1]["event"] not in {"city.room.resync", "city.room.message"}:
            frames.append(await next_frame(socket))
    assert frames[-1]["event"] == "city.room.resync"


@ON_SQLITE
async def test_lost_invitation_and_chat_messages_are_found(
    start_city: StartCity, arrive: Arrive, to_service: HttpProxy
) -> None:
    settings: dict[str, str | float] = {"matrix.port": to_service.target_port, "appservice.address": to_service.url}
    city = await start_city(settings=settings | SOON)
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    await alice.send_text(general, "before")
    await eventually(_has(city, 1))

    to_service.answer(lambda passed: passed.is_transaction, 200, {})
    created = await alice.client.room_create(is_direct=True, invite=["@agent_scribe:city.localhost"])
    assert isinstance(created, nio.RoomCreateResponse)
    await alice.send_text(created.room_id, "lost before anybody came")
    await eventually(_has_answered(to_service, created.room_id))
    await eventually(_chat_has(city, ["lost before anybody came"]), explain=lambda: _log(city))
    await alice.send_text(created.room_id, "lost in the chat")
    await eventually(_chat_has(city, ["lost before anybody came", "lost in the chat"]), explain=lambda: _log(city))
    assert await _missed(city, "worker") >= 2


@ON_SQLITE
async def test_backfill_fills_a_hole(start_city: StartCity, arrive: Arrive, to_service: HttpProxy) -> None:
    settings: dict[str, str | float] = {"matrix.port": to_service.target_port, "appservice.address": to_service.url}
    city = await start_city(settings=settings | {"homeserver.sweep_s": 3600.0})
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    await alice.send_text(general, "first")
    await eventually(_has(city, 1))
    to_service.answer(lambda passed: passed.is_transaction, 200, {})
    await send_as_person(alice, general, numbered_messages(5, "lost"), [])
    await eventually(_has_answered(to_service, "lost 5"))
    to_service.pass_everything()
    await alice.send_text(general, "last")
    await eventually(_has(city, 2))

    filled = await city.command("room", "backfill", "general")
    assert "Imported 5 messages." in filled.out, filled
    await eventually(_has(city, 7))
    assert await city.bodies() == ["first", *numbered_messages(5, "lost"), "last"]
    assert "Imported 0 messages." in (await city.command("room", "backfill", "general")).out


@ON_SQLITE
async def test_federation_gap_messages_are_inserted_in_order(start_federation: StartFederation, arrive: Arrive) -> None:
    federation = await start_federation(settings=SOON)
    alice, fay, eve = await _three_people(federation, arrive)
    general = await alice.join(federation.alias("general"))
    for each in (fay, eve):
        await each.join(federation.alias("general"))
    sent: Messages = {alice.client.user_id: [], fay.client.user_id: []}
    await send_as_person(fay, general, ["before", "wrong", "to be deleted"], sent[fay.client.user_id])
    await send_as_person(alice, general, ["alice is here"], sent[alice.client.user_id])
    await eventually(_has(federation.city, 4))
    known = await federation.city.get("/city/rooms/general/messages")

    federation.link.cut()
    await send_as_person(fay, general, numbered_messages(30, "cut off"), sent[fay.client.user_id])
    wrong, deleted = (next(m for m in known if m["body"] == body) for body in ("wrong", "to be deleted"))
    new = {"msgtype": "m.text", "body": "right"}
    replaces = {"rel_type": "m.replace", "event_id": wrong["matrix_event_id"]}
    await fay.send_text(general, "* right", more={"m.new_content": new, "m.relates_to": replaces})
    await fay.client.room_redact(general, deleted["matrix_event_id"])
    await eve.client.room_leave(general)
    # Synapse sends it what it has only if it was not started again meanwhile.
    federation.other.kill()
    await federation.other.start()
    federation.link.mend()
    await send_as_person(fay, general, ["after"], sent[fay.client.user_id])

    became = {"wrong": "right", "to be deleted": ""}
    expected = [became.get(body, body) for body in sent[fay.client.user_id]]
    await eventually(_bodies_are(federation.city, fay, expected), 90, lambda: _log(federation.city))
    await send_as_person(alice, general, ["alice is still here"], sent[alice.client.user_id])
    await eventually(_bodies_are(federation.city, alice, sent[alice.client.user_id]))

    async def eve_is_gone() -> bool:
        database = Database(federation.city.database_url)
        try:
            async with database.read_only() as tx:
                members = await tx.members.of_room(RoomId("city_general"))
        finally:
            await database.close()
        return eve.client.user_id not in {member.user_id for member in members}

    await eventually(eve_is_gone)
    assert await _missed(federation.city, "federation") >= 19


async def _three_people(federation: FederatedCity, arrive: Arrive) -> tuple[MatrixUser, MatrixUser, MatrixUser]:
    return (
        await arrive(federation.city, "alice"),
        await arrive(federation.other, "fay"),
        await arrive(federation.other, "eve"),
    )


def _has(city: RunningCity, count: int) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        return len(await city.bodies()) == count

    return has


def _bodies_are(city: RunningCity, person: MatrixUser, expected: list[str]) -> Callable[[], Awaitable[bool]]:
    async def are() -> bool:
        messages = await city.get("/city/rooms/general/messages?limit=200")
        return [
            each["body"] for each in messages if each["author"]["matrix_user_id"] == person.client.user_id
        ] == expected

    return are


def _has_lost(proxy: HttpProxy) -> Callable[[], Awaitable[bool]]:
    async def has_lost() -> bool:
        return bool(proxy.lost)

    return has_lost


def _has_answered(proxy: HttpProxy, word: str) -> Callable[[], Awaitable[bool]]:
    async def has_answered() -> bool:
        return any(word in str(passed.content) for passed in proxy.answered)

    return has_answered


def _chat_has(city: RunningCity, expected: list[str]) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        database = Database(city.database_url)
        try:
            async with database.read_only() as tx:
                chats = await tx.direct_chats.linked()
                messages = await tx.messages.before(chats[0].id, None, limit=100) if chats else []
        finally:
            await database.close()
        return [message.body for message in messages if message.author.kind is AuthorKind.MATRIX] == expected

    return has


async def _missed(city: RunningCity, reason: str) -> int:
    async with city.session.get(f"{city.matrix_url}/metrics") as answer:
        text = await answer.text()
    line = next(
        line for line in text.splitlines() if line.startswith(f'daarion_events_missed_total{{reason="{reason}"}}')
    )
    return int(float(line.rpartition(" ")[2]))


def _log(city: RunningCity) -> str:
    return "\n".join(city.service.last_lines(60))
