"""Tests of persons who are linked with a Matrix account: the city shows them as that Matrix user everywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select

from daarion_appservice.city.presence import PresenceState, RemotePresence, Status
from daarion_appservice.city.receipts import ReadPosition, ReceiptKey
from daarion_appservice.city.types import MatrixRoomId, OutboxKind, SubjectId
from daarion_appservice.storage import tables
from tests.parts.city import citizen_token, eventually
from tests.parts.in_process_city import in_process_city
from tests.parts.ports import HOST
from tests.parts.private_room import ALICE, GENERAL, MATRIX_ROOM, OKSANA, OKSANA_GHOST, TARAS, PrivateRoom
from tests.parts.scripted_homeserver import Reply, ScriptedHomeserver
from tests.parts.waiting import WAIT_S

ROOM = "/city/rooms/general"
TOGETHER = {"kind": "matrix", "id": ALICE, "matrix_user_id": ALICE, "display_name": "Alice"}
FACE = "mxc://city.localhost/alice"


@dataclass
class Town(PrivateRoom):
    """A room with Alice, whom Oksana's citizen may be linked with."""

    homeserver: ScriptedHomeserver | None = None

    async def link(self, token: str = OKSANA, user: str = ALICE) -> None:
        assert self.homeserver is not None
        self.homeserver.next("openid", Reply(200, {"sub": user}))
        self.homeserver.next("profile_of", Reply(200, {"displayname": "Alice", "avatar_url": FACE}))
        nonce = (await self.city.call("POST", "/city/sign-in/nonce")).content["nonce"]
        proof = {"access_token": f"token {nonce}", "matrix_server_name": "city.localhost", "nonce": nonce}
        answer = await self.city.call("PUT", "/city/me/matrix", proof, token=token)
        assert answer.status == 200, answer

    async def unlink(self) -> None:
        assert (await self.city.call("DELETE", "/city/me/matrix", token=OKSANA)).status == 204

    async def post(self, body: str, token: str = OKSANA) -> Any:
        answer = await self.city.call("POST", f"{ROOM}/messages", {"body": body}, token=token)
        assert answer.status == 201, answer
        return answer.content

    async def join(self) -> None:
        assert (await self.city.call("POST", f"{ROOM}/join", token=OKSANA)).status == 200

    async def messages(self) -> list[Any]:
        return list(await self.city.get(f"{ROOM}/messages"))

    async def call(self, method: str, path: str, content: Any = ..., token: str = OKSANA) -> tuple[int, Any]:
        answer = await self.city.call(method, f"{ROOM}/messages/{path}", content, token=token)
        return answer.status, answer.content

    async def beat(self, status: str = "online") -> Any:
        answer = await self.city.call("POST", "/api/v1/presence/heartbeat", {"status": status}, token=OKSANA)
        return answer.content

    async def set_on_matrix(self, status: Status) -> None:
        presence = self.city.city.presence
        await presence.set_remote([RemotePresence(SubjectId(ALICE), PresenceState(status), "homeserver")])

    async def online(self) -> list[tuple[str, str]]:
        members = (await self.city.get(ROOM))["online_members"]
        return [(each["id"], each["display_name"]) for each in members]


@pytest.fixture
async def town(database_url: str) -> AsyncIterator[Town]:
    homeserver = ScriptedHomeserver()
    async with homeserver.serving(), in_process_city(database_url, homeserver={"address": homeserver.url}) as city:
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.link(GENERAL, MatrixRoomId(MATRIX_ROOM))
        yield Town(city, homeserver=homeserver)


def of(message: Any) -> dict[str, Any]:
    return {key: message["author"][key] for key in TOGETHER}


# --- messages -----------------------------------------------------------------------------------------


async def test_linked_citizen_writes_as_matrix_user(town: Town) -> None:
    await town.link()
    assert of(await town.post("зі сторінки")) == TOGETHER
    await town.receive_text("з Element")
    assert [each["author"]["id"] for each in await town.messages()] == [ALICE, ALICE]
    assert "/alice" in (await town.messages())[0]["author"]["avatar_url"]


async def test_link_and_unlink_change_earlier_messages(town: Town) -> None:
    await town.post("до того")
    await town.receive_text("з Element")
    before = await town.messages()
    await town.link()
    assert [each["author"]["id"] for each in await town.messages()] == [ALICE, ALICE]
    await town.post("разом")
    await town.unlink()
    assert [each["author"]["id"] for each in await town.messages()] == ["u_1", ALICE, "u_1"]
    assert (await town.messages())[:2] == before


