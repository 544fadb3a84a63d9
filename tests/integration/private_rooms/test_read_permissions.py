"""Rooms that are private on Matrix: which readers get which messages from each route."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.linked_accounts import LinkedAccount
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
    PrivateRoom,
)


async def test_private_room_is_unreadable_anonymously(harness: PrivateRoom) -> None:
    await harness.receive_text("для всіх")
    await harness.set_visibility("joined")
    await harness.receive_text("для своїх", url=PICTURE)
    assert await harness.read() == ["для всіх"]
    assert await harness.feed_bodies() == ["для всіх"]
    room = await harness.city.get("/city/rooms/general")
    assert [each["body"] for each in room["messages"]] == ["для всіх"]
    assert (room["history_visibility"], room["is_public"], room["may_read"]) == ("joined", False, False)
    home = await harness.city.get("/city/home")
    assert "для своїх" not in str(home)
    assert "general" not in {each["slug"] for each in home["popular_rooms"]}
    assert "general" not in {each["slug"] for each in await harness.city.get("/city/rooms")}
    # Reading with the service's or the admin's token is nobody's membership.
    assert await harness.read(ADMIN_TOKEN) == ["для всіх"]


async def test_room_made_public_is_readable_from_then_on(harness: PrivateRoom) -> None:
    await harness.set_visibility("joined")
    await harness.receive_text("для своїх")
    await harness.set_visibility("world_readable", "public")
    await harness.receive_text("знову для всіх")
    assert await harness.read() == ["знову для всіх"]
    assert await harness.feed_bodies() == ["знову для всіх"]
    assert "general" in {each["slug"] for each in await harness.city.get("/city/rooms")}


@pytest.mark.parametrize(
    ("visibility", "read"),
    [
        ("world_readable", ["1", "2", "3", "4"]),
        ("shared", ["1", "2", "3"]),
        ("invited", ["2", "3"]),
        ("joined", ["3"]),
    ],
)
async def test_former_member_reads_as_while_a_member(harness: PrivateRoom, visibility: str, read: list[str]) -> None:
    await harness.set_visibility(visibility)
    await harness.receive_text("1")
    await harness.invite(OKSANA_GHOST)
    await harness.receive_text("2")
    await harness.member(OKSANA_GHOST, "join")
    await harness.receive_text("3")
    assert await harness.read(OKSANA) == [each for each in read if each != "4"]
    await harness.member(OKSANA_GHOST, "leave")
    await harness.receive_text("4")
    assert await harness.read(OKSANA) == read
    assert await harness.feed_bodies(OKSANA) == read
    assert await harness.read(TARAS) == (["1", "2", "3", "4"] if visibility == "world_readable" else [])


@pytest.mark.parametrize("visibility", ["shared", "invited", "joined"])
async def test_author_joined_by_posting_reads_message(harness: PrivateRoom, visibility: str) -> None:
    await harness.set_visibility(visibility, "public")
    await harness.receive_text("до того")
    posted = await harness.city.call("POST", "/city/rooms/general/messages", {"body": "моє"}, token=OKSANA)
    assert posted.status == 201
    await harness.receive_text("після того")
    expected = ["до того"] * (visibility == "shared") + ["моє", "після того"]
    assert (await harness.read(OKSANA), await harness.feed_bodies(OKSANA)) == (expected, expected)
    assert (await harness.read(TARAS), await harness.feed_bodies(TARAS)) == ([], [])
    async with harness.city.city.database.read_only() as tx:
        # Matrix does not know of the join yet: a look at its members does not end it.
        assert await tx.outbox.pending_moves(GENERAL) == {OKSANA_GHOST: OutboxKind.JOIN}


async def test_linked_matrix_account_reads_as_citizen(harness: PrivateRoom) -> None:
    await harness.set_visibility("joined")
    await harness.member(ALICE, "join")
    await harness.receive_text("для своїх")
    async with harness.city.city.database.transaction() as tx:
        await tx.accounts.link(LinkedAccount(CitizenId("u_1"), UserId(ALICE)), now_ms=1)
    assert await harness.read(OKSANA) == ["для своїх"]
    assert "general" in {each["slug"] for each in await harness.city.get("/city/rooms", token=OKSANA)}


async def test_agent_reads_by_its_membership(harness: PrivateRoom) -> None:
    agent = await harness.city.agent_token("scribe")
    await harness.set_visibility("joined")
    await harness.receive_text("до нього")
    await harness.member("@agent_scribe:city.localhost", "join")
    await harness.receive_text("при ньому")
    assert await harness.read(agent) == ["при ньому"]


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
async def test_secret_room_is_not_found(
    secret: PrivateRoom, method: str, path: str, content: Any, token: str | None
) -> None:
    (message,) = await secret.city.get("/city/rooms/general/messages", token=OKSANA)
    path = f"/city/rooms/general{path}".replace("{id}", message["id"])
    answer = await secret.city.call(method, path, content, token=token)
    if token is None and method != "GET":
        assert answer.status == 401
    else:
        assert (answer.status, answer.content["code"]) == (404, "no_such_room")
    # It is said of the room that there is none in the same words as of one that there is not.
    none = await secret.city.call(method, path.replace("general", "nowhere"), content, token=token)
    assert str(answer.content).replace("general", "nowhere") == str(none.content)


async def test_secret_room_is_listed_nowhere(secret: PrivateRoom) -> None:
    get = secret.city.get
    # It is read like everything of agents: at the latest two seconds later, where another process changed it.
    await secret.city.city.registry.load()
    for path in ("/city/rooms", "/city/home", "/city/feed", "/api/v1/presence/summary", "/api/v1/agents"):
        shown = str(await get(path, token=TARAS))
        assert "general" not in shown.lower(), path
        assert "таємниця" not in shown, path
    metrics = await secret.city.call("GET", "/metrics", listener="matrix")
    assert "general" not in metrics.content
    assert [each["slug"] for each in await get("/city/rooms", token=OKSANA)].count("general") == 1
    assert [each["slug"] for each in await get("/city/rooms", token=ADMIN)].count("general") == 1
    assert await secret.feed_bodies(OKSANA) == ["таємниця"]


async def test_admin_sees_secret_room_without_messages(secret: PrivateRoom) -> None:
    room = await secret.city.get("/city/rooms/general", token=ADMIN)
    assert (room["name"], room["messages"], room["online_members"]) == ("General", [], [])


async def test_private_room_name_is_hidden_from_outsiders(harness: PrivateRoom) -> None:
    await harness.receive_text("для всіх")
    await harness.set_visibility("joined")
    await harness.receive("m.room.name", {"name": "Таємна рада"}, state_key="")
    assert "Таємна рада" not in str(await harness.city.get("/city/rooms/general"))
    assert "Таємна рада" not in str(await harness.city.get("/city/feed"))
    await harness.member(OKSANA_GHOST, "join")
    assert (await harness.city.get("/city/rooms/general", token=OKSANA))["name"] == "Таємна рада"


async def test_unreadable_message_is_not_found(harness: PrivateRoom) -> None:
    await harness.set_visibility("joined", "public")
    await harness.receive_text("до неї")
    await harness.member(OKSANA_GHOST, "join")
    async with harness.city.city.database.read_only() as tx:
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
        answer = await harness.city.call(method, path, content, token=OKSANA)
        assert (answer.status, answer.content["code"]) == (404, "no_such_message"), path


async def test_edit_of_old_message_has_current_visibility(harness: PrivateRoom) -> None:
    original = await harness.receive_text("для всіх")
    await harness.receive_text("друге")
    await harness.set_visibility("joined")
    await harness.member(OKSANA_GHOST, "join")
    edit = {"rel_type": "m.replace", "event_id": original}
    new = {"msgtype": "m.text", "body": "вже для своїх"}
    await harness.receive("m.room.message", {**new, "m.new_content": new, "m.relates_to": edit})
    assert await harness.read() == ["друге"]
    assert await harness.feed_bodies() == ["друге"]
    assert await harness.read(OKSANA) == ["вже для своїх", "друге"]


async def test_private_room_reactions_are_for_members(harness: PrivateRoom) -> None:
    async def reactions(token: str | None, path: str = "/messages") -> list[list[str]]:
        found = await harness.city.get(f"/city/rooms/general{path}", token=token)
        return [[each["emoji"] for each in message["reactions"]] for message in found]

    original = await harness.receive_text("для всіх")
    await harness.member(OKSANA_GHOST, "join")
    (message,) = await harness.city.get("/city/rooms/general/messages")
    of_taras = f"/city/rooms/general/messages/{message['id']}/reactions/%F0%9F%91%8D"
    assert (await harness.city.call("PUT", of_taras, token=TARAS)).status == 200
    await harness.set_visibility("joined")
    await harness.receive(
        "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": original, "key": "🤫"}}
    )
    assert await reactions(OKSANA) == [["👍", "🤫"]]
    for token in (None, TARAS, ADMIN):
        assert await reactions(token) == [[]]
        assert await reactions(token, f"/messages?around={message['id']}") == [[]]
        assert [
            each["reactions"] for each in (await harness.city.get("/city/rooms/general", token=token))["messages"]
        ] == [[]]
    taken_back = await harness.city.call("DELETE", of_taras, token=TARAS)
    assert (taken_back.status, taken_back.content["reactions"]) == (200, [])
    await harness.set_visibility("world_readable", "public")
    assert await reactions(None) == [["🤫"]]


async def test_outsider_cannot_type_in_private_room(harness: PrivateRoom) -> None:
    await harness.receive_text("для всіх")
    await harness.member(OKSANA_GHOST, "join")
    await harness.set_visibility("joined")
    typing = "/city/rooms/general/typing"
    refused = await harness.city.call("PUT", typing, {"typing": True}, token=TARAS)
    assert (refused.status, refused.content["code"]) == (403, "invite_only")
    assert (await harness.city.call("PUT", typing, {"typing": True}, token=OKSANA)).status == 200


async def test_file_is_readable_with_its_message(harness: PrivateRoom) -> None:
    async def status(token: str | None) -> int:
        return (await harness.city.call("GET", "/city/media/city.localhost/picture", token=token)).status

    await harness.set_visibility("joined")
    await harness.member(OKSANA_GHOST, "join")
    await harness.receive("m.room.message", {"msgtype": "m.image", "body": "фото.png", "url": PICTURE})
    assert await status(None) == 404
    assert await status(TARAS) == 404
    # There is no homeserver to have it from.
    assert await status(OKSANA) == 503


# --- pages of history -----------------------------------------------------------------------------------


async def test_pages_skip_unreadable_messages(harness: PrivateRoom) -> None:
    for number in range(4):
        await harness.set_visibility("joined" if number % 2 else "world_readable", "public")
        await harness.receive_text(f"{number}a")
        await harness.receive_text(f"{number}b")
    assert await harness.read() == ["0a", "0b", "2a", "2b"]
    assert await harness.read(None, "?limit=3") == ["0b", "2a", "2b"]
    messages = await harness.city.get("/city/rooms/general/messages")
    assert await harness.read(None, f"?before={messages[2]['seq']}") == ["0a", "0b"]
    assert await harness.read(None, f"?after={messages[1]['seq']}&limit=1") == ["2a"]
    assert await harness.read(None, f"?around={messages[1]['id']}&limit=3") == ["0a", "0b", "2a"]


async def test_around_returns_messages_on_both_sides(harness: PrivateRoom) -> None:
    for number in range(9):
        await harness.receive_text(str(number))
    messages = await harness.city.get("/city/rooms/general/messages")
    middle = messages[4]["id"]
    assert await harness.read(None, f"?around={middle}&limit=5") == ["2", "3", "4", "5", "6"]
    assert await harness.read(None, f"?around={middle}&limit=4") == ["3", "4", "5", "6"]
    assert await harness.read(None, f"?around={middle}&limit=1") == ["4"]
    assert await harness.read(None, f"?around={messages[0]['id']}&limit=5") == ["0", "1", "2", "3", "4"]
    assert await harness.read(None, f"?after={messages[6]['seq']}") == ["7", "8"]
    for query in ("around=x&before=3", "around=x&after=3", "before=1&after=3"):
        answer = await harness.city.call("GET", f"/city/rooms/general/messages?{query}")
        assert (answer.status, answer.content["code"]) == (422, "invalid")
    answer = await harness.city.call("GET", "/city/rooms/general/messages?around=nothing")
    assert (answer.status, answer.content["code"]) == (404, "no_such_message")
