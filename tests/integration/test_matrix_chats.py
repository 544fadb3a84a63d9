"""Chats with an agent that a linked person has from a Matrix client: who lists, reads and writes them in the city."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import WSServerHandshakeError

from tests.parts.city import ADMIN_TOKEN
from tests.parts.frames import next_frame, next_message
from tests.parts.matrix_chat import (
    ADMIN,
    ALICE,
    BOB,
    OKSANA,
    OKSANA_GHOST,
    SCRIBE,
    TARAS,
    WORD,
    MatrixChat,
    deliver,
    is_hidden,
    matrix_chat,
    outbox,
)
from tests.parts.scripted_homeserver import NOT_IN_ROOM

LEVELS = {"users": {ALICE: 100}, "invite": 50}
ENCRYPTION = {"algorithm": "m.megolm.v1.aes-sha2"}
CAT = {"msgtype": "m.image", "body": "cat.png", "url": "mxc://city.localhost/cat", "info": {"mimetype": "image/png"}}
CAT_PATH = "/city/media/city.localhost/cat"


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[MatrixChat]:
    async with matrix_chat(database_url) as chat:
        yield chat


async def test_linked_account_reads_its_chat(chat: MatrixChat) -> None:
    await chat.link()
    (listed,) = await chat.listed()
    assert (listed["citizen"]["display_name"], listed["subject"], listed["opened_on_matrix"]) == (
        "Писар",
        "agent:scribe",
        True,
    )
    assert (listed["last_message"]["text"], listed["read_only"], listed["encrypted"]) == ("Привіт", None, False)
    assert await chat.read() == ["Привіт"]
    details = (await chat.get("")).content
    assert (details["may_read"], details["matrix_room_id"], details["is_public"]) == (
        True,
        "!chat:city.localhost",
        False,
    )
    assert not any(value for value in details["rights"].values())
    found = (await chat.city.get(f"/city/search?q={WORD}", token=OKSANA))["results"]
    assert [each["room"]["id"] for each in found] == [await chat.id()]
    assert str(await chat.id()) not in str(await chat.city.get("/city/rooms?limit=500", token=OKSANA))


@pytest.mark.parametrize("token", [None, TARAS, ADMIN, ADMIN_TOKEN], ids=["anonymous", "citizen", "admin", "token"])
async def test_chat_is_hidden_from_others(chat: MatrixChat, token: str | None) -> None:
    assert await is_hidden(chat, OKSANA), "nobody is linked"
    await chat.link()
    assert await is_hidden(chat, token)


async def test_no_route_of_rooms_serves_others(chat: MatrixChat) -> None:
    await chat.link()
    message = (await chat.post("таємниця")).content["id"]
    names = {"{room_id}": await chat.id(), "{message_id}": message, "{emoji}": quote("👍"), "{user_id}": quote(ALICE)}
    paths = {
        path: ways for path, ways in (await chat.city.get("/openapi.json"))["paths"].items() if "{room_id}" in path
    }
    assert len(paths) > 10
    for path, ways in paths.items():
        address = path
        for name, value in names.items():
            address = address.replace(name, value)
        for way in ways.keys() & {"get", "put", "post", "patch", "delete"}:
            for token in (None, TARAS, ADMIN, ADMIN_TOKEN, await chat.city.agent_token("daarwizz")):
                body = ... if way == "get" else {"body": "x", "message_id": message, "mode": "none", "subject": "u_1"}
                answer = await chat.city.call(way.upper(), address, body, token=token)
                assert 400 <= answer.status < 500, (way, address, token)
                assert "таємниця" not in str(answer.content)


async def test_world_readable_past_is_hidden_from_others(chat: MatrixChat) -> None:
    await chat.receive("m.room.history_visibility", {"history_visibility": "world_readable"}, state_key="")
    await chat.say("привіт усім")
    await chat.receive("m.room.message", CAT)
    await chat.receive("m.room.history_visibility", {"history_visibility": "shared"}, state_key="")
    await chat.link()
    await chat.reconcile()
    assert await chat.read() == ["Привіт", "привіт усім", "cat.png"]
    media = (await chat.get()).content[-1]["media"]
    assert (await chat.city.call("GET", media["url"], token=None)).status != 404, "its reader has a signed link"
    for token in (None, ADMIN):
        assert await is_hidden(chat, token)
        assert (await chat.city.call("GET", CAT_PATH, token=token)).status == 404


async def test_agent_does_not_read_its_chat_by_the_api(chat: MatrixChat) -> None:
    await chat.link()
    token = await chat.city.agent_token("scribe")
    assert (await chat.get(token=token)).status == 404
    assert (await chat.city.get(f"/city/search?q={WORD}", token=token))["results"] == []


async def test_other_agent_cannot_write_in_the_chat(chat: MatrixChat) -> None:
    assert (await chat.post("x", await chat.city.agent_token("daarwizz"))).status == 404
    assert (await chat.post("x", await chat.city.agent_token("scribe"))).status == 201


async def test_unlinked_citizen_loses_the_chat(chat: MatrixChat) -> None:
    await chat.link()
    await chat.post("з міста")
    await chat.unlink()
    assert await is_hidden(chat, OKSANA)


async def test_relinked_account_belongs_to_other_citizen(chat: MatrixChat) -> None:
    await chat.link()
    await chat.post("з міста")
    await chat.unlink()
    await chat.link("u_2")
    assert await is_hidden(chat, OKSANA)
    assert await chat.read(TARAS) == ["Привіт", "з міста"]
    assert [each["id"] for each in await chat.listed(TARAS)] == [await chat.id()]


async def test_other_account_in_its_place_loses_the_chat(chat: MatrixChat) -> None:
    await chat.link()
    await chat.link(user=BOB)
    assert await is_hidden(chat, OKSANA)


@pytest.mark.parametrize(("membership", "sender"), [("leave", ALICE), ("leave", BOB), ("ban", BOB)])
async def test_account_that_left_loses_the_chat(chat: MatrixChat, membership: str, sender: str) -> None:
    await chat.link()
    await chat.member(ALICE, membership, sender)
    assert await is_hidden(chat, OKSANA)


async def test_account_that_is_back_reads_again(chat: MatrixChat) -> None:
    await chat.link()
    await chat.member(ALICE, "leave")
    await chat.member(ALICE, "join")
    await chat.reconcile()
    assert await chat.read() == ["Привіт"]


async def test_invited_account_does_not_read(chat: MatrixChat) -> None:
    await chat.link(user=BOB)
    await chat.receive("m.room.member", {"membership": "invite"}, state_key=BOB)
    assert await is_hidden(chat, OKSANA)


async def test_group_with_second_person_is_hidden(chat: MatrixChat) -> None:
    """Also if both are linked: in a group others write, who do not expect readers in the city."""
    await chat.link()
    await chat.link("u_2", BOB)
    await chat.member(BOB, "join")
    assert await is_hidden(chat, OKSANA)
    assert await is_hidden(chat, TARAS)
    await chat.reconcile()
    assert await is_hidden(chat, OKSANA)
    await chat.member(BOB, "leave")
    await chat.reconcile()
    assert await chat.read() == ["Привіт"]
    assert await is_hidden(chat, TARAS)


@pytest.mark.parametrize(
    ("event_type", "content"),
    [
        ("m.room.join_rules", {"join_rule": "public"}),
        ("m.room.history_visibility", {"history_visibility": "world_readable"}),
    ],
)
async def test_public_room_with_agent_is_hidden(chat: MatrixChat, event_type: str, content: dict[str, Any]) -> None:
    await chat.link()
    await chat.receive(event_type, content, state_key="")
    assert await is_hidden(chat, OKSANA)
    chat.homeserver.state[event_type] = content
    await chat.reconcile()
    assert await is_hidden(chat, OKSANA)
    await chat.set_state(event_type, {"join_rule": "invite", "history_visibility": "shared"})
    assert await chat.read() == ["Привіт"]


async def test_chat_without_its_agent_is_hidden(chat: MatrixChat) -> None:
    await chat.link()
    await chat.member(SCRIBE, "leave", ALICE)
    assert await is_hidden(chat, OKSANA)


async def test_erased_person_leaves_no_chat(chat: MatrixChat) -> None:
    await chat.link()
    room = await chat.id()
    answer = await chat.city.call("DELETE", "/api/v1/people/u_1", token=ADMIN_TOKEN)
    assert answer.status == 202, answer
    assert (await chat.city.call("GET", f"/city/rooms/{room}/messages", token=OKSANA)).status in {401, 403, 404}
    chat.city.city.erasures._settling_ms = 0
    await chat.city.city.erasures.step()
    async with chat.city.city.database.read_only() as tx:
        assert await tx.rooms.get(room) is None


async def test_encrypted_chat_is_listed_without_content(chat: MatrixChat) -> None:
    await chat.link()
    await chat.receive("m.room.encryption", ENCRYPTION, state_key="")
    (listed,) = await chat.listed()
    assert (listed["encrypted"], listed["read_only"], listed["last_message"]) == (True, "encrypted", None)
    assert (listed["unread"], listed["mentions"]) == (0, 0)
    assert await chat.read() is None
    assert (await chat.post("x")).status == 404
    assert (await chat.city.get(f"/city/search?q={WORD}", token=OKSANA))["results"] == []


async def test_message_goes_to_the_same_matrix_room(chat: MatrixChat) -> None:
    await chat.link()
    assert (await chat.post("з міста")).status == 201
    chat.homeserver.next("join", NOT_IN_ROOM)
    await deliver(chat)
    (invite,) = chat.homeserver.all("invite")
    assert (invite.user, invite.content["user_id"]) == (SCRIBE, OKSANA_GHOST)
    (sent,) = chat.homeserver.all("send")
    assert (sent.user, sent.path["room"], sent.content["body"]) == (OKSANA_GHOST, "!chat:city.localhost", "з міста")
    assert sent.content["com.beeper.per_message_profile"]["id"] == ALICE
    await chat.post("ще")
    await deliver(chat)
    assert len(chat.homeserver.all("invite")) == 1, "the ghost is a member"


async def test_own_ghost_makes_no_group(chat: MatrixChat) -> None:
    await chat.link()
    await chat.member(OKSANA_GHOST, "join", SCRIBE)
    assert await chat.read() == ["Привіт"]
    async with chat.city.city.database.transaction() as tx:
        await tx.direct_chats.mark_pending(await chat.id())
    await chat.reconcile()
    assert await chat.read() == ["Привіт"]


async def test_ghost_leaves_with_the_link(chat: MatrixChat) -> None:
    await chat.link()
    await chat.post("з міста")
    await deliver(chat)
    await chat.unlink()
    assert await outbox(chat) == [("leave", OKSANA_GHOST)]
    await deliver(chat)
    assert [(each.user, each.path["room"]) for each in chat.homeserver.all("leave")] == [
        (OKSANA_GHOST, "!chat:city.localhost")
    ]


async def test_ghost_of_unlinked_citizen_is_put_out(chat: MatrixChat) -> None:
    await chat.member(OKSANA_GHOST, "join", SCRIBE)
    await chat.reconcile()
    assert await outbox(chat) == [("leave", OKSANA_GHOST)]


async def test_levels_without_invitations_make_read_only(chat: MatrixChat) -> None:
    await chat.link()
    await chat.set_state("m.room.power_levels", LEVELS)
    (listed,) = await chat.listed()
    assert listed["read_only"] == "not_invited"
    assert await chat.read() == ["Привіт"]
    refused = await chat.post("x")
    assert (refused.status, refused.content["code"]) == (403, "invite_only")
    await chat.set_state("m.room.power_levels", LEVELS | {"users": {SCRIBE: 50}})
    assert (await chat.listed())[0]["read_only"] is None


async def test_joined_ghost_writes_without_invitation(chat: MatrixChat) -> None:
    await chat.link()
    await chat.member(OKSANA_GHOST, "join", SCRIBE)
    await chat.set_state("m.room.power_levels", LEVELS)
    assert (await chat.listed())[0]["read_only"] is None
    await chat.set_state("m.room.power_levels", LEVELS | {"events_default": 50})
    assert (await chat.listed())[0]["read_only"] == "not_invited"


async def test_opening_returns_the_chat_on_matrix(chat: MatrixChat) -> None:
    await chat.link()
    opened = await chat.city.call("POST", "/city/direct", {"with": "agent:scribe"}, token=OKSANA)
    assert (opened.status, opened.content["id"]) == (200, await chat.id())


async def test_opening_makes_chat_where_that_is_read_only(chat: MatrixChat) -> None:
    await chat.link()
    await chat.receive("m.room.encryption", ENCRYPTION, state_key="")
    opened = await chat.city.call("POST", "/city/direct", {"with": "agent:scribe"}, token=OKSANA)
    assert (opened.status, opened.content["opened_on_matrix"]) == (201, False)
    assert {each["opened_on_matrix"] for each in await chat.listed()} == {True, False}


async def test_reactions_edits_and_deletions_reach_matrix(chat: MatrixChat) -> None:
    await chat.link()
    mine = (await chat.post("мої слова")).content["id"]
    await deliver(chat)
    path = f"/city/rooms/{await chat.id()}/messages/"
    hers = (await chat.get()).content[0]["id"]
    for method, rest, content in (
        ("PATCH", mine, {"body": "мої нові слова"}),
        ("PUT", f"{hers}/reactions/{quote('👍')}", ...),
        ("DELETE", mine, ...),
    ):
        answer = await chat.city.call(method, path + rest, content, token=OKSANA)
        assert answer.status in {200, 204}, answer
        await deliver(chat)
    assert {each.user for each in chat.homeserver.all("send")} == {OKSANA_GHOST}
    assert [each.user for each in chat.homeserver.all("redact")] == [OKSANA_GHOST]
    edit = await chat.city.call("PATCH", path + hers, {"body": "x"}, token=OKSANA)
    assert (edit.status, edit.content["code"]) == (409, "sent_on_matrix")


async def test_file_of_the_chat_is_for_its_reader(chat: MatrixChat) -> None:
    await chat.receive("m.room.message", CAT)
    await chat.link()
    for token in (None, TARAS, ADMIN):
        assert (await chat.city.call("GET", CAT_PATH, token=token)).status == 404, token
    assert (await chat.city.call("GET", CAT_PATH, token=OKSANA)).status != 404
    await chat.unlink()
    assert (await chat.city.call("GET", CAT_PATH, token=OKSANA)).status == 404


@pytest.mark.parametrize("by_unlinking", [False, True])
async def test_socket_ends_when_the_account_is_gone(chat: MatrixChat, *, by_unlinking: bool) -> None:
    await chat.link()
    url = f"/ws/city/rooms/{await chat.id()}"
    session, settings = chat.city.session, chat.city.city.settings
    address = f"http://127.0.0.1:{settings.api.port}{url}?token={OKSANA}"
    async with session.ws_connect(address) as socket:
        await chat.say("Чуєш?")
        received: list[Any] = []
        while "Чуєш?" not in str(received):
            received.append(await next_frame(socket))
        await (chat.unlink() if by_unlinking else chat.member(ALICE, "leave"))
        ended = [await next_message(socket)]
        while not socket.closed:
            ended.append(await next_message(socket))
        await chat.say("таємно")
        assert "таємно" not in str(ended)
        assert "no_such_room" in str(ended) or "members_only" in str(ended)
    with pytest.raises(WSServerHandshakeError) as refused:
        await session.ws_connect(address)
    assert refused.value.status == 404
