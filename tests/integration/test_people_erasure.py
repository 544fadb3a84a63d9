"""Erasure of a person in the city: no table has a trace, and history stays whole."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import quote

import pytest
from sqlalchemy import select

from daarion_appservice.app import _seed_agents
from daarion_appservice.city.types import EventId, MatrixRoomId, MessageId, RoomId, SubjectId, UserId
from daarion_appservice.clock import now_ms
from daarion_appservice.erasure.homeserver_data import HomeserverDataErasure
from daarion_appservice.errors import DatabaseError
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.outbound.rendering import OutboxRenderer
from daarion_appservice.realtime.presence_profiles import NO_PROFILE
from daarion_appservice.storage.key_values import accounts_changed
from daarion_appservice.storage.personal_data import holdings
from daarion_appservice.storage.personal_data.erasures import ErasureState, PendingRedaction, StoredErasure
from daarion_appservice.storage.tables import erasures, metadata
from tests.parts import messaging
from tests.parts.city import ADMIN_TOKEN, citizen_token, eventually
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.person_rows import CITIZEN, FILE, GHOST, NAME, SPARROW, TEXT, USER, add_person

Json = dict[str, Any]
ZOO = MatrixRoomId("!zoo")
SPARROW_TOKEN = citizen_token(SPARROW, "Sparrow")


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        await add_person(city.city.database)
        await city.city.account_cache.load()
        await city.city.memberships.load()
        yield city


def path_of(person: str) -> str:
    return f"/api/v1/people/{quote(person, safe='')}"


async def request(city: InProcessCity, person: str = CITIZEN) -> Json:
    answer = await city.call("DELETE", path_of(person), token=ADMIN_TOKEN)
    assert answer.status == 202, answer
    erasure: Json = answer.content
    return erasure


async def erase_in_city(city: InProcessCity, person: str = CITIZEN) -> Json:
    """Request an erasure and let the leader erase the city's data; the homeserver is unavailable."""
    erasure = await request(city, person)
    city.city.erasures._settling_ms = 0
    await city.city.erasures.step()
    return erasure


async def traces(city: InProcessCity, *words: str) -> list[str]:
    """Return the columns whose text has one of the words, without the erasures themselves."""
    found = []
    async with city.city.database.read_only() as tx:
        for table in metadata.sorted_tables:
            for row in (await tx.connection.execute(select(table))).mappings():
                found += [
                    f"{table.name}.{column}: {value!r}"
                    for column, value in row.items()
                    if any(word.lower() in str(value).lower() for word in words)
                ]
    return [each for each in found if not each.startswith((f"{erasures.name}.", "erasure_redactions."))]


async def erased_on_matrix(city: InProcessCity) -> StoredErasure:
    """Erase the city's data; return the erasure that is left to do on the homeserver."""
    async with city.city.database.transaction() as tx:
        await messaging.link(tx, RoomId("city_general"), MatrixRoomId("!general"))
    erasure_id = (await erase_in_city(city))["id"]
    async with city.city.database.read_only() as tx:
        erasure = await tx.erasures.get(erasure_id)
    assert erasure is not None
    return erasure


LEFT_FOR_MATRIX = {
    holding.table.name for holding in holdings.HOLDINGS if holding.erasure is holdings.ErasureAction.LAST
}


async def test_city_has_no_trace_of_erased_person(city: InProcessCity) -> None:
    assert await traces(city, "zebra")
    await erase_in_city(city)
    left = {each.partition(".")[0] for each in await traces(city, "zebra", "quokka")}
    assert left <= LEFT_FOR_MATRIX


async def test_finished_erasure_leaves_no_trace_at_all(city: InProcessCity) -> None:
    await erase_in_city(city)
    async with city.city.database.read_only() as tx:
        (erasure,) = await tx.erasures.unfinished()
    assert erasure.data_subject is not None
    await city.city.erasures._finish(erasure, erasure.data_subject)
    assert await traces(city, "zebra", "quokka") == []
    finished = await city.get(f"{path_of(CITIZEN)}/erasure", token=ADMIN_TOKEN)
    assert (finished["state"], finished["subjects"]) == ("done", [])
    assert finished["counts"]["messages"] == 4
    # The homeserver's admin needs the names of the files.
    assert {"kind": "file", "name": FILE, "reason": "the homeserver holds it"} in finished["remains"]


