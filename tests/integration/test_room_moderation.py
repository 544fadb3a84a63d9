"""Tests of kicks, bans, pins and settings of rooms from the city, with the requests to the homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from daarion_appservice.city.types import MatrixRoomId, MatrixStatus
from daarion_appservice.storage import tables
from tests.parts.city import ADMIN_TOKEN
from tests.parts.in_process_city import in_process_city
from tests.parts.linked_person import ROOM, Town
from tests.parts.private_room import ADMIN, ALICE, GENERAL, MATRIX_ROOM, OKSANA, OKSANA_GHOST, TARAS, TARAS_GHOST
from tests.parts.scripted_homeserver import HANG_UP, NOT_IN_ROOM, ReceivedRequest, Reply, ScriptedHomeserver, refused

BOT = "@city:city.localhost"
SCRIBE = "@agent_scribe:city.localhost"
MODERATOR: dict[str, Any] = {"users": {OKSANA_GHOST: 50, BOT: 100}}
RIGHTS = ["delete_messages", "kick", "ban", "pin", "edit_room", "set_writers", "set_avatar"]
PINS, LEVELS = "m.room.pinned_events", "m.room.power_levels"


class HomeserverWithState(ScriptedHomeserver):
    """A homeserver that has the state events of one room."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, Any] = {}

    def _answer(self, received: ReceivedRequest) -> dict[str, Any]:
        if received.what == "set_state":
            self.states[received.path["type"]] = received.content
        if received.what == "state":
            content: dict[str, Any] = self.states.get(received.path["type"], {})
            return content
        return super()._answer(received)


@dataclass
class Moderated(Town):
    """The room General with Oksana and Taras, whose ghosts are members."""

    matrix: HomeserverWithState = field(default_factory=HomeserverWithState)

    async def set_levels(self, content: dict[str, Any]) -> None:
        self.matrix.states[LEVELS] = content
        await self.receive(LEVELS, content, state_key="")

    async def ask(self, method: str, path: str, content: Any = ..., token: str | None = OKSANA) -> tuple[int, Any]:
        answer = await self.city.call(method, ROOM + path, content, token=token)
        return answer.status, answer.content.get("code") if isinstance(answer.content, dict) else ""

    async def rights(self, token: str = OKSANA) -> list[str]:
        rights = (await self.city.get(ROOM, token=token))["rights"]
        assert sorted(rights) == sorted(RIGHTS)
        return [each for each in RIGHTS if rights[each]]

    async def sent_message(self, body: str, event: str) -> Any:
        await self.receive("m.room.message", {"msgtype": "m.text", "body": body}, event_id=event)
        return next(each for each in await self.messages() if each["body"] == body)

    def made(self, what: str) -> list[tuple[str, Any]]:
        """Return the requests of a kind: the user who made it, and the content."""
        return [(each.user, each.content) for each in self.matrix.all(what)]


@asynccontextmanager
async def open_room(database_url: str) -> AsyncIterator[Moderated]:
    homeserver = HomeserverWithState()
    async with homeserver.serving(), in_process_city(database_url, homeserver={"address": homeserver.url}) as city:
        async with city.city.database.transaction() as tx:
            await tx.matrix_rooms.link(GENERAL, MatrixRoomId(MATRIX_ROOM))
            await tx.matrix_rooms.set_status(GENERAL, MatrixStatus.LINKED, None)
        town = Moderated(city, homeserver=homeserver, matrix=homeserver)
        await town.join()
        assert (await city.call("POST", f"{ROOM}/join", token=TARAS)).status == 200
        await town.set_levels(MODERATOR)
        yield town


@pytest.fixture
async def town(database_url: str) -> AsyncIterator[Moderated]:
    async with open_room(database_url) as town:
        yield town


@pytest.fixture
async def sqlite_town(sqlite_url: str) -> AsyncIterator[Moderated]:
    async with open_room(sqlite_url) as town:
        yield town


