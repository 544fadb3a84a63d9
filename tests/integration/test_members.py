"""Tests of joins and leaves of rooms by the city, and of the routes of members."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from daarion_appservice.city.events import (
    CityEvent,
    LocalUserRead,
    LocalUserTyping,
    MembershipChanged,
)
from daarion_appservice.city.feed_entries import FeedKind
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    Member,
    OutboxKind,
    UserId,
)
from daarion_appservice.errors import Conflict, HomeserverRefused, NotFound
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.reconcile.matrix_members import MatrixMembers
from daarion_appservice.storage.tables import rooms as room_table
from tests.parts.city import citizen_token
from tests.parts.frames import next_frame
from tests.parts.in_process_city import InProcessCity, in_process_city
from tests.parts.memberships import (
    ALICE,
    GENERAL,
    GHOST,
    JOIN,
    LEAVE,
    OKSANA,
    SCRIBE,
    SCRIBES_GHOST,
    TARAS,
    MembershipHarness,
    open_memberships,
)
from tests.parts.messaging import IDENTITIES

BOB, EVE = UserId("@bob:city.localhost"), UserId("@eve:city.localhost")
TARAS_GHOST = UserId("@citizen_u_2:city.localhost")


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[MembershipHarness]:
    async with open_memberships(database_url) as harness:
        yield harness


# --- coming and going, as the city says ---------------------------------------------------------------


async def test_join_is_recorded_and_queued(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")

    assert await harness.members() == {GHOST: "Оксана"}
    assert MembershipChanged(GENERAL, OKSANA.subject, joined=True) in harness.published
    assert await harness.history() == [(JOIN, "u_1")]
    assert await harness.outbox_kinds() == [OutboxKind.JOIN]
    async with harness.database.read_only() as tx:
        (entry, *_) = await tx.feed.before(None, limit=9)
    assert (entry.kind, entry.actor) == (FeedKind.MEMBER_JOINED, OKSANA)

    await harness.desk.membership.join(OKSANA, GENERAL)
    assert await harness.history() == [(JOIN, "u_1")]
    assert await harness.outbox_kinds() == [OutboxKind.JOIN], "to join twice is to join"


async def test_leave_is_recorded_also_for_non_member(harness: MembershipHarness) -> None:
    await harness.desk.membership.leave(OKSANA, "general")
    assert await harness.outbox_kinds() == []
    await harness.desk.membership.join(OKSANA, "general")
    await harness.post(OKSANA)
    await harness.desk.membership.leave(OKSANA, "general")

    assert await harness.members() == {}
    assert await harness.history() == [(JOIN, "u_1"), (LEAVE, "u_1")]
    assert MembershipChanged(GENERAL, OKSANA.subject, joined=False) in harness.published
    assert await harness.outbox_kinds() == [OutboxKind.MESSAGE, OutboxKind.LEAVE], (
        "the newest wish, after what was said before"
    )


async def test_older_matrix_state_does_not_undo_city_change(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.receive_member(GHOST, "leave")
    assert await harness.members() == {GHOST: "Оксана"}
    await harness.desk.membership.leave(OKSANA, "general")
    await harness.receive_member(GHOST, "join", displayname="Оксана")
    assert await harness.members() == {}
    await harness.clear_outbox()
    await harness.receive_member(GHOST, "leave")
    assert await harness.history() == [(JOIN, "u_1"), (LEAVE, "u_1")], "each is written once"


async def test_member_list_does_not_remove_pending_join(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.receive_member(ALICE, "join", displayname="Alice")
    async with harness.database.transaction() as tx:
        members = [Member(GENERAL, UserId("@bob:city.localhost"), "Bob")]
        await harness.desk.members.replace_members(tx, GENERAL, members)
    assert set(await harness.members()) == {GHOST, "@bob:city.localhost"}
    await harness.clear_outbox()
    async with harness.database.transaction() as tx:
        await harness.desk.members.replace_members(tx, GENERAL, members, moving={GHOST})
    assert GHOST in await harness.members(), "it was on its way when the list was asked for"
    async with harness.database.transaction() as tx:
        await harness.desk.members.replace_members(tx, GENERAL, members)
    assert GHOST not in await harness.members()


def matrix_members(harness: MembershipHarness, homeserver: AsyncMock, ghosts: AsyncMock) -> MatrixMembers:
    return MatrixMembers(
        homeserver, harness.database, IDENTITIES, ghosts, harness.desk.members, harness.published.append
    )


async def test_ghosts_left_behind_by_an_upgrade_stay_members(harness: MembershipHarness) -> None:
    await harness.set_columns(matrix_room_id="!upgraded")
    for user in (GHOST, TARAS_GHOST, SCRIBES_GHOST):
        await harness.receive_member(user, "join", displayname="Ghost")
    homeserver, ghosts = AsyncMock(spec=Homeserver), AsyncMock(spec=Ghosts)
    homeserver.joined_members.return_value = {ALICE: {"display_name": "Alice"}}
    # Taras left, in a way that no event reported; the others never were in the new room.
    ghosts.is_newcomer.side_effect = lambda user, _: user != TARAS_GHOST
    ghosts.join.side_effect = HomeserverRefused(403, "M_FORBIDDEN", "You don't have permission to invite users")
    members = matrix_members(harness, homeserver, ghosts)
    async with harness.database.read_only() as tx:
        room = await tx.rooms.get(GENERAL)
    assert room is not None

    await members.update(room)
    assert set(await harness.members()) == {ALICE, GHOST, SCRIBES_GHOST}
    assert ghosts.join.await_count == 1, "the bot may invite none of them"

    ghosts.join.side_effect = None
    await members.update(room)
    assert {call.args for call in ghosts.join.await_args_list} == {(GHOST, "!upgraded"), (SCRIBES_GHOST, "!upgraded")}


async def test_events_handled_after_request_of_members_win(harness: MembershipHarness) -> None:
    await harness.set_columns(matrix_room_id="!general")
    for user in (ALICE, BOB, "@dara:city.localhost"):
        await harness.receive_member(user, "join", displayname="Old")
    homeserver = AsyncMock(spec=Homeserver)

    async def answers(*_: Any, **__: Any) -> dict[str, Any]:
        # The events come after the list was made, and are handled before it is stored.
        await harness.receive_member(ALICE, "leave")
        await harness.receive_member(BOB, "join", displayname="New")
        await harness.receive_member(GHOST, "join", displayname="Оксана")
        return {ALICE: {"display_name": "Old"}, BOB: {"display_name": "Old"}, EVE: {"display_name": "Eve"}}

    homeserver.joined_members.side_effect = answers
    members = matrix_members(harness, homeserver, AsyncMock(spec=Ghosts))
    async with harness.database.read_only() as tx:
        room = await tx.rooms.get(GENERAL)
    assert room is not None
    await members.update(room)
    assert await harness.members() == {BOB: "New", GHOST: "Оксана", EVE: "Eve"}, "and the member without an event left"

    homeserver.joined_members.side_effect = None
    homeserver.joined_members.return_value = {GHOST: {"display_name": "Оксана"}}
    await members.update(room)
    assert await harness.members() == {GHOST: "Оксана"}, "nothing has changed since this request"


async def test_agent_leaves_unassigned_rooms_only(harness: MembershipHarness) -> None:
    visitor = Author(AuthorKind.AGENT, "visitor", "Гість")
    await harness.desk.membership.join(visitor, "general")
    await harness.desk.membership.leave(visitor, "general")
    assert await harness.history() == [(JOIN, "visitor"), (LEAVE, "visitor")]

    await harness.desk.membership.join(SCRIBE, "general")
    with pytest.raises(Conflict, match="assigns the room general") as raised:
        await harness.desk.membership.leave(SCRIBE, "general")
    assert raised.value.code == "room_assigned_to_agent"
    assert SCRIBES_GHOST in await harness.members()


async def test_unknown_or_archived_room_is_not_joined(harness: MembershipHarness) -> None:
    for ask in (harness.desk.membership.join, harness.desk.membership.leave):
        with pytest.raises(NotFound):
            await ask(OKSANA, "nowhere")
    await harness.desk.membership.join(OKSANA, "general")
    async with harness.database.transaction() as tx:
        await tx.connection.execute(room_table.update().values(archived=True))
    with pytest.raises(Conflict):
        await harness.desk.membership.join(TARAS, "general")
    await harness.desk.membership.leave(OKSANA, "general")
    assert await harness.members() == {}, "anybody may leave an archive"


# --- over HTTP ----------------------------------------------------------------------------------------


async def test_the_routes_of_members(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url) as city:
        token = citizen_token("u_1", "Оксана")
        published: list[CityEvent] = []
        city.city.bus.subscribe(LocalUserRead, published.append)
        city.city.bus.subscribe(LocalUserTyping, published.append)
        await _beat(city, token)

        for _ in range(2):
            joined = await city.call("POST", "/city/rooms/general/join", token=token)
            assert (joined.status, joined.content) == (
                200,
                {"room_id": "city_general", "joined": True, "members_online": 1},
            )
        (member,) = (await city.get("/city/rooms/general"))["online_members"]
        assert (member["id"], member["display_name"]) == ("u_1", "Оксана")

        posted = await city.call("POST", "/city/rooms/general/messages", {"body": "Привіт"}, token=token)
        read = {"message_id": posted.content["id"]}
        answer = await city.call("PUT", "/city/rooms/general/read", read, token=token)
        assert (answer.status, answer.content) == (204, "")
        author = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
        assert published == [LocalUserRead(GENERAL, author, posted.content["id"], posted.content["seq"])]
        for room, message, code in (
            ("general", "nothing", "no_such_message"),
            ("nowhere", posted.content["id"], "no_such_room"),
            ("builders", posted.content["id"], "no_such_message"),
        ):
            answer = await city.call("PUT", f"/city/rooms/{room}/read", {"message_id": message}, token=token)
            assert (answer.status, answer.content["code"]) == (404, code)

        left = await city.call("POST", "/city/rooms/city_general/leave", token=token)
        assert left.content == {"room_id": "city_general", "joined": False, "members_online": 0}
        assert (await city.call("POST", "/city/rooms/general/join")).status == 401
        home = await city.call("POST", "/city/rooms/builders/leave", token=await city.agent_token("scribe"))
        assert (home.status, home.content["code"]) == (409, "room_assigned_to_agent")


async def _beat(city: InProcessCity, token: str) -> None:
    url = f"http://127.0.0.1:{city.city.settings.api.port}/ws/city/presence?token={token}"
    async with city.session.ws_connect(url) as socket:
        await next_frame(socket)
        await socket.send_json({"event": "presence.heartbeat", "user_id": "u_1"})
        assert (await next_frame(socket))["status"] == "online"
