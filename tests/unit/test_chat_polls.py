"""Which ghosts ask for the receipts of direct chats, and when."""

from __future__ import annotations

import pytest

from daarion_appservice.city.types import AgentSlug, RoomId, UserId
from daarion_appservice.matrix.presence.chat_polls import ChatPolls, DuePoll, newest_by_ghost
from daarion_appservice.storage.chat_receipts import UnreadChat
from tests.parts.messaging import IDENTITIES

SCRIBE, GUARDIAN = IDENTITIES.agent(AgentSlug("scribe")), IDENTITIES.agent(AgentSlug("guardian"))
ALICE, OKSANA, TARAS = (
    UserId("@alice:city.localhost"),
    UserId("@citizen_u_1:city.localhost"),
    UserId("@citizen_u_2:city.localhost"),
)
ONE, OTHER = RoomId("direct_1"), RoomId("direct_2")
NOW = 1_800_000_000_000
S, MINUTE, HOUR = 1_000, 60_000, 3_600_000


@pytest.mark.parametrize(
    ("age_ms", "pause_ms"),
    [(-MINUTE, 2 * S), (0, 2 * S), (40 * S, 2 * S), (2 * MINUTE, 6 * S), (HOUR, 3 * MINUTE), (24 * HOUR, 30 * MINUTE)],
)
def test_pause_grows_with_the_age(age_ms: int, pause_ms: int) -> None:
    polls = ChatPolls()
    polls.set_unread({SCRIBE: NOW - age_ms})
    polls.begin(SCRIBE, NOW)
    assert polls.next() == DuePoll(SCRIBE, NOW + pause_ms)


def test_nothing_unread_needs_no_poll() -> None:
    polls = ChatPolls()
    polls.set_unread({SCRIBE: NOW})
    polls.set_unread({})
    assert polls.next() is None


def test_new_message_makes_poll_earlier() -> None:
    polls = ChatPolls()
    polls.set_unread({SCRIBE: NOW - HOUR})
    polls.begin(SCRIBE, NOW)
    polls.set_unread({SCRIBE: NOW + S})
    assert polls.next() == DuePoll(SCRIBE, NOW + 2 * S)


def test_ghosts_take_turns() -> None:
    polls = ChatPolls()
    polls.set_unread({SCRIBE: NOW, GUARDIAN: NOW})
    first = polls.next()
    assert first is not None
    polls.begin(first.ghost, NOW)
    second = polls.next()
    assert second is not None
    assert {first.ghost, second.ghost} == {SCRIBE, GUARDIAN}


def test_refused_ghost_comes_later() -> None:
    polls = ChatPolls()
    polls.set_unread({SCRIBE: NOW, GUARDIAN: NOW})
    polls.begin(SCRIBE, NOW, delay_ms=MINUTE)
    polls.begin(GUARDIAN, NOW + 30 * S)
    assert polls.next() == DuePoll(GUARDIAN, NOW + 32 * S)


@pytest.mark.parametrize(
    ("joined", "ghost"),
    [
        ([ALICE, OKSANA, SCRIBE], SCRIBE),
        ([ALICE, OKSANA, TARAS], OKSANA),
        ([IDENTITIES.bot, IDENTITIES.observer, TARAS], TARAS),
        ([ALICE, IDENTITIES.bot], None),
        ([], None),
    ],
)
def test_member_of_chat_asks(joined: list[UserId], ghost: UserId | None) -> None:
    chats = [UnreadChat(ONE, None, NOW)]
    assert newest_by_ghost(chats, {ONE: joined}, IDENTITIES) == ({} if ghost is None else {ghost: NOW})


def test_ghost_of_several_chats_asks_by_the_newest() -> None:
    chats = [UnreadChat(ONE, AgentSlug("scribe"), NOW), UnreadChat(OTHER, None, NOW - 5)]
    assert newest_by_ghost(chats, {OTHER: [ALICE, SCRIBE]}, IDENTITIES) == {SCRIBE: NOW}