async def test_feed_and_threads_name_the_matrix_user(town: Town) -> None:
    root = await town.post("корінь")
    answer = {"body": "у гілці", "thread_root": root["id"]}
    await town.city.call("POST", f"{ROOM}/messages", answer, token=OKSANA)
    await town.link()
    assert {each["actor"]["id"] for each in await town.city.get("/city/feed") if each["actor"]} == {ALICE}
    (thread,) = await town.city.get(f"{ROOM}/threads")
    assert [each["id"] for each in thread["thread"]["authors"]] == [ALICE]


async def test_message_of_other_subject_is_own(town: Town) -> None:
    await town.link()
    await town.receive_text("з Element")
    (message,) = await town.messages()
    status, problem = await town.call("PATCH", message["id"], {"body": "інакше"})
    assert (status, problem["code"]) == (409, "sent_on_matrix")
    assert (await town.call("PATCH", message["id"], {"body": "чуже"}, token=TARAS))[1]["code"] == "not_yours"
    assert (await town.call("DELETE", message["id"], token=TARAS))[0] == 403
    status, deleted = await town.call("DELETE", message["id"])
    assert (status, deleted["deleted"]) == (200, True)


async def test_own_message_is_edited_after_link(town: Town) -> None:
    message = await town.post("до того")
    await town.link()
    status, edited = await town.call("PATCH", message["id"], {"body": "після"})
    assert (status, edited["body"], of(edited)) == (200, "після", TOGETHER)


async def test_mentions_of_both_subjects_are_one(town: Town) -> None:
    await town.link()
    message = await town.post(f"{ALICE} і {OKSANA_GHOST}", TARAS)
    assert message["mentions"] == [ALICE]


async def test_unread_counts_no_message_of_other_subject(town: Town) -> None:
    await town.receive_text("з Element")
    await town.post("від іншого", TARAS)
    path = "/city/me/unread?since=city_general:0"
    assert [each["count"] for each in await town.city.get(path, token=OKSANA)] == [2]
    await town.link()
    assert [each["count"] for each in await town.city.get(path, token=OKSANA)] == [1]


# --- reactions and votes ------------------------------------------------------------------------------


async def react_on_matrix(town: Town, message: Any) -> None:
    relation = {"rel_type": "m.annotation", "event_id": message["matrix_event_id"], "key": "👍"}
    await town.receive("m.reaction", {"m.relates_to": relation})


async def tally(town: Town) -> list[tuple[int, list[str]]]:
    (message,) = await town.messages()
    return [(each["count"], each["by"]) for each in message["reactions"]]


async def test_reactions_of_both_subjects_count_once(town: Town) -> None:
    await town.receive_text("думка", sender="@bob:city.localhost")
    (message,) = await town.messages()
    await town.call("PUT", f"{message['id']}/reactions/{quote('👍')}")
    await react_on_matrix(town, message)
    assert await tally(town) == [(2, ["u_1", ALICE])]
    await town.link()
    assert await tally(town) == [(1, [ALICE])]
    async with town.city.city.database.read_only() as tx:
        (count,) = await tx.reactions.counts(message["id"])
    assert count.count == 1, "more people react than the page names"
    await town.unlink()
    assert await tally(town) == [(2, ["u_1", ALICE])]


async def test_linked_citizen_adds_no_second_reaction(town: Town) -> None:
    await town.link()
    await town.receive_text("думка", sender="@bob:city.localhost")
    (message,) = await town.messages()
    await react_on_matrix(town, message)
    await town.call("PUT", f"{message['id']}/reactions/{quote('👍')}")
    assert await tally(town) == [(1, [ALICE])]
    await town.call("DELETE", f"{message['id']}/reactions/{quote('👍')}")
    assert await tally(town) == []


async def test_removal_removes_reactions_of_both_subjects(town: Town) -> None:
    await town.receive_text("думка", sender="@bob:city.localhost")
    (message,) = await town.messages()
    await town.call("PUT", f"{message['id']}/reactions/{quote('👍')}")
    await react_on_matrix(town, message)
    await town.link()
    await town.call("DELETE", f"{message['id']}/reactions/{quote('👍')}")
    assert await tally(town) == []
    async with town.city.city.database.read_only() as tx:
        kinds = list(await tx.connection.scalars(select(tables.outbox.c.kind)))
    assert kinds.count(OutboxKind.UNREACT) == 2


