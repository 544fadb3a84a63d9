"""Rooms that are private on Matrix: which readers get which messages from each route."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.types import CitizenId, OutboxKind, UserId
from tests.parts.city import ADMIN_TOKEN
from tests.parts.private_room import (
    ADMIN,
    ALICE,
    GENERAL,
    OKSANA,
    OKSANA_GHOST,
    PICTURE,
    TARAS,
    Hall,
    hall_on,
    make_secret,
)


@pytest.fixture
async def hall(database_url: str) -> AsyncIterator[Hall]:
    async with hall_on(database_url) as hall:
        yield hall


@pytest.fixture
async def secret(hall: Hall) -> Hall:
    """The room never was public: it was private on Matrix before the city knew it."""
    await make_secret(hall)
    return hall


async def test_private_room_is_unreadable_anonymously(hall: Hall) -> None:
    await hall.says("для всіх")
    await hall.becomes("joined")
    await hall.says("для своїх", url=PICTURE)
    assert await hall.read() == ["для всіх"]
    assert await hall.told() == ["для всіх"]
    room = await hall.open.get("/city/rooms/general")
    assert [each["body"] for each in room["messages"]] == ["для всіх"]
    assert (room["history_visibility"], room["is_public"], room["may_read"]) == ("joined", False, False)
    home = await hall.open.get("/city/home")
    assert "для своїх" not in str(home)
    assert "general" not in {each["slug"] for each in home["popular_rooms"]}
    assert "general" not in {each["slug"] for each in await hall.open.get("/city/rooms")}
    # Reading with the service's or the admin's token is nobody's membership.
    assert await hall.read(ADMIN_TOKEN) == ["для всіх"]


async def test_room_made_public_is_readable_from_then_on(hall: Hall) -> None:
    await hall.becomes("joined")
    await hall.says("для своїх")
    await hall.becomes("world_readable", "public")
    await hall.says("знову для всіх")
    assert await hall.read() == ["знову для всіх"]
    assert await hall.told() == ["знову для всіх"]
    assert "general" in {each["slug"] for each in await hall.open.get("/city/rooms")}


@pytest.mark.parametrize(
    ("visibility", "read"),
    [
        ("world_readable", ["1", "2", "3", "4"]),
        ("shared", ["1", "2", "3"]),
        ("invited", ["2", "3"]),
        ("joined", ["3"]),
    ],
)
async def test_former_member_reads_as_while_a_member(hall: Hall, visibility: str, read: list[str]) -> None:
    await hall.becomes(visibility)
    await hall.says("1")
    await hall.invite(OKSANA_GHOST)
    await hall.says("2")
    await hall.member(OKSANA_GHOST, "join")
    await hall.says("3")
    assert await hall.read(OKSANA) == [each for each in read if each != "4"]
    await hall.member(OKSANA_GHOST, "leave")
    await hall.says("4")
    assert await hall.read(OKSANA) == read
    assert await hall.told(OKSANA) == read
    assert await hall.read(TARAS) == (["1", "2", "3", "4"] if visibility == "world_readable" else [])


@pytest.mark.parametrize("visibility", ["shared", "invited", "joined"])
async def test_author_joined_by_posting_reads_message(hall: Hall, visibility: str) -> None:
    await hall.becomes(visibility, "public")
    await hall.says("до того")
    posted = await hall.open.call("POST", "/city/rooms/general/messages", {"body": "моє"}, token=OKSANA)
    assert posted.status == 201
    await hall.says("після того")
    expected = ["до того"] * (visibility == "shared") + ["моє", "після того"]
    assert (await hall.read(OKSANA), await hall.told(OKSANA)) == (expected, expected)
    assert (await hall.read(TARAS), await hall.told(TARAS)) == ([], [])
    async with hall.open.city.database.reading() as tx:
        # Matrix does not know of the join yet: a look at its members does not end it.
        assert await tx.outbox.moving(GENERAL) == {OKSANA_GHOST: OutboxKind.JOIN}


async def test_linked_matrix_account_reads_as_citizen(hall: Hall) -> None:
    await hall.becomes("joined")
    await hall.member(ALICE, "join")
    await hall.says("для своїх")
    async with hall.open.city.database.transaction() as tx:
        await tx.accounts.link(UserId(ALICE), CitizenId("u_1"), now_ms=1)
    assert await hall.read(OKSANA) == ["для своїх"]
    assert "general" in {each["slug"] for each in await hall.open.get("/city/rooms", token=OKSANA)}


async def test_agent_reads_by_its_membership(hall: Hall) -> None:
    agent = await hall.open.agent_token("scribe")
    await hall.becomes("joined")
    await hall.says("до нього")
    await hall.member("@agent_scribe:city.localhost", "join")
    await hall.says("при ньому")
    assert await hall.read(agent) == ["при ньому"]


@pytest.mark.parametrize("token", [None, TARAS], ids=["anonymous", "citizen"])
@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("GET", "", ...),
        ("GET", "/messages", ...),
        ("GET", "/messages?around={id}", ...),
        ("POST", "/messages", {"body": "hello"}),
        ("PATCH", "/messages/{id}", {"body": "hello"}),
        ("DELETE", "/messages/{id}", ...),
        ("POST", "/messages/{id}/retry", ...),
        ("PUT", "/messages/{id}/reactions/%F0%9F%91%8D", ...),
        ("DELETE", "/messages/{id}/reactions/%F0%9F%91%8D", ...),
        ("POST", "/join", ...),
        ("POST", "/leave", ...),
        ("PUT", "/typing", {"typing": True}),
        ("PUT", "/read", {"message_id": "{id}"}),
    ],
)
async def test_secret_room_is_not_found(secret: Hall, method: str, path: str, content: Any, token: str | None) -> None:
    (message,) = await secret.open.get("/city/rooms/general/messages", token=OKSANA)
    path = f"/city/rooms/general{path}".replace("{id}", message["id"])
    answer = await secret.open.call(method, path, content, token=token)
    if token is None and method != "GET":
        assert answer.status == 401
    else:
        assert (answer.status, answer.content["code"]) == (404, "no_such_room")
    # It is said of the room that there is none in the same words as of one that there is not.
    none = await secret.open.call(method, path.replace("general", "nowhere"), content, token=token)
    assert str(answer.content).replace("general", "nowhere") == str(none.content)


async def test_secret_room_is_listed_nowhere(secret: Hall) -> None:
    get = secret.open.get
    # It is read like everything of agents: at the latest two seconds later, where another process changed it.
    await secret.open.city.registry.load()
    for path in ("/city/rooms", "/city/home", "/city/feed", "/api/v1/presence/summary", "/api/v1/agents"):
        shown = str(await get(path, token=TARAS))
        assert "general" not in shown.lower(), path
        assert "таємниця" not in shown, path
    metrics = await secret.open.call("GET", "/metrics", listener="matrix")
    assert "general" not in metrics.content
    assert [each["slug"] for each in await get("/city/rooms", token=OKSANA)].count("general") == 1
    assert [each["slug"] for each in await get("/city/rooms", token=ADMIN)].count("general") == 1
    assert await secret.told(OKSANA) == ["таємниця"]


async def test_admin_sees_secret_room_without_messages(secret: Hall) -> None:
    room = await secret.open.get("/city/rooms/general", token=ADMIN)
    assert (room["name"], room["messages"], room["online_members"]) == ("General", [], [])


async def test_private_room_name_is_hidden_from_outsiders(hall: Hall) -> None:
    await hall.says("для всіх")
    await hall.becomes("joined")
    await hall.hears("m.room.name", {"name": "Таємна рада"}, state_key="")
    assert "Таємна рада" not in str(await hall.open.get("/city/rooms/general"))
    assert "Таємна рада" not in str(await hall.open.get("/city/feed"))
    await hall.member(OKSANA_GHOST, "join")
    assert (await hall.open.get("/city/rooms/general", token=OKSANA))["name"] == "Таємна рада"


async def test_unreadable_message_is_not_found(hall: Hall) -> None:
    await hall.becomes("joined", "public")
    await hall.says("до неї")
    await hall.member(OKSANA_GHOST, "join")
    async with hall.open.city.database.reading() as tx:
        (message,) = await tx.messages.before(GENERAL, None, limit=1)
    room = "/city/rooms/general"
    for method, path, content in (
        ("POST", f"{room}/messages", {"body": "так", "reply_to": message.id}),
        ("PUT", f"{room}/messages/{message.id}/reactions/%F0%9F%91%8D", ...),
        ("DELETE", f"{room}/messages/{message.id}/reactions/%F0%9F%91%8D", ...),
        ("PATCH", f"{room}/messages/{message.id}", {"body": "інше"}),
        ("DELETE", f"{room}/messages/{message.id}", ...),
        ("PUT", f"{room}/read", {"message_id": message.id}),
        ("GET", f"{room}/messages?around={message.id}", ...),
    ):
        answer = await hall.open.call(method, path, content, token=OKSANA)
        assert (answer.status, answer.content["code"]) == (404, "no_such_message"), path


async def test_edit_of_old_message_has_current_visibility(hall: Hall) -> None:
    original = await hall.says("для всіх")
    await hall.says("друге")
    await hall.becomes("joined")
    await hall.member(OKSANA_GHOST, "join")
    edit = {"rel_type": "m.replace", "event_id": original}
    new = {"msgtype": "m.text", "body": "вже для своїх"}
    await hall.hears("m.room.message", {**new, "m.new_content": new, "m.relates_to": edit})
    assert await hall.read() == ["друге"]
    assert await hall.told() == ["друге"]
    assert await hall.read(OKSANA) == ["вже для своїх", "друге"]


async def test_private_room_reactions_are_for_members(hall: Hall) -> None:
    async def reactions(token: str | None, path: str = "/messages") -> list[list[str]]:
        found = await hall.open.get(f"/city/rooms/general{path}", token=token)
        return [[each["emoji"] for each in message["reactions"]] for message in found]

    original = await hall.says("для всіх")
    await hall.member(OKSANA_GHOST, "join")
    (message,) = await hall.open.get("/city/rooms/general/messages")
    of_taras = f"/city/rooms/general/messages/{message['id']}/reactions/%F0%9F%91%8D"
    assert (await hall.open.call("PUT", of_taras, token=TARAS)).status == 200
    await hall.becomes("joined")
    await hall.hears("m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": original, "key": "🤫"}})
    assert await reactions(OKSANA) == [["👍", "🤫"]]
    for token in (None, TARAS, ADMIN):
        assert await reactions(token) == [[]]
        assert await reactions(token, f"/messages?around={message['id']}") == [[]]
        assert [
            each["reactions"] for each in (await hall.open.get("/city/rooms/general", token=token))["messages"]
        ] == [[]]
    taken_back = await hall.open.call("DELETE", of_taras, token=TARAS)
    assert (taken_back.status, taken_back.content["reactions"]) == (200, [])
    await hall.becomes("world_readable", "public")
    assert await reactions(None) == [["🤫"]]


async def test_outsider_cannot_type_in_private_room(hall: Hall) -> None:
    await hall.says("для всіх")
    await hall.member(OKSANA_GHOST, "join")
    await hall.becomes("joined")
    typing = "/city/rooms/general/typing"
    refused = await hall.open.call("PUT", typing, {"typing": True}, token=TARAS)
    assert (refused.status, refused.content["code"]) == (403, "invite_only")
    assert (await hall.open.call("PUT", typing, {"typing": True}, token=OKSANA)).status == 200


async def test_file_is_readable_with_its_message(hall: Hall) -> None:
    async def status(token: str | None) -> int:
        return (await hall.open.call("GET", "/city/media/city.localhost/picture", token=token)).status

    await hall.becomes("joined")
    await hall.member(OKSANA_GHOST, "join")
    await hall.hears("m.room.message", {"msgtype": "m.image", "body": "фото.png", "url": PICTURE})
    assert await status(None) == 404
    assert await status(TARAS) == 404
    # There is no homeserver to have it from.
    assert await status(OKSANA) == 503


# --- pages of history -----------------------------------------------------------------------------------


async def test_pages_skip_unreadable_messages(hall: Hall) -> None:
    for number in range(4):
        await hall.becomes("joined" if number % 2 else "world_readable", "public")
        await hall.says(f"{number}a")
        await hall.says(f"{number}b")
    assert await hall.read() == ["0a", "0b", "2a", "2b"]
    assert await hall.read(None, "?limit=3") == ["0b", "2a", "2b"]
    messages = await hall.open.get("/city/rooms/general/messages")
    assert await hall.read(None, f"?before={messages[2]['seq']}") == ["0a", "0b"]
    assert await hall.read(None, f"?after={messages[1]['seq']}&limit=1") == ["2a"]
    assert await hall.read(None, f"?around={messages[1]['id']}&limit=3") == ["0a", "0b", "2a"]


async def test_around_returns_messages_on_both_sides(hall: Hall) -> None:
    for number in range(9):
        await hall.says(str(number))
    messages = await hall.open.get("/city/rooms/general/messages")
    middle = messages[4]["id"]
    assert await hall.read(None, f"?around={middle}&limit=5") == ["2", "3", "4", "5", "6"]
    assert await hall.read(None, f"?around={middle}&limit=4") == ["3", "4", "5", "6"]
    assert await hall.read(None, f"?around={middle}&limit=1") == ["4"]
    assert await hall.read(None, f"?around={messages[0]['id']}&limit=5") == ["0", "1", "2", "3", "4"]
    assert await hall.read(None, f"?after={messages[6]['seq']}") == ["7", "8"]
    for query in ("around=x&before=3", "around=x&after=3", "before=1&after=3"):
        answer = await hall.open.call("GET", f"/city/rooms/general/messages?{query}")
        assert (answer.status, answer.content["code"]) == (422, "invalid")
    answer = await hall.open.call("GET", "/city/rooms/general/messages?around=nothing")
    assert (answer.status, answer.content["code"]) == (404, "no_such_message")
