"""Tests of presence, members, receipts and names of persons who are linked with a Matrix account."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from sqlalchemy import select

from daarion_appservice.city.presence import Status
from daarion_appservice.city.receipts import ReadPosition, ReceiptKey
from daarion_appservice.city.types import SubjectId
from daarion_appservice.storage import tables
from tests.parts.city import citizen_token, eventually
from tests.parts.frames import next_frame
from tests.parts.in_process_city import in_process_city
from tests.parts.linked_person import FACE, ROOM, Town, open_town
from tests.parts.ports import HOST
from tests.parts.private_room import ALICE, GENERAL, OKSANA, OKSANA_GHOST, TARAS


@pytest.fixture
async def town(database_url: str) -> AsyncIterator[Town]:
    async with open_town(database_url) as town:
        yield town


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
        first = await next_frame(socket)
        # The first change of a subject waits until the subject's name is read: it follows the snapshot then.
        users = first["users"] or [await next_frame(socket)]
        assert [each["user_id"] for each in users] == ["u_1"]
        await town.link()
        updates = [await next_frame(socket) for _ in range(2)]
        assert {(each["user_id"], each["status"]) for each in updates} == {("u_1", "offline"), (ALICE, "online")}
        await town.beat("away")
        update = await next_frame(socket)
        assert (update["user_id"], update["status"]) == (ALICE, "away")
    async with town.city.session.ws_connect(url) as socket:
        assert [each["user_id"] for each in (await next_frame(socket))["users"]] == [ALICE]


async def test_room_socket_names_only_the_person(town: Town) -> None:
    await town.link()
    url = f"ws://{HOST}:{town.city.city.settings.api.port}/ws/city/rooms/general"
    async with town.city.session.ws_connect(url) as socket:
        await town.city.call("PUT", f"{ROOM}/typing", {"typing": True}, token=OKSANA)
        await town.post("привіт")
        frames = [await next_frame(socket) for _ in range(3)]
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
    me = await town.city.get("/city/me", token=OKSANA)
    assert (me["subject"], me["ghost_user_id"]) == ("u_1", "@citizen_u_1:city.localhost")
    await town.link()
    assert (await town.city.get("/city/me", token=OKSANA))["subject"] == ALICE
    assert (await town.city.get("/city/me", token=citizen_token("u_9", "Ще")))["subject"] == "u_9"