async def test_newest_vote_of_both_subjects_counts(town: Town) -> None:
    poll = {"question": "Куди?", "options": ["ліс", "море"]}
    message = (await town.city.call("POST", f"{ROOM}/messages", {"poll": poll}, token=TARAS)).content
    async with town.city.city.database.transaction() as tx:
        await tx.messages.mark_sent(message["id"], "$poll")  # type: ignore[arg-type]
    await town.call("POST", f"{message['id']}/votes", {"selections": ["1"]})
    relation = {"rel_type": "m.reference", "event_id": "$poll"}
    vote = {"org.matrix.msc3381.poll.response": {"answers": ["2"]}, "m.relates_to": relation}
    await town.receive("org.matrix.msc3381.poll.response", vote, origin_server_ts=1_800_000_000_000)

    async def votes() -> list[int]:
        (shown,) = await town.messages()
        return [option["votes"] for option in shown["poll"]["options"]]

    assert sum(await votes()) == 2
    await town.link()
    assert sum(await votes()) == 1
    await town.unlink()
    assert sum(await votes()) == 2


# --- bans ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [ALICE, OKSANA_GHOST])
async def test_ban_of_either_subject_binds_the_person(town: Town, user: str) -> None:
    await town.receive_text("думка", sender="@bob:city.localhost")
    (message,) = await town.messages()
    await town.join()
    await town.member(ALICE, "join")
    await town.link()
    moderated = {"state_key": user, "sender": "@moderator:city.localhost"}
    await town.receive("m.room.member", {"membership": "ban", "reason": "шум"}, **moderated)
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/messages", {"body": "ще"}),
        ("PUT", f"/messages/{message['id']}/reactions/{quote('👍')}", ...),
        ("POST", "/join", ...),
        ("PUT", "/typing", {"typing": True}),
        ("PUT", "/read", {"message_id": message["id"]}),
    ]
    for method, path, content in requests:
        answer = await town.city.call(method, ROOM + path, content, token=OKSANA)
        assert (answer.status, answer.content["code"]) == (403, "banned"), path
    assert (await town.city.get(ROOM, token=OKSANA))["removal"] == {"kind": "banned", "reason": "шум"}
    await town.receive("m.room.member", {"membership": "leave"}, **moderated)
    assert (await town.city.get(ROOM, token=OKSANA))["removal"] is None
    await town.post("знову")


# --- presence and members -----------------------------------------------------------------------------


async def test_person_has_one_presence(town: Town) -> None:
    await town.link()
    await town.join()
    assert (await town.beat())["status"] == "online"
    listed = (await town.city.get(f"/api/v1/presence?ids=u_1,{ALICE}"))["presences"]
    by_post = await town.city.call("POST", "/api/v1/presence", {"ids": ["u_1", ALICE]})
    names = [(each["user_id"], each["status"]) for each in by_post.content["presences"]]
    assert names == [(each["user_id"], each["status"]) for each in listed]
    assert [(each["user_id"], each["status"]) for each in listed] == [("u_1", "online"), (ALICE, "online")]
    assert await town.online() == [(ALICE, "Alice")]
    await town.set_on_matrix(Status.ONLINE)
    summary = await town.city.get("/api/v1/presence/summary")
    assert (summary["online"]["total"], summary["online"]["people"]) == (1, 1)
    await town.beat("offline")
    assert (await town.city.get("/api/v1/presence/summary"))["online"]["total"] == 1
    await town.set_on_matrix(Status.OFFLINE)
    assert (await town.city.get("/api/v1/presence/summary"))["online"]["total"] == 0


async def test_link_merges_members_and_presence(town: Town) -> None:
    await town.join()
    await town.member(ALICE, "join")
    await town.beat()
    await town.set_on_matrix(Status.ONLINE)
    assert {each for each, _ in await town.online()} == {"u_1", ALICE}
    await town.link()
    assert await town.online() == [(ALICE, "Alice")]
    assert (await town.city.get(ROOM))["members_online"] == 1
    await town.unlink()
    assert {each for each, _ in await town.online()} == {"u_1", ALICE}
    assert (await town.city.get(ROOM))["members_online"] == 2