# --- rights -------------------------------------------------------------------------------------------


async def test_rights_follow_power_levels(sqlite_town: Moderated) -> None:
    town = sqlite_town
    moderator = RIGHTS
    assert await town.rights() == moderator
    assert await town.rights(TARAS) == []
    assert await town.rights(ADMIN) == moderator, "an admin of the city, who is not a member"
    assert (await town.city.get(ROOM))["rights"] is None, "a visitor"
    await town.set_levels({"users": {OKSANA_GHOST: 10}, "kick": 10, "redact": 10, "events": {LEVELS: 100, PINS: 0}})
    assert await town.rights() == ["delete_messages", "kick", "pin"]
    assert await town.rights(TARAS) == ["pin"]
    await town.member(OKSANA_GHOST, "ban")
    assert await town.rights() == [], "banned"
    await town.set_levels({"users": {SCRIBE: 50}})
    await town.member(SCRIBE, "join")
    assert await town.rights(await town.city.agent_token("scribe")) == moderator, "an agent"


async def test_rights_of_linked_account_count(sqlite_town: Moderated) -> None:
    town = sqlite_town
    await town.set_levels({"users": {ALICE: 50}})
    assert await town.rights() == []
    await town.link()
    assert await town.rights() == [], "the account is not in the room"
    await town.member(ALICE, "join")
    assert await town.rights() == RIGHTS
    assert await town.ask("POST", "/kick", {"subject": "u_2"}) == (204, "")
    assert town.made("kick") == [(BOT, {"user_id": TARAS_GHOST, "reason": ""})], "the bot acts for the account"


REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/kick", {"subject": "u_1"}),
    ("PUT", "/bans/u_1", {}),
    ("DELETE", "/bans/u_1", ...),
    ("GET", "/bans", ...),
    ("PATCH", "", {"name": "Моя"}),
    ("PATCH", "", {"writers": "moderators"}),
    ("PATCH", "", {"archived": True}),
    ("PATCH", "", {}),
]


async def test_member_without_rights_is_refused(sqlite_town: Moderated) -> None:
    town = sqlite_town
    message = await town.sent_message("оголошення", "$pin")
    pin = f"/pins/{message['id']}"
    for method, path, content in (*REQUESTS, ("PUT", pin, ...), ("DELETE", pin, ...)):
        status, code = await town.ask(method, path, content, TARAS)
        expected = "not_allowed" if content == {"archived": True} else "power_too_low"
        assert (status, code) == (403, expected), (method, path)
        assert (await town.ask(method, path, content, None))[0] == 401, (method, path)
    assert await town.ask("DELETE", f"/messages/{message['id']}", token=TARAS) == (403, "not_yours")
    assert not [each for what in ("kick", "ban", "unban", "set_state") for each in town.made(what)]


async def test_stranger_of_room_causes_no_request(sqlite_town: Moderated) -> None:
    town = sqlite_town
    await town.city.call("POST", f"{ROOM}/leave", token=TARAS)
    before = len(town.matrix.requests)
    assert await town.ask("POST", "/kick", {"subject": "u_1"}, TARAS) == (403, "power_too_low")
    assert len(town.matrix.requests) == before


# --- members ------------------------------------------------------------------------------------------


async def test_kick_as_own_ghost(town: Moderated) -> None:
    assert await town.ask("POST", "/kick", {"subject": "u_2", "reason": " шум\n "}) == (204, "")
    assert town.made("kick") == [(OKSANA_GHOST, {"user_id": TARAS_GHOST, "reason": "шум"})]
    assert await town.ask("POST", "/kick", {"subject": "u_9"}) == (409, "not_a_member")
    for subject in ("agent:nobody", BOT, "@city_observer:city.localhost", "@", "agent:", "x" * 201):
        assert await town.ask("POST", "/kick", {"subject": subject}) == (404, "no_such_person"), subject
    assert await town.ask("POST", "/kick", {"subject": "u_2", "reason": "x" * 501}) == (422, "invalid")


