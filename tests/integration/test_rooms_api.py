"""The routes of rooms: listing, creating, updating, and rooms with their members."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import Any

import pytest

from daarion_appservice.city.presence import PresenceState, RemotePresence, Status
from daarion_appservice.city.restrictions import Restriction, RestrictionKind
from daarion_appservice.city.rooms import Rooms, RoomUpdate
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    Content,
    EventId,
    Member,
    RoomId,
    SubjectId,
    UserId,
)
from daarion_appservice.clock import now_ms
from daarion_appservice.errors import DatabaseError
from daarion_appservice.realtime.room_deletions import RoomDeletions
from daarion_appservice.storage import removed_rooms
from daarion_appservice.storage.removed_rooms import RemovedRoomRepository
from tests.parts.api import (
    HEARTBEAT,
    MESSAGES,
    OKSANA,
    TIMESTAMP,
    nested,
    post_message,
    problem_of,
    with_placeholders,
)
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity

GENERAL = {
    "id": "city_general",
    "slug": "general",
    "name": "General",
    "description": "Головна кімната міста",
    "members_online": 0,
    "last_event": None,
    "last_seq": 0,
    "matrix_room_id": None,
    "matrix_room_alias": "#city_general:city.localhost",
    "matrix_status": "pending",
    "matrix_error": None,
    "is_default": True,
    "archived": False,
    "encrypted": False,
    "pins": 0,
    "avatar_url": None,
    "history_visibility": "world_readable",
    "is_public": True,
    "created_at": TIMESTAMP,
}


async def test_room_list_has_documented_fields(city: InProcessCity) -> None:
    rooms = {room["slug"]: with_placeholders(room) for room in await city.get("/city/rooms")}
    assert rooms.keys() == {"general", "welcome", "builders"}
    assert rooms["general"] == GENERAL | {"last_message": None}
    for name in ("general", "city_general"):
        room = with_placeholders(await city.get(f"/city/rooms/{name}"))
        assert room == GENERAL | {
            "may_read": True,
            "removal": None,
            "rights": None,
            "writers": "everyone",
            "messages": [],
            "has_older": False,
            "online_members": [],
        }


async def test_removed_citizen_reads_reason_in_room(city: InProcessCity) -> None:
    ghost, general = UserId("@citizen_u_123:city.localhost"), RoomId("city_general")
    for kind, removal in (
        (RestrictionKind.KICKED, {"kind": "kicked", "reason": "шум"}),
        (RestrictionKind.BANNED, {"kind": "banned", "reason": "шум"}),
        (RestrictionKind.INVITED, None),
    ):
        async with city.city.database.transaction() as tx:
            await tx.restrictions.put(general, ghost, Restriction(kind, "шум"), now_ms=now_ms())
        assert (await city.get("/city/rooms/general", token=OKSANA))["removal"] == removal
        for other in (None, citizen_token("u_7"), await city.agent_token("scribe")):
            assert (await city.get("/city/rooms/general", token=other))["removal"] is None


async def test_room_lists_online_members(sqlite_city: InProcessCity) -> None:
    city = sqlite_city.city
    general = "city_general"
    for subject in ("agent:scribe", "u_7", "@alice:hs", "agent:daarwizz"):
        city.online_members.add_membership(general, SubjectId(subject))  # type: ignore[arg-type]
    await sqlite_city.call("POST", HEARTBEAT, {}, token=SERVICE_TOKEN)
    await city.presence.set_remote(
        [RemotePresence(SubjectId("@alice:hs"), PresenceState(Status.AWAY, "кава"), "matrix")]
    )

    room = await sqlite_city.get("/city/rooms/general")

    assert room["members_online"] == 2
    assert [
        (each["kind"], each["id"], each["matrix_user_id"], each["presence"]) for each in room["online_members"]
    ] == [
        ("matrix", "@alice:hs", UserId("@alice:hs"), "away"),
        ("agent", "scribe", "@agent_scribe:city.localhost", "online"),
    ]


async def test_room_list_is_sorted_and_paged(city: InProcessCity) -> None:
    for body in ("1", "2"):
        await post_message(city, body, room="builders")
    await asyncio.sleep(0.01)
    await post_message(city, "3", room="welcome")
    await city.call("POST", "/city/rooms", {"name": "агора"}, token=OKSANA)

    async def slugs(query: str) -> list[str]:
        return [room["slug"] for room in await city.get(f"/city/rooms?{query}")]

    assert await slugs("sort=popular") == ["builders", "welcome", "ahora", "general"]
    assert await slugs("") == await slugs("sort=popular")
    assert (await slugs("sort=recent"))[0:2] in (["ahora", "welcome"], ["welcome", "ahora"])
    assert await slugs("sort=name") == ["builders", "general", "welcome", "ahora"]
    assert await slugs("sort=name&limit=2") == ["builders", "general"]
    assert await slugs("sort=name&limit=2&offset=3") == ["ahora"]
    assert await slugs("sort=name&offset=99") == []


async def test_create_room_returns_pending_room(city: InProcessCity) -> None:
    new = {"name": "Наука", "description": "Наукова спільнота"}
    answer = await city.call("POST", "/city/rooms", new, token=OKSANA)
    assert answer.status == 201
    assert with_placeholders(answer.content) == GENERAL | new | {
        "id": "city_nauka",
        "slug": "nauka",
        "matrix_room_alias": "#city_nauka:city.localhost",
        "is_default": False,
    }
    assert problem_of(await city.call("POST", "/city/rooms", new, token=OKSANA)) == (409, "slug_taken")


async def test_room_name_with_bidi_characters_is_normalised(city: InProcessCity) -> None:
    answer = await city.call("POST", "/city/rooms", {"name": "На\u202eу\nка\u2066", "slug": "nauka"}, token=OKSANA)
    assert answer.content["name"] == "Нау ка"
    admin = citizen_token("u_3", role="admin")
    answer = await city.call("PATCH", "/city/rooms/nauka", {"name": "\u202eНаука\u061c"}, token=admin)
    assert answer.content["name"] == "Наука"
    for name in ("\u202e", "\n"):
        refused = await city.call("PATCH", "/city/rooms/nauka", {"name": name}, token=admin)
        assert problem_of(refused) == (422, "name_required")


async def test_concurrent_creation_of_room_succeeds_once(city: InProcessCity) -> None:
    calls = [city.call("POST", "/city/rooms", {"name": "Наука"}, token=OKSANA) for _ in range(8)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7


NO_ROOMS: list[tuple[Any, tuple[int, str]]] = [
    ({}, (422, "invalid")),
    ({"name": ""}, (422, "invalid")),
    ({"name": "   "}, (422, "name_required")),
    ({"name": "x" * 256}, (422, "invalid")),
    ({"name": "x", "description": "x" * 2001}, (422, "invalid")),
    ({"name": 5}, (422, "invalid")),
    ({"name": "!!!"}, (422, "slug_required")),
    ({"name": "x", "slug": ""}, (422, "slug_invalid")),
    ({"name": "x", "slug": "Ж"}, (422, "slug_invalid")),
    ({"name": "x", "slug": "-x"}, (422, "slug_invalid")),
    ({"name": "x", "slug": "a b"}, (422, "slug_invalid")),
    ({"name": "x", "slug": "x\n"}, (422, "slug_invalid")),
    ({"name": "x", "slug": "x" * 65}, (422, "invalid")),
    ({"name": "x", "slug": "general"}, (409, "slug_taken")),
    ({"name": "x", "slug": "city_general"}, (409, "slug_taken")),
    ({"name": "General"}, (409, "slug_taken")),
    ({"name": "a\0b"}, (422, "text_invalid")),
    ({"name": "x", "description": "a\0b"}, (422, "text_invalid")),
    ({"name": nested(63)}, (422, "invalid")),
    ({"name": nested(64)}, (422, "too_deep")),
]


async def test_create_room_with_invalid_fields_is_refused(sqlite_city: InProcessCity) -> None:
    for content, refusal in NO_ROOMS:
        assert problem_of(await sqlite_city.call("POST", "/city/rooms", content, token=OKSANA)) == refusal, str(
            content
        )[:100]
    assert len(await sqlite_city.get("/city/rooms")) == 3


async def test_slug_equal_to_other_room_id_is_not_found(city: InProcessCity) -> None:
    first = await city.call("POST", "/city/rooms", {"name": "x", "slug": "city_new"}, token=OKSANA)
    assert first.status == 201
    second = await city.call("POST", "/city/rooms", {"name": "x", "slug": "new"}, token=OKSANA)
    assert problem_of(second) == (409, "slug_taken"), "its id would be city_new"


async def test_archived_room_is_read_only(city: InProcessCity) -> None:
    await post_message(city, "before")
    await city.city.rooms.change("general", RoomUpdate(archived=True))

    assert problem_of(await city.call("POST", MESSAGES, {"body": "after"}, token=OKSANA)) == (409, "room_archived")
    assert [message["body"] for message in await city.get(MESSAGES)] == ["before"]
    assert (await city.get("/city/rooms/general"))["archived"] is True
    assert "general" not in [room["slug"] for room in await city.get("/city/rooms")]


async def test_stored_invalid_authors_are_returned(city: InProcessCity) -> None:
    """Rows of before such names were refused; nothing that is stored may make a page fail."""
    inside = city.city
    too_long, odd = Author(AuthorKind.CITIZEN, "\ufffd" * 60, "?"), Author(AuthorKind.AGENT, "Odd.Slug", "?")
    async with inside.database.transaction() as tx:
        room = await tx.rooms.find("general")
        assert room is not None
        for number, author in enumerate((too_long, odd)):
            event_id = EventId(f"$odd-{number}")
            await inside.messages.receive(tx, room, author, Content("!"), event_id=event_id, created_at_ms=now_ms())
            inside.online_members.add_membership(room.id, author.subject)
            inside.online_members.set_online(author.subject)
        await tx.members.put([Member(room.id, inside.identities.author(odd), None, None)])
    for path in ("/city/rooms", "/city/rooms/general", "/city/rooms/general/messages", "/city/feed", "/city/home"):
        await city.get(path)


async def test_feed_entry_of_new_room_has_creator(sqlite_city: InProcessCity) -> None:
    assert (await sqlite_city.call("POST", "/city/rooms", {"name": "Мости"}, token=OKSANA)).status == 201
    (entry,) = [each for each in await sqlite_city.get("/city/feed") if each["payload"].get("name") == "Мости"]
    assert (entry["kind"], entry["actor"]["id"], entry["actor"]["kind"]) == ("room_created", "u_123", "citizen")


async def test_deleted_room_is_gone_with_its_messages(city: InProcessCity) -> None:
    await post_message(city, "last words", room="builders")
    for token, status in ((None, 401), (OKSANA, 403), (SERVICE_TOKEN, 403)):
        assert (await city.call("DELETE", "/city/rooms/builders", token=token)).status == status
    assert (await city.call("DELETE", "/city/rooms/builders", token=ADMIN_TOKEN)).status == 204
    assert [room["slug"] for room in await city.get("/city/rooms?sort=name")] == ["general", "welcome"]
    assert not [each for each in await city.get("/city/feed") if each["room_id"] == "city_builders"]
    for method, path, content in [
        ("GET", "/city/rooms/builders", ...),
        ("GET", "/city/rooms/builders/messages", ...),
        ("POST", "/city/rooms/builders/messages", {"body": "too late"}),
        ("POST", "/city/rooms/builders/join", {}),
        ("PUT", "/city/rooms/builders/typing", {"typing": True}),
    ]:
        answer = await city.call(method, path, content, token=OKSANA)
        assert problem_of(answer) == (404, "no_such_room")
    assert (await city.call("DELETE", "/city/rooms/builders", token=ADMIN_TOKEN)).status == 404
    again = await city.call("POST", "/city/rooms", {"name": "Builders", "slug": "builders"}, token=OKSANA)
    assert again.status == 201
    assert (await city.get("/city/rooms/builders"))["messages"] == []


async def test_deletion_of_room_ends_messages_in_flight(city: InProcessCity) -> None:
    await city.call("POST", "/city/rooms", {"name": "Short", "slug": "short"}, token=OKSANA)
    posts = [
        city.call("POST", "/city/rooms/short/messages", {"body": f"{number}"}, token=OKSANA) for number in range(20)
    ]
    answers = await asyncio.gather(
        *posts[:10], city.call("DELETE", "/city/rooms/short", token=ADMIN_TOKEN), *posts[10:]
    )
    assert {answer.status for answer in answers} <= {201, 204, 404}
    assert not city.city.online_members.members_of(RoomId("city_short"))


async def test_readers_see_each_portion_of_deletion(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await post_message(city, str(number), room="builders")
    monkeypatch.setattr(removed_rooms, "PORTION", 2)
    delete_portion, left = RemovedRoomRepository.delete_portion, []

    async def read_first(repository: RemovedRoomRepository, room: RoomId) -> bool:
        left.append(len(await city.get("/city/rooms/builders/messages")))
        return await delete_portion(repository, room)

    monkeypatch.setattr(RemovedRoomRepository, "delete_portion", read_first)
    assert (await city.call("DELETE", "/city/rooms/builders", token=ADMIN_TOKEN)).status == 202
    assert left == [5], "the response does not wait for the other portions"
    await city.city.room_deletions.step()
    assert left[:3] == [5, 3, 1]


async def test_interrupted_deletion_of_large_room_goes_on(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await post_message(city, str(number), room="builders")
    monkeypatch.setattr(removed_rooms, "PORTION", 2)
    portions = 0
    delete_portion = RemovedRoomRepository.delete_portion

    async def failing_third(repository: RemovedRoomRepository, room: RoomId) -> bool:
        nonlocal portions
        portions += 1
        if portions == 3:
            raise DatabaseError("killed")
        return await delete_portion(repository, room)

    monkeypatch.setattr(RemovedRoomRepository, "delete_portion", failing_third)
    assert (await city.call("DELETE", "/city/rooms/builders", token=ADMIN_TOKEN)).status == 202
    with pytest.raises(DatabaseError):
        await city.city.room_deletions.step()
    left = [each["body"] for each in await city.get("/city/rooms/builders/messages")]
    assert left == ["0"]
    late = await city.call("POST", "/city/rooms/builders/messages", {"body": "late"}, token=OKSANA)
    assert problem_of(late) == (409, "room_being_deleted")
    # As another process would after a restart: only the database tells what is left to do.
    await RoomDeletions(city.city.database, city.city.rooms).step()
    assert portions == 4
    async with city.city.database.read_only() as tx:
        assert await tx.removed_rooms.unfinished() == set()
    assert (await city.call("GET", "/city/rooms/builders")).status == 404
    assert not [each for each in await city.get("/city/feed") if each["room_id"] == "city_builders"]


async def test_deletion_of_large_room_may_be_repeated(city: InProcessCity, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await post_message(city, str(number), room="builders")
    monkeypatch.setattr(removed_rooms, "PORTION", 2)
    statuses: list[int] = []
    while not statuses or statuses[-1] == 202:
        statuses.append((await city.call("DELETE", "/city/rooms/builders", token=ADMIN_TOKEN)).status)
    assert (statuses[0], statuses[-1]) == (202, 204)
    # Somebody else was faster: nothing is left to do.
    async with city.city.database.transaction() as tx:
        await tx.removed_rooms.begin(RoomId("city_builders"))
    await city.city.room_deletions.step()
    async with city.city.database.read_only() as tx:
        assert await tx.removed_rooms.unfinished() == set()


async def test_room_opened_after_deletion_by_another_process_stays(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await post_message(city, str(number), room="builders")
    monkeypatch.setattr(removed_rooms, "PORTION", 2)
    assert (await city.call("DELETE", "/city/rooms/builders", token=ADMIN_TOKEN)).status == 202
    deletions = RoomDeletions(city.city.database, city.city.rooms)
    unfinished = RemovedRoomRepository.unfinished

    async def overtaken(repository: RemovedRoomRepository) -> set[RoomId]:
        found = await unfinished(repository)
        await deletions.delete("builders")
        await city.city.rooms.open("Builders")
        return found

    monkeypatch.setattr(RemovedRoomRepository, "unfinished", overtaken)
    await deletions.step()
    room = await city.get("/city/rooms/builders")
    assert (room["slug"], room["archived"]) == ("builders", False)


async def test_command_ends_when_the_service_deletes_the_rest(
    city: InProcessCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await post_message(city, str(number), room="builders")
    monkeypatch.setattr(removed_rooms, "PORTION", 2)
    remove, service = Rooms.remove, city.city.room_deletions

    async def overtaken(rooms: Rooms, room: str, **options: bool) -> bool:
        is_removed = await remove(rooms, room, **options)
        if rooms is not service.rooms:
            await service.step()
        return is_removed

    monkeypatch.setattr(Rooms, "remove", overtaken)
    await RoomDeletions(city.city.database, copy(service.rooms)).delete("builders")
    assert (await city.call("GET", "/city/rooms/builders")).status == 404