async def test_presence_socket_names_only_the_person(town: Town) -> None:
    url = f"ws://{HOST}:{town.city.city.settings.api.port}/ws/city/presence?token={OKSANA}"
    await town.beat()
    async with town.city.session.ws_connect(url) as socket:
        assert [each["user_id"] for each in (await socket.receive_json(timeout=WAIT_S))["users"]] == ["u_1"]
        await town.link()
        updates = [await socket.receive_json(timeout=WAIT_S) for _ in range(2)]
        assert {(each["user_id"], each["status"]) for each in updates} == {("u_1", "offline"), (ALICE, "online")}
        await town.beat("away")
        update = await socket.receive_json(timeout=WAIT_S)
        assert (update["user_id"], update["status"]) == (ALICE, "away")
    async with town.city.session.ws_connect(url) as socket:
        assert [each["user_id"] for each in (await socket.receive_json(timeout=WAIT_S))["users"]] == [ALICE]


async def test_room_socket_names_only_the_person(town: Town) -> None:
    await town.link()
    url = f"ws://{HOST}:{town.city.city.settings.api.port}/ws/city/rooms/general"
    async with town.city.session.ws_connect(url) as socket:
        await town.city.call("PUT", f"{ROOM}/typing", {"typing": True}, token=OKSANA)
        await town.post("привіт")
        frames = [await socket.receive_json(timeout=WAIT_S) for _ in range(3)]
    assert OKSANA_GHOST not in json.dumps(frames)
    assert '"u_1"' not in json.dumps(frames)
    assert {"event": "city.room.typing", "room_id": "city_general", "typing": [ALICE]} in frames


async def test_no_route_names_both_subjects(town: Town) -> None:
    await town.link()
    await town.member(ALICE, "join")
    await town.receive_text("з Element")
    await town.join()
    message = await town.post(f"зі сторінки, {ALICE}")
    await town.call("PUT", f"{message['id']}/reactions/{quote('👍')}")
    await town.beat()
    await town.set_on_matrix(Status.AWAY)
    paths = [ROOM, f"{ROOM}/messages", "/city/feed", "/city/home", f"{ROOM}/threads", "/api/v1/presence/summary"]
    for path in paths:
        shown = json.dumps(await town.city.get(path, token=TARAS))
        assert '"u_1"' not in shown, path
        assert OKSANA_GHOST not in shown, path


async def test_person_has_one_receipt(town: Town) -> None:
    await town.join()
    first, second = [await town.post(body, TARAS) for body in ("раз", "два")]
    await town.member(ALICE, "join")
    for message, reader in (second, "u_1"), (first, ALICE):
        position = ReadPosition(message["id"], message["seq"], 1)
        async with town.city.city.database.transaction() as tx:
            await tx.receipts.advance({ReceiptKey(GENERAL, SubjectId(reader)): position})
    assert len(await town.city.get(f"{ROOM}/receipts")) == 2
    await town.link()
    (receipt,) = await town.city.get(f"{ROOM}/receipts")
    assert (receipt["user_id"], receipt["reader"]["id"], receipt["message_id"]) == (ALICE, ALICE, second["id"])


