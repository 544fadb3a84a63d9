"""Direct chats of two citizens: private rooms that only both of them know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from daarion_appservice.agents.pending_request import read_pending_request
from daarion_appservice.agents.request import RequestKind
from daarion_appservice.city.data_subjects import DataSubject
from daarion_appservice.city.delivery_errors import DeliveryError
from daarion_appservice.city.linked_accounts import LinkedAccount
from daarion_appservice.city.types import CitizenId, MessageId, UserId
from tests.parts.city import citizen_token
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.ports import HOST
from tests.parts.presence_socket import connected, until

OKSANA, TARAS, STRANGER = citizen_token("u_1", "Оксана"), citizen_token("u_2", "Тарас"), citizen_token("u_3", "Чужа")
WITH_TARAS = {"with": "citizen:u_2"}


@pytest.fixture
async def city(database_url: str) -> AsyncIterator[InProcessCity]:
    async with in_process_city(database_url) as city:
        for number, name in enumerate(("Оксана", "Тарас", "Чужа"), start=1):
            await city.city.citizen_names.record(CitizenId(f"u_{number}"), name)
        yield city


async def open_chat(city: InProcessCity, token: str = OKSANA, other: str = "u_2", status: int = 201) -> dict[str, Any]:
    answer = await city.call("POST", "/city/direct", {"with": f"citizen:{other}"}, token=token)
    assert answer.status == status, answer
    content: dict[str, Any] = answer.content
    return content


async def say(city: InProcessCity, room: str, body: str, token: str) -> dict[str, Any]:
    answer = await city.call("POST", f"/city/rooms/{room}/messages", {"body": body}, token=token)
    assert answer.status == 201, answer
    content: dict[str, Any] = answer.content
    return content


async def test_chat_is_one_for_both(city: InProcessCity) -> None:
    chat = await open_chat(city)
    assert chat["citizen"]["display_name"] == "Тарас"
    assert (chat["subject"], chat["joined"], chat["unread"], chat["last_message"]) == ("u_2", True, 0, None)
    again = await open_chat(city, TARAS, "u_1", status=200)
    assert (again["id"], again["citizen"]["display_name"]) == (chat["id"], "Оксана")
    message = await say(city, chat["id"], "привіт", OKSANA)
    (listed,) = await city.get("/city/direct", token=TARAS)
    assert (listed["unread"], listed["mentions"], listed["last_message"]["text"]) == (1, 1, "привіт")
    path = f"/city/rooms/{chat['id']}/messages/{message['id']}"
    assert (await city.call("PATCH", path, {"body": "привіт!"}, token=OKSANA)).status == 200
    assert (await city.get("/city/direct", token=TARAS))[0]["mentions"] == 1, "an edit is no further message"
    assert (await city.get("/city/direct", token=OKSANA))[0]["mentions"] == 0, "the own message"
    read = await city.call("PUT", f"/city/rooms/{chat['id']}/read", {"message_id": message["id"]}, token=TARAS)
    assert read.status == 204
    (listed,) = await city.get("/city/direct", token=TARAS)
    assert (listed["unread"], listed["mentions"]) == (0, 0)


@pytest.mark.parametrize("opens", [True, False], ids=["opener", "member"])
async def test_citizen_without_heartbeat_has_the_name_of_the_token(city: InProcessCity, *, opens: bool) -> None:
    solomiia = citizen_token("u_4", "Соломія")
    if opens:
        await open_chat(city, solomiia, "u_1")
    else:
        assert (await city.call("POST", "/city/rooms/general/join", token=solomiia)).status == 200
        assert (await open_chat(city, OKSANA, "u_4"))["citizen"]["display_name"] == "Соломія"
    (listed,) = await city.get("/city/direct", token=OKSANA)
    assert (listed["citizen"]["id"], listed["citizen"]["display_name"]) == ("u_4", "Соломія")


async def test_two_requests_at_once_open_one_chat(city: InProcessCity) -> None:
    answers = await asyncio.gather(
        *(city.call("POST", "/city/direct", WITH_TARAS, token=OKSANA) for _ in range(3)),
        *(city.call("POST", "/city/direct", {"with": "citizen:u_1"}, token=TARAS) for _ in range(3)),
    )
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 200, 200, 201]
    assert len({answer.content["id"] for answer in answers}) == 1


async def test_chat_is_hidden_from_everybody_else(city: InProcessCity) -> None:
    chat = (await open_chat(city))["id"]
    message = await say(city, chat, "таємниця", OKSANA)
    agent = await city.agent_token("scribe")
    for token in (None, STRANGER, agent):
        for path in ("", "/messages", f"/messages?around={message['id']}", "/receipts", "/threads"):
            assert (await city.call("GET", f"/city/rooms/{chat}{path}", token=token)).status == 404, (token, path)
        assert chat not in str(await city.get("/city/rooms?limit=500", token=token))
        assert chat not in str(await city.get(f"/city/rooms?ids={chat}", token=token))
        assert "таємниця" not in str(await city.get("/city/feed?limit=100", token=token))
        assert (await city.get("/city/search?q=таємниця".replace("таємниця", "%D1%82%D0%B0%D1%94"), token=token))[
            "results"
        ] == []
        assert chat not in str(await city.get("/api/v1/presence/summary", token=token))
    assert await city.get("/city/direct", token=STRANGER) == []
    for method, path, content in (
        ("POST", "/messages", {"body": "x"}),
        ("POST", "/join", ...),
        ("PUT", "/typing", {"typing": True}),
        ("PUT", "/read", {"message_id": message["id"]}),
        ("PUT", "/notifications", {"mode": "none"}),
    ):
        assert (await city.call(method, f"/city/rooms/{chat}{path}", content, token=STRANGER)).status == 404, path


async def test_chat_is_in_no_list_of_its_citizens(city: InProcessCity) -> None:
    chat = (await open_chat(city))["id"]
    await say(city, chat, "слово", OKSANA)
    assert chat not in str(await city.get("/city/rooms?limit=500", token=OKSANA))
    assert chat not in str(await city.get("/city/home", token=OKSANA))
    assert chat not in str(await city.get("/city/feed?limit=100", token=OKSANA))
    results = (await city.get("/city/search?q=%D1%81%D0%BB%D0%BE%D0%B2%D0%BE", token=TARAS))["results"]
    assert [each["room"]["id"] for each in results] == [chat]


async def test_socket_tells_unread_direct_messages(city: InProcessCity) -> None:
    chat = (await open_chat(city))["id"]
    async with connected(city, "?unread=1&rooms=1", TARAS) as socket:
        await say(city, chat, "привіт", OKSANA)

        def told() -> list[Any]:
            found = [each for event in socket.events if event["event"] == "city.unread" for each in event["rooms"]]
            return [each for each in found if each["room_id"] == chat and each["unread"] == 1]

        await until(lambda: bool(told()))
        assert told()[-1]["last_message"]["text"] == "привіт"
        assert chat not in str([event for event in socket.events if event["event"] == "city.rooms.updated"])


async def test_citizen_who_left_is_back_with_next_opening(city: InProcessCity) -> None:
    chat = (await open_chat(city))["id"]
    assert (await city.call("POST", f"/city/rooms/{chat}/leave", token=OKSANA)).status == 200
    assert (await city.call("GET", f"/city/rooms/{chat}/messages", token=OKSANA)).content == []
    assert (await open_chat(city, TARAS, "u_1", status=200))["joined"] is True
    await say(city, chat, "знову тут", OKSANA)


async def test_blocked_citizens_cannot_write(city: InProcessCity) -> None:
    chat = (await open_chat(city))["id"]
    message = await say(city, chat, "привіт", OKSANA)
    block = "/city/me/blocks/u_1"
    assert (await city.call("PUT", block, token=TARAS)).status == 204
    assert await city.get("/city/me/blocks", token=TARAS) == {"blocked": ["u_1"]}
    assert (await city.get("/city/direct", token=TARAS))[0]["blocked"] is True
    for token in (OKSANA, TARAS):
        answer = await city.call("POST", f"/city/rooms/{chat}/messages", {"body": "x"}, token=token)
        assert (answer.status, answer.content["code"]) == (403, "blocked")
    reaction = f"/city/rooms/{chat}/messages/{message['id']}/reactions/x"
    assert (await city.call("PUT", reaction, token=OKSANA)).status == 403
    assert (await city.call("POST", "/city/direct", WITH_TARAS, token=OKSANA)).status == 403
    assert (await city.call("DELETE", block, token=TARAS)).status == 204
    await say(city, chat, "дякую", OKSANA)
    # Rooms are not affected.
    await city.call("PUT", block, token=TARAS)
    await say(city, "general", "усім", OKSANA)


async def test_message_refused_after_a_block_tells_its_cause(city: InProcessCity) -> None:
    chat = (await open_chat(city))["id"]
    sent = await say(city, chat, "привіт", OKSANA)
    await city.call("PUT", "/city/me/blocks/u_1", token=TARAS)
    async with city.city.database.transaction() as tx:
        message = await tx.messages.get(MessageId(sent["id"]))
        assert message is not None
        stored = await city.city.messages.mark_failed(tx, message, DeliveryError.NOT_ALLOWED)
    assert stored.event.message is not None
    assert stored.event.message.delivery_error == "blocked"


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ("citizen:u_999", 404),
        ("citizen:", 404),
        ("citizen:@alice:hs", 404),
        ("citizen:agent:scribe", 404),
        ("citizen:u_1", 422),
        ("agent:nobody", 404),
        ("agent:", 404),
        ("matrix:@a:hs", 422),
        ("scribe", 422),
        ("u_2", 422),
        ("", 422),
    ],
)
async def test_chats_with_others_are_refused(city: InProcessCity, other: str, status: int) -> None:
    assert (await city.call("POST", "/city/direct", {"with": other}, token=OKSANA)).status == status


async def test_only_citizens_have_direct_chats(city: InProcessCity) -> None:
    for token, status in ((None, 401), (await city.agent_token("scribe"), 403)):
        assert (await city.call("POST", "/city/direct", WITH_TARAS, token=token)).status == status
        assert (await city.call("GET", "/city/direct", token=token)).status == status
    assert (await city.call("PUT", "/city/me/blocks/u_999", token=OKSANA)).status == 404


async def test_linked_person_is_shown_by_the_account(city: InProcessCity) -> None:
    async with city.city.database.transaction() as tx:
        await tx.accounts.link(LinkedAccount(CitizenId("u_2"), UserId("@taras:hs"), "Taras"), now_ms=1)
    await city.city.account_cache.load()
    chat = await open_chat(city)
    assert (chat["subject"], chat["citizen"]["display_name"]) == ("@taras:hs", "Taras")


# --- with agents --------------------------------------------------------------------------------------


async def open_agent_chat(city: InProcessCity, token: str = OKSANA, status: int = 201) -> dict[str, Any]:
    answer = await city.call("POST", "/city/direct", {"with": "agent:scribe"}, token=token)
    assert answer.status == status, answer
    content: dict[str, Any] = answer.content
    return content


async def test_chat_with_agent_is_one_for_a_citizen(city: InProcessCity) -> None:
    chat = await open_agent_chat(city)
    assert (chat["subject"], chat["citizen"]["kind"], chat["citizen"]["display_name"]) == (
        "agent:scribe",
        "agent",
        "Писар",
    )
    assert (await open_agent_chat(city, status=200))["id"] == chat["id"]
    assert (await open_agent_chat(city, TARAS))["id"] != chat["id"]
    assert [each["id"] for each in await city.get("/city/direct", token=OKSANA)] == [chat["id"]]
    assert (await city.get("/city/people/agent:scribe", token=OKSANA))["may_message"] is True
    assert (await city.get("/city/people/agent:scribe"))["may_message"] is False


async def test_agent_is_asked_about_each_message(city: InProcessCity) -> None:
    chat = (await open_agent_chat(city))["id"]
    await say(city, chat, "як справи?", OKSANA)
    async with city.city.database.read_only() as tx:
        (pending,) = await tx.agent_replies.due(now_ms=10**15, limit=9)
        request = await read_pending_request(tx, city.city.agents, pending)
    assert request is not None
    assert (pending.agent, request.has_other_readers) == ("scribe", False)
    assert (request.agent_request().kind, request.agent_request().room) == (RequestKind.DIRECT, None)
    # Its own messages ask nobody, and are unread messages of the citizen.
    await say(city, chat, "добре", await city.agent_token("scribe"))
    async with city.city.database.read_only() as tx:
        assert len(await tx.agent_replies.due(now_ms=10**15, limit=9)) == 1
    (listed,) = await city.get("/city/direct", token=OKSANA)
    assert (listed["unread"], listed["last_message"]["text"]) == (1, "добре")


async def test_agent_chat_is_hidden_from_everybody_else(city: InProcessCity) -> None:
    chat = (await open_agent_chat(city))["id"]
    await say(city, chat, "таємниця", OKSANA)
    other_agent = await city.agent_token("daarwizz")
    for token in (None, TARAS, STRANGER, other_agent):
        for path in ("", "/messages", "/receipts", "/threads"):
            assert (await city.call("GET", f"/city/rooms/{chat}{path}", token=token)).status == 404, (token, path)
        for method, path, content in (
            ("POST", "/messages", {"body": "я тут"}),
            ("POST", "/join", {}),
            ("PUT", "/typing", {"typing": True}),
        ):
            answer = await city.call(method, f"/city/rooms/{chat}{path}", content, token=token)
            assert answer.status in {401, 403, 404}, (token, path, answer)
        url = f"http://{HOST}:{city.city.settings.api.port}/ws/city/rooms/{chat}"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await city.session.ws_connect(url, headers={"Authorization": f"Bearer {token}"} if token else {})
        assert refused.value.status == 404
        assert "таємниця" not in str(await city.get("/city/feed?limit=100", token=token))
        assert chat not in str(await city.get("/city/rooms?limit=500", token=token))
    assert "agent:scribe" not in str(await city.get("/city/direct", token=STRANGER))


async def test_erasure_deletes_chats_with_agents(city: InProcessCity) -> None:
    chat = (await open_agent_chat(city))["id"]
    person = DataSubject(citizen=CitizenId("u_1"), ghosts=(UserId("@citizen_u_1:city.localhost"),))
    async with city.city.database.read_only() as tx:
        assert [room.id for room in await tx.erasing.abandoned_chats(person)] == [chat]
        assert await tx.erasing.abandoned_chats(DataSubject(citizen=CitizenId("u_2"))) == []