async def test_kick_of_equal_level_is_refused(sqlite_town: Moderated) -> None:
    town = sqlite_town
    await town.set_levels({"users": {OKSANA_GHOST: 50, TARAS_GHOST: 50}})
    for method, path, content in (("POST", "/kick", {"subject": "u_2"}), ("PUT", "/bans/u_2", {})):
        assert await town.ask(method, path, content) == (403, "power_too_low")
        assert await town.ask(method, path, content, ADMIN) == (204, "")
    assert [user for user, _ in town.made("kick") + town.made("ban")] == [BOT, BOT]


async def test_level_of_homeserver_decides(sqlite_town: Moderated) -> None:
    sqlite_town.matrix.states[LEVELS] = {"users": {OKSANA_GHOST: 0}}
    assert await sqlite_town.ask("POST", "/kick", {"subject": "u_2"}) == (403, "power_too_low"), "no event came yet"


async def test_ban_and_unban_both_accounts(town: Moderated) -> None:
    await town.link(TARAS)
    assert await town.ask("PUT", f"/bans/{quote(ALICE)}", {"reason": "спам"}) == (204, "")
    assert sorted(content["user_id"] for _, content in town.made("ban")) == [ALICE, TARAS_GHOST]
    for user in (ALICE, TARAS_GHOST):
        content = {"membership": "ban", "reason": "спам"}
        await town.receive("m.room.member", content, state_key=user, sender=OKSANA_GHOST)
    bans = await town.city.get(f"{ROOM}/bans", token=OKSANA)
    assert [(ban["subject"], ban["person"]["display_name"], ban["reason"]) for ban in bans] == [
        (ALICE, "Alice", "спам")
    ]
    assert await town.ask("DELETE", "/bans/u_2") == (204, "")
    assert sorted(content["user_id"] for _, content in town.made("unban")) == [ALICE, TARAS_GHOST]
    assert await town.ask("DELETE", "/bans/u_9") == (204, ""), "no ban"
    assert len(town.made("unban")) == 2


async def test_ban_of_agent_names_it(sqlite_town: Moderated) -> None:
    await sqlite_town.receive("m.room.member", {"membership": "ban"}, state_key=SCRIBE, sender=OKSANA_GHOST)
    (ban,) = await sqlite_town.city.get(f"{ROOM}/bans", token=OKSANA)
    assert (ban["subject"], ban["person"]["display_name"], ban["reason"]) == ("agent:scribe", "Писар", None)


# --- the homeserver -----------------------------------------------------------------------------------


async def test_bot_acts_where_ghost_is_not_in_room(sqlite_town: Moderated) -> None:
    sqlite_town.matrix.next("kick", NOT_IN_ROOM)
    assert await sqlite_town.ask("POST", "/kick", {"subject": "u_2"}) == (204, "")
    assert [user for user, _ in sqlite_town.made("kick")] == [OKSANA_GHOST, BOT]


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([NOT_IN_ROOM, NOT_IN_ROOM], (403, "homeserver_refused")),
        ([refused(429, "M_LIMIT_EXCEEDED", retry_after_ms=100)] * 20, (429, "too_many_requests")),
        ([refused(500, "M_UNKNOWN")] * 20, (503, "homeserver_unavailable")),
        ([HANG_UP] * 20, (503, "homeserver_unavailable")),
    ],
    ids=["refused", "limited", "broken", "away"],
)
async def test_error_of_homeserver_is_shown(
    sqlite_town: Moderated, replies: list[Any], expected: tuple[int, str]
) -> None:
    sqlite_town.matrix.next("kick", *replies)
    assert await sqlite_town.ask("POST", "/kick", {"subject": "u_2"}) == expected