async def test_receipt_of_person_never_moves_back(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    await town.link()
    await town.join()
    first, second = [await town.post(body, TARAS) for body in ("раз", "два")]
    writer = town.city.city.receipt_writer
    monkeypatch.setattr(writer, "_tick_s", 0.01)
    for message, reader in (second, "u_1"), (first, ALICE):
        key = ReceiptKey(GENERAL, SubjectId(reader))
        writer.add(key, ReadPosition(message["id"], message["seq"], 1))
    running = asyncio.create_task(writer.run())

    async def is_stored() -> bool:
        async with town.city.city.database.read_only() as tx:
            rows = await tx.connection.execute(select(tables.read_receipts.c.reader, tables.read_receipts.c.message_id))
            return [tuple(row) for row in rows] == [(ALICE, second["id"])]

    try:
        await eventually(is_stored, explain=lambda: "the receipts differ")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_name_on_matrix_changes_authors(town: Town) -> None:
    await town.link()
    await town.post("привіт")
    profile = {"membership": "join", "displayname": "Аліса", "avatar_url": FACE}
    await town.receive("m.room.member", profile, state_key=ALICE)
    await town.city.city.account_cache.load()
    (message,) = await town.messages()
    assert message["author"]["display_name"] == "Аліса"


async def test_name_in_private_room_stays_there(town: Town) -> None:
    await town.link()
    await town.post("привіт")
    await town.set_visibility("joined")
    await town.receive("m.room.member", {"membership": "join", "displayname": "Таємне ім'я"}, state_key=ALICE)
    await town.city.city.account_cache.load()
    await town.set_visibility("world_readable", "public")
    (message,) = await town.messages()
    assert message["author"]["display_name"] == "Alice"


async def test_other_process_learns_of_link(town: Town, database_url: str) -> None:
    await town.post("привіт")
    async with in_process_city(database_url) as other:
        assert (await other.get(f"{ROOM}/messages"))[0]["author"]["id"] == "u_1"
        await town.link()
        await other.city.account_cache.load()
        assert (await other.get(f"{ROOM}/messages"))[0]["author"]["id"] == ALICE


async def test_me_names_the_self(town: Town) -> None:
    assert (await town.city.get("/city/me", token=OKSANA))["subject"] == "u_1"
    await town.link()
    assert (await town.city.get("/city/me", token=OKSANA))["subject"] == ALICE
    assert (await town.city.get("/city/me", token=citizen_token("u_9", "Ще")))["subject"] == "u_9"


# --- moderation ---------------------------------------------------------------------------------------

MODERATOR = "@olena:city.localhost"


async def moderate(town: Town, user: str, membership: str) -> None:
    content = {"membership": membership, "reason": "шум"}
    await town.receive("m.room.member", content, state_key=user, sender=MODERATOR)


async def writes(town: Town) -> dict[str, str | int]:
    """Return the results of all ways to write, by the way."""
    message = (await town.messages())[0]["id"]
    post = await town.city.call("POST", f"{ROOM}/messages", {"body": "ще"}, token=OKSANA)
    calls = {
        "message": (post.status, post.content),
        "reaction": await town.call("PUT", f"{message}/reactions/{quote('👍')}"),
        "edit": await town.call("PATCH", message, {"body": "інакше"}),
    }
    return {way: content["code"] if status >= 400 else status for way, (status, content) in calls.items()}


@pytest.mark.parametrize(("membership", "code"), [("ban", "banned"), ("leave", "kicked")])
@pytest.mark.parametrize("links_first", [True, False])
async def test_removal_of_matrix_user_binds_citizen(town: Town, membership: str, code: str, links_first: bool) -> None:
    await town.join()
    await town.post("до того")
    await town.member(ALICE, "join")
    if links_first:
        await town.link()
    await moderate(town, ALICE, membership)
    if not links_first:
        await town.link()
    assert await writes(town) == {"message": code, "reaction": code, "edit": code}
    room = await town.city.get(ROOM, token=OKSANA)
    assert (room["removal"]["kind"], room["removal"]["reason"]) == (code, "шум")

    joined = await town.city.call("POST", f"{ROOM}/join", token=OKSANA)
    assert joined.status == (403 if code == "banned" else 200)
    if code == "kicked":
        assert "kicked" not in (await writes(town)).values()
        assert (await town.city.get(ROOM, token=OKSANA))["removal"] is None


async def test_withdrawn_invitation_of_matrix_user_binds_nobody(town: Town) -> None:
    await town.post("до того")
    await town.link()
    await moderate(town, ALICE, "invite")
    await moderate(town, ALICE, "leave")
    assert "kicked" not in (await writes(town)).values()


async def test_lifted_ban_of_matrix_user_frees_citizen(town: Town) -> None:
    await town.post("до того")
    await town.link()
    await moderate(town, ALICE, "ban")
    await moderate(town, ALICE, "leave")
    assert "banned" not in (await writes(town)).values()


async def test_unlink_ends_ban_by_account_only(town: Town) -> None:
    await town.post("до того")
    await moderate(town, ALICE, "ban")
    await town.link()
    await town.unlink()
    assert "banned" not in (await writes(town)).values()
    await moderate(town, OKSANA_GHOST, "ban")
    await town.link()
    assert set((await writes(town)).values()) == {"banned"}


async def test_muted_matrix_user_is_muted_as_citizen(town: Town) -> None:
    await town.post("до того")
    await town.link()
    levels = {"users": {ALICE: -1}, "events_default": 0}
    await town.receive("m.room.power_levels", levels, state_key="", sender=MODERATOR)
    assert (await writes(town))["message"] == "muted"
    await town.unlink()
    assert (await writes(town))["message"] == 201


async def test_person_in_both_ways_has_one_join_entry(town: Town) -> None:
    await town.link()
    await town.member(ALICE, "join")
    await town.join()
    joined = [entry for entry in await town.city.get("/city/feed") if entry["kind"] == "member_joined"]
    assert [entry["actor"]["id"] for entry in joined] == [ALICE]
    assert (await town.city.get(ROOM))["members_online"] <= 1