async def test_history_stays_whole_without_the_person(city: InProcessCity) -> None:
    before = await city.get("/city/rooms/general/messages?limit=50", token=SPARROW_TOKEN)
    await erase_in_city(city)
    after = await city.get("/city/rooms/general/messages?limit=50", token=SPARROW_TOKEN)
    assert [each["id"] for each in after] == [each["id"] for each in before]
    messages = {each["id"]: each for each in after}
    for name in ("m1", "m2", "m4"):
        assert messages[name]["deleted"]
        assert (messages[name]["body"], messages[name]["media"]) == ("", None)
        assert messages[name]["author"]["display_name"] == "Deleted account"
    assert messages["m3"]["reply_to"] == "m1"
    assert messages["m3"]["mentions"] == [SPARROW]
    assert (messages["m5"]["thread"], messages["m5"]["reactions"]) == (None, [])


async def test_direct_chat_with_agent_is_deleted(city: InProcessCity) -> None:
    await erase_in_city(city)
    async with city.city.database.read_only() as tx:
        assert await tx.messages.get(MessageId("m7")) is None
        assert await tx.messages.get(MessageId("m8")) is None


async def test_repeated_request_returns_same_erasure(city: InProcessCity) -> None:
    first = await erase_in_city(city)
    for person in (CITIZEN, USER):
        assert (await request(city, person))["id"] == first["id"]
    assert [each["id"] for each in await city.get("/api/v1/erasures", token=ADMIN_TOKEN)] == [first["id"]]


async def test_dry_run_deletes_nothing(city: InProcessCity) -> None:
    answer = await city.call("DELETE", f"{path_of(CITIZEN)}?dry_run=true", token=ADMIN_TOKEN)
    assert (answer.status, answer.content["id"], answer.content["counts"]["messages"]) == (200, None, 5)
    await city.city.erasures.step()
    assert await traces(city, TEXT)
    assert await city.get("/api/v1/erasures", token=ADMIN_TOKEN) == []


async def test_tokens_from_before_erasure_are_refused(city: InProcessCity) -> None:
    now_s = int(time.time())
    old, without_time = citizen_token(CITIZEN, NAME, iat=now_s - 60), citizen_token(CITIZEN, NAME)
    assert (await city.call("GET", "/city/me", token=old)).status == 200
    await request(city)
    for token in (old, without_time, citizen_token(CITIZEN, NAME, iat=now_s)):
        answer = await city.call("GET", "/city/me", token=token)
        assert (answer.status, answer.content["code"]) == (401, "account_erased")
    await erase_in_city(city)
    assert (await city.call("GET", "/city/me", token=old)).status == 401
    assert (await city.call("GET", "/city/me", token=without_time)).status == 200


async def test_citizen_who_comes_back_starts_empty(city: InProcessCity) -> None:
    await erase_in_city(city)
    answer = await city.call(
        "POST", "/city/rooms/general/messages", {"body": "again"}, token=citizen_token(CITIZEN, "Newcomer")
    )
    assert answer.status == 201
    assert answer.content["author"]["matrix_user_id"] == GHOST.replace(":", "+1:")
    export = await city.call("GET", f"{path_of(CITIZEN)}/export", token=ADMIN_TOKEN)
    assert TEXT not in export.content
    assert "again" in export.content


async def test_erased_citizen_has_no_name_in_presence(city: InProcessCity) -> None:
    profiles, subject = city.city.profiles, SubjectId(CITIZEN)
    await profiles._load([subject], lambda: None)
    assert profiles.of(subject) not in {None, NO_PROFILE}
    await request(city)
    await city.city.account_cache.load()
    assert profiles.of(subject) == NO_PROFILE
    await erase_in_city(city)
    assert profiles.of(subject) is None, "a citizen who comes back may have another name"
    await profiles._load([subject], lambda: None)
    assert profiles.of(subject) == NO_PROFILE