async def test_unlinked_and_archived_rooms_conflict(sqlite_town: Moderated) -> None:
    town = sqlite_town
    async with town.city.city.database.transaction() as tx:
        await tx.matrix_rooms.set_status(GENERAL, MatrixStatus.PENDING, None)
    assert await town.ask("POST", "/kick", {"subject": "u_2"}) == (409, "room_not_linked")
    await town.city.call("PATCH", ROOM, {"archived": True}, token=ADMIN)
    assert await town.ask("POST", "/kick", {"subject": "u_2"}) == (409, "room_archived")


# --- messages and pins --------------------------------------------------------------------------------


async def test_moderator_deletes_message_of_other(town: Moderated) -> None:
    posted = await town.post("шум", TARAS)
    status, content = await town.call("DELETE", posted["id"])
    assert (status, content["deleted"]) == (200, True)


async def test_pins_from_both_sides(town: Moderated) -> None:
    first, second = await town.sent_message("перше", "$1st"), await town.sent_message("друге", "$2nd")
    assert await town.ask("PUT", f"/pins/{first['id']}") == (204, "")
    assert await town.ask("PUT", f"/pins/{first['id']}") == (204, "")
    assert town.made("set_state") == [(OKSANA_GHOST, {"pinned": ["$1st"]})], "the same again is not a request"
    await town.receive(PINS, {"pinned": ["$1st", "$elsewhere", "$2nd"]}, state_key="")
    assert [each["body"] for each in await town.city.get(f"{ROOM}/pins")] == ["друге", "перше"], "newest pin first"
    assert (await town.city.get(ROOM))["pins"] == 3
    town.matrix.states[PINS] = {"pinned": ["$1st", "$elsewhere", "$2nd"]}
    assert await town.ask("DELETE", f"/pins/{first['id']}") == (204, "")
    assert town.matrix.states[PINS] == {"pinned": ["$elsewhere", "$2nd"]}, "the others keep their places"
    await town.call("DELETE", second["id"])
    assert [each["body"] for each in await town.city.get(f"{ROOM}/pins")] == ["перше"], "not what is deleted"
    assert await town.ask("PUT", f"/pins/{second['id']}") == (409, "message_deleted")


async def test_pin_of_unsent_message_conflicts(sqlite_town: Moderated) -> None:
    town = sqlite_town
    posted = await town.post("щойно")
    assert await town.ask("PUT", f"/pins/{posted['id']}") == (409, "message_not_sent")
    assert await town.ask("DELETE", f"/pins/{posted['id']}") == (204, "")
    assert await town.ask("PUT", "/pins/unknown") == (404, "no_such_message")
    sent = await town.sent_message("надіслане", "$sent")
    town.matrix.states[PINS] = {"pinned": [f"${number}" for number in range(100)]}
    assert await town.ask("PUT", f"/pins/{sent['id']}") == (409, "too_many_pins")


async def test_message_from_before_an_upgrade_is_not_pinned(town: Moderated) -> None:
    """Clients find the events of ``m.room.pinned_events`` in the room itself."""
    early, late = await town.sent_message("раніше", "$early"), await town.sent_message("пізніше", "$late")
    async with town.city.city.database.transaction() as tx:
        former = tables.former_matrix_rooms.insert()
        await tx.connection.execute(former.values(matrix_room_id="!former:city.localhost", room_id=GENERAL))
    missing, found = refused(404, "M_NOT_FOUND"), Reply(200, {"event_id": "$found"})
    town.matrix.next("event", missing, found, found)
    for _ in range(2):
        assert await town.ask("PUT", f"/pins/{early['id']}") == (409, "message_in_former_room")
    assert await town.ask("PUT", f"/pins/{late['id']}") == (204, "")
    asked = [(each.path["room"], each.path["event"]) for each in town.matrix.all("event")]
    assert asked == [
        (MATRIX_ROOM, "$early"),
        ("!former:city.localhost", "$early"),
        (MATRIX_ROOM, "$late"),
    ], "each event is requested once"
    assert await town.ask("PUT", f"/pins/{late['id']}") == (204, "")
    assert await town.ask("DELETE", f"/pins/{early['id']}") == (204, "")
    assert len(town.matrix.all("event")) == 3


