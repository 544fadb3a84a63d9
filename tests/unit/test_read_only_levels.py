"""Power levels that make a Matrix room read-only, and their restoration."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daarion_appservice.city.power_levels import RoomPowerLevels
from daarion_appservice.city.read_only_levels import read_only, restored
from daarion_appservice.city.types import UserId

BOT, ALICE = UserId("@city:city.localhost"), UserId("@alice:city.localhost")

PUBLIC: dict[str, Any] = {
    "users": {BOT: 100, ALICE: 50},
    "users_default": 0,
    "events": {"m.room.name": 50, "m.room.power_levels": 100, "m.reaction": 0, "m.room.tombstone": 150},
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "redact": 50,
}

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
level = st.integers(-1, 200) | st.just("50") | json
content = st.fixed_dictionaries(
    {},
    optional={
        "users": st.dictionaries(st.sampled_from([BOT, ALICE, "x"]), level, max_size=3) | json,
        "events": st.dictionaries(st.sampled_from(["m.reaction", "m.room.redaction", "m.room.name"]), level) | json,
        "events_default": level,
        "users_default": level,
    },
)


def test_user_below_bot_cannot_write_in_read_only_room() -> None:
    powers = RoomPowerLevels(read_only(RoomPowerLevels(PUBLIC), BOT))
    for event_type in ("m.room.message", "m.reaction", "m.sticker", "anything.else"):
        assert powers.to_send(event_type) > powers.of(ALICE)
        assert powers.to_send(event_type) <= powers.of(BOT)


def test_redaction_level_is_kept_in_read_only_room() -> None:
    assert RoomPowerLevels(read_only(RoomPowerLevels(PUBLIC), BOT)).to_send("m.room.redaction") == 0


def test_read_only_room_silences_users_of_any_level() -> None:
    content = PUBLIC | {"users": {ALICE: 500}}
    powers = RoomPowerLevels(content, creators=[BOT])
    assert math.isinf(powers.of(BOT))
    assert RoomPowerLevels(read_only(powers, BOT)).to_send("m.room.message") > 500


def test_changes_while_read_only_survive_restore() -> None:
    now = read_only(RoomPowerLevels(PUBLIC), BOT)
    now["users"] = now["users"] | {ALICE: 60}
    assert restored(now, PUBLIC) == PUBLIC | {"users": {BOT: 100, ALICE: 60}}


@pytest.mark.parametrize("before", [PUBLIC, {}, {"events": {"m.room.redaction": 20}}])
def test_opening_undoes_closing(before: dict[str, Any]) -> None:
    opened = RoomPowerLevels(restored(read_only(RoomPowerLevels(before, creators=[BOT]), BOT), before))
    for event_type in ("m.room.message", "m.reaction", "m.room.redaction", "m.room.name"):
        assert opened.to_send(event_type) == RoomPowerLevels(before).to_send(event_type)


@given(content, st.booleans())
def test_read_only_and_restored_are_idempotent(before: dict[str, Any], is_creator: bool) -> None:
    creators = [BOT] if is_creator else []
    once = read_only(RoomPowerLevels(before, creators), BOT)
    assert read_only(RoomPowerLevels(once, creators), BOT) == once
    opened = restored(once, before)
    assert restored(opened, before) == opened
