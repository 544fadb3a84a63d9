"""Power levels of a room in which only moderators and the room's agents write."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import structlog

from daarion_appservice.city import moderation_rights
from daarion_appservice.city.agents import AgentDirectory
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.moderation_rights import (
    MAX_CONTENT_BYTES,
    MAX_WRITING_AGENTS,
    Writers,
    rights_of,
    with_writers,
    with_writing_agents,
    writers_of,
)
from daarion_appservice.city.power_levels import RoomPowerLevels
from daarion_appservice.city.types import Agent, AgentSlug, MatrixStatus, Room, RoomId, UserId
from daarion_appservice.errors import HomeserverRefused
from daarion_appservice.matrix.client.homeserver import Homeserver
from daarion_appservice.matrix.client.room_rules import stored_levels
from daarion_appservice.matrix.reconcile.writing_agents import WritingAgents

BOT, OLENA = UserId("@city:city.localhost"), UserId("@olena:city.localhost")
SCRIBE, GUARD = UserId("@agent_scribe:city.localhost"), UserId("@agent_guard:city.localhost")
CONTENT: dict[str, Any] = {"users": {BOT: 100, OLENA: 50}, "events": {"m.room.power_levels": 100}}


def with_level(content: dict[str, Any], writers: Writers, *agents: UserId) -> RoomPowerLevels:
    return RoomPowerLevels(with_writers(RoomPowerLevels(content), writers, agents, is_agent=is_agent))


def is_agent(user: UserId) -> bool:
    return user.startswith("@agent_")


def test_agents_of_room_write_without_moderating() -> None:
    levels = with_level(CONTENT, Writers.MODERATORS, SCRIBE)
    needed = levels.to_send("m.room.message")
    assert writers_of(levels) is Writers.MODERATORS
    assert [levels.of(user) >= needed for user in (OLENA, SCRIBE, GUARD)] == [True, True, False]
    rights = rights_of(levels, levels.of(SCRIBE))
    assert (rights.kick, rights.ban, rights.pin, rights.delete_messages) == (False, False, False, False)


def test_agents_lose_level_where_everyone_writes() -> None:
    alone = with_level(CONTENT, Writers.MODERATORS, SCRIBE)
    everyone = with_level(dict(alone.content), Writers.EVERYONE, SCRIBE)
    assert everyone.content["users"] == CONTENT["users"]


def test_level_of_agent_moderator_remains() -> None:
    content = CONTENT | {"users": {BOT: 100, SCRIBE: 50}}
    alone = with_level(content, Writers.MODERATORS, SCRIBE)
    assert with_level(dict(alone.content), Writers.EVERYONE, SCRIBE).of(SCRIBE) == alone.of(SCRIBE) == 50


def test_levels_of_very_many_agents_are_limited() -> None:
    agents = [UserId(f"@agent_{number}:city.localhost") for number in range(MAX_WRITING_AGENTS + 9)]
    levels = with_level(CONTENT, Writers.MODERATORS, *agents)
    assert len(levels.content["users"]) == MAX_WRITING_AGENTS + 2
    # Agents that have the level count, too.
    assert with_level(dict(levels.content), Writers.MODERATORS, *agents).content == levels.content


def test_agents_with_level_of_a_matrix_client_are_limited() -> None:
    agents = [UserId(f"@agent_{number}:city.localhost") for number in range(MAX_WRITING_AGENTS + 9)]
    content = CONTENT | {"events_default": 10}
    for _ in range(2):
        content = with_writing_agents(RoomPowerLevels(content), agents, is_agent=is_agent)
        assert len(content["users"]) == MAX_WRITING_AGENTS + 2


def test_levels_of_long_names_leave_room_in_the_event() -> None:
    agents = [UserId(f"@agent_{number:0>64}:{'x' * 170}.example.org") for number in range(MAX_WRITING_AGENTS)]
    levels = with_level(CONTENT, Writers.MODERATORS, *agents)
    size = len(orjson.dumps(levels.content))
    assert MAX_CONTENT_BYTES - 300 < size <= MAX_CONTENT_BYTES
    assert levels.of(agents[0]) == levels.to_send("m.room.message") > levels.of(agents[-1])


def test_content_of_any_shape_has_a_size() -> None:
    nested: Any = {}
    for _ in range(300):
        nested = {"x": nested}
    content = CONTENT | {"nested": nested}
    assert with_level(content, Writers.MODERATORS, SCRIBE).of(SCRIBE) == 0


def test_level_of_agent_that_left_goes() -> None:
    before = with_level(CONTENT, Writers.MODERATORS, SCRIBE, GUARD)
    after = with_level(dict(before.content), Writers.MODERATORS, GUARD)
    assert after.content["users"] == CONTENT["users"] | {GUARD: 49}
    everyone = with_level(dict(before.content), Writers.EVERYONE)
    assert everyone.content["users"] == CONTENT["users"]


def test_level_given_by_a_moderator_remains() -> None:
    content = CONTENT | {"users": {BOT: 100, SCRIBE: 0, OLENA: 49}}
    levels = with_level(content, Writers.MODERATORS, SCRIBE)
    assert (levels.of(SCRIBE), levels.of(OLENA)) == (0, 49)


def test_creator_gets_no_level() -> None:
    powers = RoomPowerLevels(CONTENT, [SCRIBE])
    content = with_writers(powers, Writers.MODERATORS, [SCRIBE, GUARD], is_agent=is_agent)
    assert content["users"] == CONTENT["users"] | {GUARD: 49}


UNUSED: Any = None
"""The database, which is read only for more agents than get a level."""


class OneRoom(Homeserver):
    """A homeserver with the power levels of one room."""

    def __init__(self, content: Any, error: Exception | None = None) -> None:
        self.content, self.error = content, error
        self.requests = 0

    async def state(self, *_: Any, **__: Any) -> Any:
        self.requests += 1
        return self.content

    async def set_state(
        self, room: Any, event_type: str, content: Any, state_key: str = "", *, as_user: UserId
    ) -> None:
        if self.error is not None:
            raise self.error
        self.content = content


def room_with(content: Any, **more: Any) -> Room:
    levels = orjson.dumps(content).decode()
    fields: dict[str, Any] = {"is_default": False, "archived": False, "created_at_ms": 1, "power_levels": levels}
    fields |= {"matrix_room_id": "!news", "matrix_status": MatrixStatus.LINKED} | more
    return Room(RoomId("city_news"), "news", "News", "", **fields)


async def update(homeserver: OneRoom, room: Room, *slugs: str) -> None:
    agents = AgentDirectory()
    agents.replace([Agent(slug, AgentSlug(slug), slug, rooms=("news",)) for slug in slugs])
    await WritingAgents(homeserver, Identities("city.localhost", "city"), agents, UNUSED).update([room])


async def test_agent_that_came_later_may_write() -> None:
    levels = with_level(CONTENT, Writers.MODERATORS, SCRIBE)
    homeserver = OneRoom(dict(levels.content))
    await update(homeserver, room_with(homeserver.content), "scribe", "guard")
    assert homeserver.content["users"] == CONTENT["users"] | {SCRIBE: 49, GUARD: 49}
    # The second time costs no request.
    homeserver.requests = 0
    await update(homeserver, room_with(homeserver.content), "scribe", "guard")
    assert homeserver.requests == 0


@pytest.mark.parametrize(
    "more", [{"archived": True}, {"matrix_error": "no power"}, {"power_levels": orjson.dumps(CONTENT).decode()}]
)
async def test_other_rooms_are_left_alone(more: dict[str, Any]) -> None:
    homeserver = OneRoom(dict(with_level(CONTENT, Writers.MODERATORS).content))
    await update(homeserver, room_with(homeserver.content, **more), "scribe")
    assert homeserver.requests == 0


async def test_refused_level_stops_no_other_room() -> None:
    homeserver = OneRoom(with_level(CONTENT, Writers.MODERATORS).content, HomeserverRefused(403, "M_FORBIDDEN", "no"))
    await update(homeserver, room_with(homeserver.content), "scribe")
    assert homeserver.requests == 1


async def test_agents_without_level_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moderation_rights, "MAX_WRITING_AGENTS", 1)
    homeserver = OneRoom(with_level(CONTENT, Writers.MODERATORS).content)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            await update(homeserver, room_with(homeserver.content), "scribe", "guard", "poet")
    assert [(each["event"], each["agents"]) for each in logs] == [("agents_not_writing", 2)]


async def test_creator_among_stored_levels_gets_none() -> None:
    """The stored levels contain the creators, the event does not: Synapse would refuse it (room version 12)."""
    levels = with_level(CONTENT, Writers.MODERATORS)
    homeserver = OneRoom(dict(levels.content))
    stored = stored_levels(RoomPowerLevels(levels.content, [SCRIBE]))
    await update(homeserver, room_with({}, power_levels=stored), "scribe", "guard")
    assert homeserver.content["users"] == CONTENT["users"] | {GUARD: 49}