async def test_pins_are_not_shown_to_strangers(sqlite_town: Moderated) -> None:
    town = sqlite_town
    await town.set_visibility("joined")
    await town.receive("m.room.message", {"msgtype": "m.text", "body": "таємниця"}, event_id="$secret")
    await town.receive(PINS, {"pinned": ["$secret"]}, state_key="")
    assert [each["body"] for each in await town.city.get(f"{ROOM}/pins", token=OKSANA)] == ["таємниця"]
    assert await town.city.get(f"{ROOM}/pins") == [], "the room was public once"
    assert (await town.city.get(ROOM))["pins"] == 0


@pytest.mark.parametrize("pinned", [None, "$1st", [1, None, {}], ["no event id"], ["$" + "x" * 300], {"a": 1}])
async def test_malformed_pins_are_ignored(sqlite_town: Moderated, pinned: Any) -> None:
    await sqlite_town.receive(PINS, {"pinned": pinned}, state_key="")
    assert await sqlite_town.city.get(f"{ROOM}/pins") == []


# --- settings -----------------------------------------------------------------------------------------


async def test_moderator_renames_room(sqlite_town: Moderated) -> None:
    assert (await sqlite_town.ask("PATCH", "", {"name": "Поділ", "description": "Вечір"}))[0] == 200
    room = await sqlite_town.city.get(ROOM)
    assert (room["name"], room["description"]) == ("Поділ", "Вечір")


async def test_writers_change_power_levels(town: Moderated) -> None:
    assert (await town.city.get(ROOM))["writers"] == "everyone"
    assert (await town.ask("PATCH", "", {"writers": "moderators"}))[0] == 200
    levels = town.matrix.states[LEVELS]
    assert levels["events_default"] == 49, "one less than moderators have"
    assert levels["users"].items() >= {**MODERATOR["users"], SCRIBE: 49}.items(), "agents of the room go on replying"
    await town.receive(LEVELS, town.matrix.states[LEVELS], state_key="")
    assert (await town.city.get(ROOM))["writers"] == "moderators"
    assert await town.ask("POST", "/messages", {"body": "а я?"}, TARAS) == (403, "muted")
    assert (await town.ask("PATCH", "", {"writers": "everyone"}))[0] == 200
    assert town.matrix.states[LEVELS] == MODERATOR | {"events_default": 0}
    assert await town.ask("PATCH", "", {"writers": "everyone"}, ADMIN_TOKEN) == (403, "not_allowed"), "nobody's token"


@pytest.mark.parametrize(
    "levels",
    [
        {"events_default": 100, "events": {LEVELS: 50, "m.room.message": 0}},
        {"users_default": 60, "events": {LEVELS: 50}},
    ],
    ids=["changes a higher level", "sets a higher level"],
)
async def test_writers_need_each_changed_level(sqlite_town: Moderated, levels: dict[str, Any]) -> None:
    town = sqlite_town
    await town.set_levels({"users": {OKSANA_GHOST: 60, BOT: 100}} | levels)
    assert "set_writers" not in await town.rights()
    # The bot, which acts where the homeserver refuses the ghost, has the level.
    town.matrix.next("set_state", NOT_IN_ROOM)
    assert await town.ask("PATCH", "", {"writers": "moderators"}) == (403, "power_too_low")
    assert town.made("set_state") == []


async def test_invalid_name_changes_no_writers(sqlite_town: Moderated) -> None:
    change = {"name": " ", "writers": "moderators"}
    assert await sqlite_town.ask("PATCH", "", change) == (422, "name_required")
    assert sqlite_town.made("set_state") == []
