"""A private room after a member has left: what members, invited users, former members and others see of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from daarion_appservice.storage import tables
from tests.parts.city import citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN
from tests.parts.presence_socket import connected, until
from tests.parts.private_room import ADMIN, GENERAL, OKSANA, OKSANA_GHOST, PICTURE, TARAS, TARAS_GHOST, PrivateRoom

INVITED, OUTSIDER = citizen_token("u_4", "Ганна"), citizen_token("u_5", "Юрій")
INVITED_GHOST = "@citizen_u_4:city.localhost"
KICKED, DECLINED = citizen_token("u_6", "Іван"), citizen_token("u_7", "Зоя")
KICKED_GHOST, DECLINED_GHOST = "@citizen_u_6:city.localhost", "@citizen_u_7:city.localhost"


@dataclass(frozen=True)
class Rights:
    """What a reader sees of the room; ``is_known`` is False where it is a 404."""

    sees_name: bool
    sees_activity: bool
    reads: tuple[str, ...]
    is_known: bool = True


READERS = {
    "member": (OKSANA, Rights(sees_name=True, sees_activity=True, reads=("разом", "без нього"))),
    "invited": (INVITED, Rights(sees_name=True, sees_activity=False, reads=())),
    "left": (TARAS, Rights(sees_name=False, sees_activity=False, reads=("разом",))),
    "kicked": (KICKED, Rights(sees_name=False, sees_activity=False, reads=("разом",))),
    "declined": (DECLINED, Rights(sees_name=False, sees_activity=False, reads=())),
    "outsider": (OUTSIDER, Rights(sees_name=False, sees_activity=False, reads=(), is_known=False)),
    "anonymous": (None, Rights(sees_name=False, sees_activity=False, reads=(), is_known=False)),
    "admin": (ADMIN, Rights(sees_name=True, sees_activity=True, reads=())),
}


@pytest.fixture
async def left(harness: PrivateRoom) -> PrivateRoom:
    """A private room that was renamed and went on after two members had left it."""
    await harness.set_visibility("joined")
    async with harness.city.city.database.transaction() as tx:
        rooms = tables.rooms
        await tx.connection.execute(rooms.update().where(rooms.c.id == GENERAL).values(was_public=False))
    await harness.invite(DECLINED_GHOST)
    await harness.receive_text("до всіх")
    await harness.member(DECLINED_GHOST, "leave")
    for user in (OKSANA_GHOST, TARAS_GHOST, KICKED_GHOST, "@agent_scribe:city.localhost"):
        await harness.member(user, "join")
    await harness.receive_text("разом")
    await harness.member(TARAS_GHOST, "leave")
    await harness.receive("m.room.member", {"membership": "leave"}, state_key=KICKED_GHOST)
    await harness.receive("m.room.name", {"name": "Таємна рада"}, state_key="")
    await harness.receive("m.room.topic", {"topic": "про щось нове"}, state_key="")
    await harness.receive("m.room.avatar", {"url": PICTURE}, state_key="")
    pinned = await harness.receive_text("без нього")
    await harness.receive("m.room.pinned_events", {"pinned": [pinned]}, state_key="")
    await harness.invite(INVITED_GHOST)
    heartbeat = {"heartbeats": [{"agent_id": "scribe"}]}
    await harness.city.call("POST", "/api/v1/agents/heartbeats", heartbeat, token=SERVICE_TOKEN)
    return harness


def check_room(room: dict[str, Any], rights: Rights) -> None:
    """Compare the fields that tell of the present with the rights of the reader."""
    name, description = ("Таємна рада", "про щось нове") if rights.sees_name else ("general", "")
    assert (room["name"], room["description"]) == (name, description)
    assert (room["avatar_url"] is not None) is rights.sees_name
    assert (room["last_event"] is not None) is rights.sees_activity
    assert (room["last_seq"] > 0) is rights.sees_activity
    assert (room["members_online"], room["pins"]) == ((1, 1) if rights.sees_activity else (0, 0))


@pytest.mark.parametrize("reader", READERS)
async def test_reader_sees_what_the_table_says(left: PrivateRoom, reader: str) -> None:
    token, rights = READERS[reader]
    get = left.city.get
    room = await left.city.call("GET", "/city/rooms/general", token=token)
    assert room.status == (200 if rights.is_known else 404)
    if rights.is_known:
        check_room(room.content, rights)
        assert [each["body"] for each in room.content["messages"]] == list(rights.reads)
        assert await left.read(token) == list(rights.reads)
    for path in ("/city/rooms?sort=recent", "/city/rooms?ids=general"):
        listed = {each["slug"]: each for each in await get(path, token=token)}
        assert ("general" in listed) is rights.is_known
        if rights.is_known:
            check_room(listed["general"], rights)
            last = listed["general"]["last_message"]
            assert (last and last["text"]) == (rights.reads[-1] if rights.reads else None)
    home = await get("/city/home", token=token)
    shown = str(home) + str(await get("/city/feed?limit=100", token=token))
    # Popular rooms, feed entries and counts; an admin's own home has no rooms that it is no member of.
    assert ("без нього" in shown) is ("без нього" in rights.reads)
    assert ("Таємна рада" in shown) is (rights.sees_name and reader != "admin")
    for popular in home["popular_rooms"]:
        if popular["slug"] == "general":
            check_room(popular, rights)
    picture = await left.city.call("GET", "/city/media/city.localhost/picture", token=token)
    # There is no homeserver to have it from.
    assert picture.status == (503 if rights.sees_name and reader != "admin" else 404)


@pytest.mark.parametrize("reader", ["member", "left", "kicked", "declined", "invited", "admin"])
async def test_place_in_the_list_tells_nothing_that_the_room_does_not(left: PrivateRoom, reader: str) -> None:
    """Later activity and a later name move the room for those only who see them."""
    await left.city.call("POST", "/city/rooms/welcome/messages", {"body": "привіт"}, token=ADMIN)
    later = {"last_event_ms": 1 << 43, "popularity": 1e30}
    async with left.city.city.database.transaction() as tx:
        await tx.connection.execute(tables.rooms.update().where(tables.rooms.c.id == GENERAL).values(later))
    token, rights = READERS[reader]

    async def slugs(path: str) -> list[str]:
        found = await left.city.get(path, token=token)
        return [room["slug"] for room in (found if isinstance(found, list) else found["popular_rooms"])]

    for sort in ("recent", "popular"):
        in_list = await slugs(f"/city/rooms?sort={sort}")
        assert in_list.index("general") == (0 if rights.sees_activity else 2), sort
        assert await slugs(f"/city/rooms?sort={sort}&ids=general,builders,welcome") == in_list
    by_name = await slugs("/city/rooms?sort=name")
    assert by_name == (["builders", "welcome", "general"] if rights.sees_name else ["builders", "general", "welcome"])
    if reader != "admin":
        assert (await slugs("/city/home")).index("general") == (0 if rights.sees_activity else 2)


async def test_place_of_a_left_room_is_that_of_the_last_message_before(left: PrivateRoom) -> None:
    message = tables.messages
    async with left.city.city.database.transaction() as tx:
        newer = message.update().where(message.c.body.in_(["разом", "без нього"])).values(created_at_ms=1 << 43)
        await tx.connection.execute(newer)
    for token, index in ((TARAS, 0), (DECLINED, 2)):
        found = [room["slug"] for room in await left.city.get("/city/rooms?sort=recent", token=token)]
        assert found.index("general") == index


@pytest.mark.parametrize("reader", ["left", "kicked", "declined", "invited"])
async def test_reader_without_membership_learns_no_counts(left: PrivateRoom, reader: str) -> None:
    token, _ = READERS[reader]
    left_again = await left.city.call("POST", "/city/rooms/general/leave", token=token)
    assert (left_again.status, left_again.content["members_online"]) == (200, 0)
    for path in ("threads", "pins", "receipts"):
        assert await left.city.get(f"/city/rooms/general/{path}", token=token) == []
    unread = await left.city.get("/city/me/unread?since=city_general:0", token=token)
    assert [each["count"] for each in unread] in ([], [0], [1])
    summary = await left.city.get("/api/v1/presence/summary", token=token)
    assert GENERAL not in summary["rooms"]


async def test_leave_of_private_room_returns_no_count(left: PrivateRoom) -> None:
    response = await left.city.call("POST", "/city/rooms/general/leave", token=OKSANA)
    assert (response.status, response.content["members_online"]) == (200, 0)
    check_room(await left.city.get("/city/rooms/general", token=OKSANA), READERS["left"][1])


async def test_sockets_send_former_member_nothing_of_the_room(left: PrivateRoom) -> None:
    query = "?batch=1&rooms=1&unread=1"
    async with connected(left.city, query, OKSANA) as member, connected(left.city, query, TARAS) as former:
        await left.receive_text("і далі без нього")
        await left.city.call("POST", "/city/rooms/builders/messages", {"body": "для всіх"}, token=OKSANA)
        await until(lambda: member.room("general") is not None and former.room("builders") is not None)
        assert former.room("general") is None
        await until(lambda: "і далі без нього" in str(member.events))
        assert "і далі без нього" not in str(former.events)
        for event in former.events:
            if event["event"].startswith("city.unread"):
                assert GENERAL not in {each["room_id"] for each in event["rooms"]}, event
