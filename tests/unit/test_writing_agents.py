"""Power levels of a room in which only moderators and the room's agents write."""

from __future__ import annotations

from typing import Any

from daarion_appservice.city.moderation_rights import MAX_WRITING_AGENTS, Writers, rights_of, with_writers, writers_of
from daarion_appservice.city.read_only_levels import RoomPowerLevels
from daarion_appservice.city.types import UserId

BOT, OLENA = UserId("@city:city.localhost"), UserId("@olena:city.localhost")
SCRIBE, GUARD = UserId("@agent_scribe:city.localhost"), UserId("@agent_guard:city.localhost")
CONTENT: dict[str, Any] = {"users": {BOT: 100, OLENA: 50}, "events": {"m.room.power_levels": 100}}


def with_level(content: dict[str, Any], writers: Writers, *agents: UserId) -> RoomPowerLevels:
    return RoomPowerLevels(with_writers(RoomPowerLevels(content), writers, agents))


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
    assert len(with_level(CONTENT, Writers.MODERATORS, *agents).content["users"]) == MAX_WRITING_AGENTS + 2