async def test_presence_history_forgets_erased_name(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await accounts_changed(tx.connection)
    # The link of another person begins a new history, too.
    await city.city.account_cache.load()
    stream = city.city.stream
    before = stream.seq
    for status in ("online", "offline"):
        await city.call("POST", "/api/v1/presence/heartbeat", {"status": status}, token=SPARROW_TOKEN)

    async def has_left() -> bool:
        missed = str(stream.since(before))
        return "Sparrow" in missed and "offline" in missed

    await eventually(has_left)
    await request(city, SPARROW)
    await city.city.account_cache.load()
    assert stream.since(before) is None, "the client gets a snapshot"


async def test_interrupted_erasure_goes_on(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transaction of the erasure fails once, as if the process were killed before its commit."""
    await request(city)
    worker = city.city.erasures
    worker._settling_ms = 0
    database, failures = city.city.database, 0
    transaction = database.transaction
    passed = 0

    def failing() -> Any:
        nonlocal passed, failures
        passed += 1
        if passed > failures:
            failures += 1
            passed = 0
            raise DatabaseError("killed")
        return transaction()

    monkeypatch.setattr(database, "transaction", failing)
    for _ in range(300):
        try:
            await worker.step()
        except DatabaseError:
            continue
        break
    monkeypatch.undo()
    async with database.read_only() as tx:
        (erasure,) = await tx.erasures.unfinished()
    assert failures > 20
    assert erasure.state is ErasureState.MATRIX
    assert {each.partition(".")[0] for each in await traces(city, "zebra", "quokka")} <= LEFT_FOR_MATRIX


async def test_message_sent_during_erasure_is_redacted(city: InProcessCity) -> None:
    posted = await city.call("POST", "/city/rooms/zoo/messages", {"body": TEXT}, token=citizen_token(CITIZEN, NAME))
    await link(city)
    async with city.city.database.read_only() as tx:
        entry = next(row for row in await tx.outbox.waiting(limit=99) if row.message_id == posted.content["id"])
    await erase_in_city(city)
    renderer = OutboxRenderer(city.city.messages, city.city.room_members, city.city.identities)
    async with city.city.database.transaction() as tx:
        assert await renderer.render(tx, entry) is None
        assert await renderer.record_sent(tx, entry, EventId("$in_flight")) == []
    assert PendingRedaction(EventId("$in_flight"), ZOO, UserId(GHOST)) in await redactions(city)


async def test_late_event_of_erased_person_is_redacted(city: InProcessCity) -> None:
    await link(city)
    await erase_in_city(city)
    for name, sender, age_ms in (("$delayed", USER, 60_000), ("$echo", GHOST, -60_000), ("$again", USER, -60_000)):
        content = {"msgtype": "m.text", "body": f"{name} text"}
        event = {"event_id": name, "room_id": ZOO, "sender": sender, "type": "m.room.message", "content": content}
        async with city.city.database.transaction() as tx:
            await city.city.handlers.handle(tx, event | {"origin_server_ts": now_ms() - age_ms})
    assert [each["body"] for each in await city.get("/city/rooms/zoo/messages")] == ["$again text"]
    assert {each.event for each in await redactions(city)} >= {"$delayed", "$echo"}


async def link(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await messaging.link(tx, RoomId("city_zoo"), ZOO)


async def redactions(city: InProcessCity) -> list[PendingRedaction]:
    async with city.city.database.read_only() as tx:
        (erasure,) = await tx.erasures.unfinished()
        return await tx.erasures.redactions(erasure.id, limit=99)


async def test_erased_agent_is_gone_and_stays_gone(city: InProcessCity) -> None:
    token = await city.agent_token("scribe")
    posted = await city.call("POST", "/city/rooms/general/messages", {"body": "as an agent"}, token=token)
    assert posted.status == 201
    await erase_in_city(city, "agent:scribe")
    await city.city.registry.load()
    assert (await city.call("GET", "/api/v1/agents/scribe")).status == 404
    assert (await city.call("POST", "/city/rooms/general/messages", {"body": "x"}, token=token)).status == 401
    added = await city.call("PUT", "/api/v1/agents/scribe", {"display_name": "Scribe"}, token=ADMIN_TOKEN)
    assert (added.status, added.content["code"]) == (409, "agent_erased")
    await _seed_agents(city.city)
    async with city.city.database.read_only() as tx:
        assert await tx.agents.by_slug("scribe") is None
    (message,) = [each for each in await city.get("/city/rooms/general/messages") if each["id"] == posted.content["id"]]
    assert (message["deleted"], message["author"]["display_name"]) == (True, "Deleted account")


@pytest.mark.parametrize("path", ["", "/erasure"])
async def test_only_admins_erase(city: InProcessCity, path: str) -> None:
    method = "GET" if path else "DELETE"
    for token, status in ((None, 401), (citizen_token(CITIZEN), 403), (await city.agent_token("scribe"), 403)):
        assert (await city.call(method, path_of(CITIZEN) + path, token=token)).status == status
    assert (await city.call(method, path_of("u_nobody") + path, token=ADMIN_TOKEN)).status == 404


@pytest.mark.parametrize(
    ("sender", "url", "is_new", "is_removed"),
    [
        (USER, "mxc://elsewhere/any", False, True),
        (GHOST, "mxc://elsewhere/any", False, True),
        ("@city:city.localhost", FILE, False, True),
        ("@olena:city.localhost", "mxc://elsewhere/any", False, False),
        (USER, "mxc://elsewhere/any", True, False),
        (USER, "", False, False),
    ],
)
async def test_erased_picture_of_room_is_removed(
    city: InProcessCity, sender: str, url: str, is_new: bool, is_removed: bool
) -> None:
    erasure = await erased_on_matrix(city)
    assert erasure.data_subject is not None
    async with city.city.database.read_only() as tx:
        erased = await tx.erasures.erased(USER)
    assert erased is not None
    assert erased.erased_at_ms is not None
    homeserver = AsyncMock(spec=Homeserver)
    homeserver.joined_rooms.return_value = homeserver.invitations.return_value = set()
    homeserver.events_by.return_value = ([], None)
    picture = {"sender": sender, "content": {"url": url}, "origin_server_ts": erased.erased_at_ms + is_new}
    homeserver.state_event.side_effect = lambda room, event_type, *_, **__: (
        picture if event_type == "m.room.avatar" else None
    )
    await HomeserverDataErasure(homeserver, city.city.database, city.city.identities).run(erasure, erasure.data_subject)
    emptied = [call.args for call in homeserver.set_state.call_args_list]
    assert (("!general", "m.room.avatar", {}) in emptied) is is_removed


async def test_picture_is_removed_from_room_without_member(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await messaging.link(tx, RoomId("city_builders"), MatrixRoomId("!builders"))
        await tx.rooms.set_avatar(RoomId("city_builders"), FILE)
    assert "!builders" in (await erased_on_matrix(city)).plan.rooms


async def test_pictures_are_found_among_33000_files(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await messaging.link(tx, RoomId("city_builders"), MatrixRoomId("!builders"))
        await tx.rooms.set_avatar(RoomId("city_builders"), FILE)
        files = [*(f"mxc://city.localhost/{number}" for number in range(33_000)), FILE]
        assert await tx.erasing.matrix_rooms_with_picture(files) == ["!builders"]


async def test_new_events_of_returned_matrix_user_stay(city: InProcessCity) -> None:
    """The user joined and wrote again while the homeserver's data of the first life was being erased."""
    erasure = await erased_on_matrix(city)
    async with city.city.database.read_only() as tx:
        erased = await tx.erasures.erased(USER)
    assert erasure.data_subject is not None
    assert erased is not None
    assert erased.erased_at_ms is not None
    times = {"$old": erased.erased_at_ms, "$new": erased.erased_at_ms + 1}
    events = [
        {"event_id": name, "type": "m.room.message", "content": {"body": "text"}, "origin_server_ts": at_ms}
        for name, at_ms in times.items()
    ]
    member = {"content": {"membership": "join"}, "origin_server_ts": times["$new"]}
    homeserver = AsyncMock(spec=Homeserver)
    homeserver.joined_rooms.return_value = homeserver.invitations.return_value = set()
    homeserver.state_event.return_value = member
    homeserver.events_by.side_effect = lambda room, sender, *args, **more: (events if sender == USER else [], None)
    data = HomeserverDataErasure(homeserver, city.city.database, city.city.identities)
    await data.run(erasure, erasure.data_subject)
    redacted = {call.args[1] for call in homeserver.redact.call_args_list}
    assert "$old" in redacted
    assert "$new" not in redacted
    homeserver.kick.assert_not_called()
    homeserver.state_event.return_value = member | {"origin_server_ts": times["$old"]}
    await data.run(erasure, erasure.data_subject)
    homeserver.kick.assert_called()
