"""Tests of removals, bans, power levels and names that room members get on Matrix."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from daarion_appservice.city.events import (
    MemberChanged,
    MembershipChanged,
    RegistryChanged,
)
from daarion_appservice.city.restrictions import RestrictionKind
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    Member,
    Message,
    OutboxKind,
    UserId,
)
from daarion_appservice.errors import Forbidden
from tests.parts.memberships import (
    ALICE,
    GENERAL,
    GHOST,
    JOIN,
    LEAVE,
    MODERATOR,
    OKSANA,
    SCRIBE,
    SCRIBES_GHOST,
    TARAS,
    MembershipHarness,
    open_memberships,
)


@pytest.fixture
async def harness(database_url: str) -> AsyncIterator[MembershipHarness]:
    async with open_memberships(database_url) as harness:
        yield harness


async def refusal(what: Awaitable[object]) -> str:
    """Return the error code of a refused call."""
    with pytest.raises(Forbidden) as refused:
        await what
    return refused.value.code


# --- what those who look after the room do on Matrix --------------------------------------------------


def everything(harness: MembershipHarness, author: Author, message: Message) -> list[Callable[[], Awaitable[object]]]:
    """Return a call of each operation that the author of a message may try."""
    return [
        lambda: harness.post(author),
        lambda: harness.desk.message_edits.edit(author, "general", message.id, "інше"),
        lambda: harness.desk.reactions.add(author, "general", message.id, "👍"),
        lambda: harness.typing_and_receipts.set_typing(author, "general", typing=True),
        lambda: harness.typing_and_receipts.mark_read(author, "general", message.id),
    ]


async def test_removed_citizen_gets_error_until_rejoin(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    message = await harness.post(OKSANA)
    await harness.clear_outbox()
    happened = await harness.receive_member(GHOST, "leave", by=MODERATOR, reason="галас")
    assert MembershipChanged(GENERAL, OKSANA.subject, joined=False) in happened

    for attempt in everything(harness, OKSANA, message):
        assert await refusal(attempt()) == "kicked"
    with pytest.raises(Forbidden, match="kicked from the room general: галас; join it again"):
        await harness.post(OKSANA)
    assert await harness.outbox_kinds() == [], "nothing is sent and refused"

    await harness.desk.membership.join(OKSANA, "general")
    for attempt in everything(harness, OKSANA, message):
        await attempt()
    assert await harness.history() == [(JOIN, "u_1"), (LEAVE, "u_1"), (JOIN, "u_1")]


async def test_banned_citizen_is_refused_until_unban(harness: MembershipHarness) -> None:
    message = await harness.post(OKSANA)
    await harness.receive_member(GHOST, "join", displayname="Оксана")
    await harness.receive_member(GHOST, "ban", by=MODERATOR, reason=" реклама " + "!" * 5000)
    assert await harness.members() == {}

    for attempt in everything(harness, OKSANA, message):
        assert await refusal(attempt()) == "banned"
    assert await refusal(harness.desk.membership.join(OKSANA, "general")) == "banned"
    with pytest.raises(Forbidden, match="banned from the room general: реклама !!!") as raised:
        await harness.post(OKSANA)
    assert len(raised.value.detail) < 600
    await harness.post(TARAS)
    await harness.desk.message_edits.delete(OKSANA, "general", message.id, may_moderate=False)

    await harness.receive_member(GHOST, "leave", by=MODERATOR)
    await harness.post(OKSANA)
    await harness.desk.membership.join(OKSANA, "general")
    assert GHOST in await harness.members()


async def test_ban_cancels_pending_join(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.receive_member(GHOST, "ban", by=MODERATOR)
    assert (await harness.members(), await harness.outbox_kinds()) == ({}, [])


async def test_unban_of_agent_publishes_registry_change(harness: MembershipHarness) -> None:
    assert RegistryChanged() not in await harness.receive_member(SCRIBES_GHOST, "ban", by=MODERATOR)
    async with harness.database.read_only() as tx:
        assert await tx.restrictions.removed_users() == {(GENERAL, SCRIBES_GHOST)}
    assert RegistryChanged() in await harness.receive_member(SCRIBES_GHOST, "leave", by=MODERATOR)
    async with harness.database.read_only() as tx:
        assert await tx.restrictions.removed_users() == set()


async def test_removed_matrix_user_is_no_member(harness: MembershipHarness) -> None:
    await harness.receive_member(ALICE, "join", displayname="Alice")
    await harness.receive_member(ALICE, "ban", by=MODERATOR)
    async with harness.database.read_only() as tx:
        restriction = await tx.restrictions.get(GENERAL, ALICE)
    assert restriction is not None
    assert restriction.kind is RestrictionKind.BANNED
    assert await harness.members() == {}
    for membership in ("leave", "invite", "leave"):
        await harness.receive_member(ALICE, membership, by=MODERATOR)
        async with harness.database.read_only() as tx:
            assert await tx.restrictions.get(GENERAL, ALICE) is None


async def test_member_without_power_is_read_only(harness: MembershipHarness) -> None:
    message = await harness.post(OKSANA)
    await harness.set_columns(power_levels='{"events_default": "50", "events": {"m.reaction": 0}}')

    assert await refusal(harness.post(OKSANA)) == "muted"
    assert await refusal(harness.desk.message_edits.edit(OKSANA, "general", message.id, "інше")) == "muted"
    await harness.desk.reactions.add(OKSANA, "general", message.id, "👍")
    await harness.desk.membership.join(TARAS, "general")
    await harness.typing_and_receipts.mark_read(TARAS, "general", message.id)
    await harness.set_columns(power_levels='{"events": {"m.reaction": 10}}')
    assert await refusal(harness.desk.reactions.add(TARAS, "general", message.id, "👍")) == "muted"
    await harness.post(OKSANA)


@pytest.mark.parametrize("rule", ["invite", "knock", "restricted", "private"])
async def test_invite_only_room_keeps_members(harness: MembershipHarness, rule: str) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.set_columns(join_rule=rule)

    message = await harness.post(OKSANA)
    assert await refusal(harness.post(TARAS)) == "invite_only"
    assert await refusal(harness.desk.membership.join(TARAS, "general")) == "invite_only"
    assert await refusal(harness.desk.reactions.add(TARAS, "general", message.id, "👍")) == "invite_only"
    await harness.post(SCRIBE)  # the city brings its agents home

    taras = "@citizen_u_2:city.localhost"
    await harness.receive_member(taras, "invite", by=MODERATOR)
    await harness.post(TARAS)
    await harness.receive_member(taras, "leave", by=MODERATOR)
    assert await refusal(harness.post(TARAS)) == "invite_only", "the invitation was taken back"
    await harness.receive_member(taras, "invite", by=MODERATOR)
    await harness.desk.membership.join(TARAS, "general")
    await harness.clear_outbox()
    await harness.receive_member(taras, "join", displayname="Тарас")
    await harness.post(TARAS)
    await harness.receive_member(taras, "leave", by=MODERATOR)
    assert await refusal(harness.post(TARAS)) == "kicked"
    assert await refusal(harness.desk.membership.join(TARAS, "general")) == "invite_only", "an invitation is good once"


@pytest.mark.parametrize("membership", [None, 5, {}, "", "knock", "something new"])
async def test_invalid_membership_adds_no_member(harness: MembershipHarness, membership: Any) -> None:
    await harness.receive_member(GHOST, membership, displayname=["no", "name"], reason=7, by=MODERATOR)
    await harness.receive_member(ALICE, membership)
    await harness.receive_member("not a user", "join")
    assert await harness.members() == {}


# --- names and pictures -------------------------------------------------------------------------------


async def test_profile_change_keeps_older_authors(harness: MembershipHarness) -> None:
    await harness.receive_member(ALICE, "join", displayname="Alice")
    history = await harness.history()
    happened = await harness.receive_member(ALICE, "join", displayname="Аліса", avatar_url="mxc://city.localhost/a")

    alice = Author(AuthorKind.MATRIX, ALICE, "Аліса", "mxc://city.localhost/a")
    assert happened == [MemberChanged(GENERAL, alice)]
    assert await harness.members() == {ALICE: "Аліса"}
    assert await harness.history() == history, "it is no part of the history"
    assert await harness.receive_member(ALICE, "join", displayname="Аліса", avatar_url="mxc://city.localhost/a") == []


async def test_rejoin_updates_display_name(harness: MembershipHarness) -> None:
    await harness.desk.membership.join(OKSANA, "general")
    await harness.clear_outbox()
    await harness.desk.membership.join(Author(AuthorKind.CITIZEN, "u_1", "Оксана К."), "general")
    assert await harness.members() == {GHOST: "Оксана К."}
    assert await harness.history() == [(JOIN, "u_1")]
    assert await harness.outbox_kinds() == [OutboxKind.JOIN], "her ghost is to be called so, too"


# --- over HTTP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("N\u202egpj", "Ngpj"),
        ("\u2066Аліса\u2069 \u200fX\u061c", "Аліса X"),
        ("я" * 5000, "я" * 255),
        ("two\nlines", "two lines"),
        ("\u202e", None),
    ],
)
async def test_matrix_name_is_one_bounded_line(harness: MembershipHarness, name: str, shown: str | None) -> None:
    await harness.receive_member(ALICE, "join", displayname=name, avatar_url="x" * 5000)
    assert await harness.members() == {ALICE: shown}
    async with harness.database.transaction() as tx:
        room = await tx.rooms.find(GENERAL)
        assert room is not None
        await harness.desk.members.replace_members(tx, GENERAL, [Member(GENERAL, UserId("@bob:city.localhost"), name)])
        members = await tx.members.of_room(GENERAL)
    assert [(member.display_name, member.avatar_url) for member in members] == [(shown, None)]
