"""Bans and kicks on Matrix that remove the messages of the person, too (MSC4293)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select

from daarion_appservice.city.types import AuthorKind, RoomId
from daarion_appservice.realtime import message_removals
from daarion_appservice.storage.message_removals import MessageRemovalRepository
from daarion_appservice.storage.tables import room_events
from tests.parts.city import ADMIN_TOKEN
from tests.parts.linked_person import ROOM, Town, open_town
from tests.parts.matrix_chat import matrix_chat
from tests.parts.private_room import ALICE, OKSANA_GHOST

MODERATOR, SPAMMER = "@olena:city.localhost", "@spam:elsewhere.example"
UNSTABLE = "org.matrix.msc4293.redact_events"
VOTE = "org.matrix.msc3381.poll.response"
POLL = {
    "org.matrix.msc3381.poll.start": {
        "question": {"org.matrix.msc1767.text": "Куди?"},
        "answers": [{"id": "a", "org.matrix.msc1767.text": "A"}],
        "kind": "org.matrix.msc3381.poll.disclosed",
    }
}


@pytest.fixture
async def town(database_url: str) -> AsyncIterator[Town]:
    async with open_town(database_url) as town:
        levels = {"users": {MODERATOR: 50}, "users_default": 0, "redact": 50}
        await town.receive("m.room.power_levels", levels, state_key="")
        yield town


async def remove(
    town: Town, user: str = SPAMMER, *, by: str = MODERATOR, membership: str = "ban", more: Any = None
) -> None:
    content = {"membership": membership} | (more or {UNSTABLE: True})
    await town.receive("m.room.member", content, state_key=user, sender=by)
    await town.city.city.message_removals.step()


async def bodies(town: Town) -> list[str]:
    return [each["body"] for each in await town.messages() if not each["deleted"]]


@pytest.mark.parametrize("membership", ["ban", "leave"])
@pytest.mark.parametrize("key", [UNSTABLE, "redact_events"])
async def test_messages_disappear_with_their_author(
    town: Town, membership: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_removals, "PORTION", 2)
    await town.member(SPAMMER, "join")
    kept = await town.receive_text("думка")
    poll = await town.receive("org.matrix.msc3381.poll.start", POLL)
    for number in range(5):
        await town.receive("m.room.message", {"msgtype": "m.text", "body": f"spam {number}"}, sender=SPAMMER)
    for form in ("👍", "👍\ufe0f", "👍\ufe0e"):
        relation = {"rel_type": "m.annotation", "event_id": kept, "key": form}
        await town.receive("m.reaction", {"m.relates_to": relation}, sender=SPAMMER)
    for _ in range(3):
        vote = {"m.relates_to": {"rel_type": "m.reference", "event_id": poll}, VOTE: {"answers": ["a"]}}
        await town.receive(VOTE, vote, sender=SPAMMER)
    first, second = (await town.messages())[:2]
    assert (len(first["reactions"]), second["poll"]["options"][0]["votes"]) == (1, 1)

    await remove(town, membership=membership, more={key: True})
    first, second = (await town.messages())[:2]
    assert await bodies(town) == ["думка", second["body"]]
    assert (first["reactions"], second["poll"]["options"][0]["votes"]) == ([], 0)
    assert await town.feed_bodies() == await bodies(town)
    async with town.city.city.database.read_only() as tx:
        assert await tx.message_removals.unfinished() == []

    await town.receive("m.room.member", {"membership": "leave"}, state_key=SPAMMER, sender=MODERATOR)
    await town.member(SPAMMER, "join")
    await town.receive("m.room.message", {"msgtype": "m.text", "body": "вибачте"}, sender=SPAMMER)
    await town.city.city.message_removals.step()
    assert (await bodies(town))[-1] == "вибачте"


async def test_messages_of_a_citizen_disappear_with_the_ghost(town: Town) -> None:
    await town.join()
    await town.post("реклама")
    await remove(town, OKSANA_GHOST)
    (message,) = await town.messages()
    assert (message["deleted"], message["author"]["kind"]) == (True, AuthorKind.CITIZEN)


async def test_vote_and_reaction_that_are_not_on_matrix_yet_disappear(town: Town) -> None:
    await town.join()
    await town.receive("org.matrix.msc3381.poll.start", POLL)
    (poll,) = await town.messages()
    path = poll["id"]
    assert (await town.call("POST", f"{path}/votes", {"selections": ["a"]}))[0] in {200, 201}
    assert (await town.call("PUT", f"{path}/reactions/{quote('👍')}"))[0] == 200
    (poll,) = await town.messages()
    assert (len(poll["reactions"]), poll["poll"]["options"][0]["votes"]) == (1, 1)
    await remove(town, OKSANA_GHOST)
    (poll,) = await town.messages()
    assert (poll["reactions"], poll["poll"]["options"][0]["votes"]) == ([], 0)


async def test_reactions_are_looked_for_when_no_message_is_left(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_removals, "PORTION", 2)
    found: list[str] = []
    for name in ("messages", "reactions"):
        monkeypatch.setattr(MessageRemovalRepository, name, recorded(getattr(MessageRemovalRepository, name), found))
    await town.member(SPAMMER, "join")
    for number in range(5):
        await town.receive("m.room.message", {"msgtype": "m.text", "body": f"spam {number}"}, sender=SPAMMER)
    await remove(town)
    assert (await bodies(town), found) == ([], ["messages"] * 4 + ["reactions"])


def recorded(method: Any, calls: list[str]) -> Any:
    async def record(*args: Any, **named: Any) -> Any:
        calls.append(method.__name__)
        return await method(*args, **named)

    return record


@pytest.mark.parametrize(
    ("more", "by"),
    [
        ({UNSTABLE: False}, MODERATOR),
        ({UNSTABLE: "true"}, MODERATOR),
        ({UNSTABLE: 1}, MODERATOR),
        ({"reason": "шум"}, MODERATOR),
        ({UNSTABLE: True}, ALICE),
    ],
)
async def test_messages_stay_without_the_wish_or_the_right(town: Town, more: dict[str, Any], by: str) -> None:
    await town.member(SPAMMER, "join")
    await town.receive("m.room.message", {"msgtype": "m.text", "body": "думка"}, sender=SPAMMER)
    await remove(town, by=by, more=more)
    assert await bodies(town) == ["думка"]


async def test_messages_stay_when_their_author_leaves(town: Town) -> None:
    await town.member(SPAMMER, "join")
    await town.receive("m.room.message", {"msgtype": "m.text", "body": "думка"}, sender=SPAMMER)
    await remove(town, by=SPAMMER, membership="leave")
    assert await bodies(town) == ["думка"]


async def test_messages_stay_if_the_moderator_may_send_no_redactions(town: Town) -> None:
    levels = {"users": {MODERATOR: 50}, "redact": 50, "events": {"m.room.redaction": 90}}
    await town.receive("m.room.power_levels", levels, state_key="")
    await town.member(SPAMMER, "join")
    await town.receive("m.room.message", {"msgtype": "m.text", "body": "думка"}, sender=SPAMMER)
    await remove(town)
    assert await bodies(town) == ["думка"]
    assert (await town.city.call("GET", ROOM)).status == 200


async def test_messages_of_a_chat_disappear_with_their_author(database_url: str) -> None:
    async with matrix_chat(database_url) as chat:
        await chat.set_state("m.room.power_levels", {"users": {ALICE: 100}})
        for membership, sender in (("invite", ALICE), ("join", SPAMMER)):
            await chat.receive("m.room.member", {"membership": membership}, state_key=SPAMMER, sender=sender)
        for body, sender in (("думка", ALICE), ("spam", SPAMMER)):
            await chat.receive("m.room.message", {"msgtype": "m.text", "body": body}, sender=sender)
        ban = {"membership": "ban", UNSTABLE: True}
        await chat.receive("m.room.member", ban, state_key=SPAMMER, sender=ALICE)
        await chat.city.city.message_removals.step()
        async with chat.city.city.database.read_only() as tx:
            room = await chat.id()
            left = [each.body for each in await tx.messages.before(RoomId(room), None, limit=9) if not each.deleted]
    assert "думка" in left
    assert "spam" not in left


@pytest.mark.parametrize("erased", [MODERATOR, SPAMMER])
async def test_erasure_leaves_no_id_in_an_unfinished_removal(town: Town, erased: str) -> None:
    await town.member(SPAMMER, "join")
    await town.receive("m.room.message", {"msgtype": "m.text", "body": "spam"}, sender=SPAMMER)
    ban = {"membership": "ban", UNSTABLE: True}
    await town.receive("m.room.member", ban, state_key=SPAMMER, sender=MODERATOR)
    removals = town.city.city.message_removals
    async with town.city.city.database.read_only() as tx:
        (read_before,) = await tx.message_removals.unfinished()

    assert (await town.city.call("DELETE", f"/api/v1/people/{quote(erased)}", token=ADMIN_TOKEN)).status == 202
    town.city.city.erasures._settling_ms = 0
    await town.city.city.erasures.step()
    async with town.city.city.database.read_only() as tx:
        assert erased not in str(await tx.message_removals.unfinished())
    # A step that had read the removal before the erasure goes on.
    await removals._delete_portion(read_before)
    await removals.step()
    async with town.city.city.database.read_only() as tx:
        assert await tx.message_removals.unfinished() == []
        events = (await tx.connection.execute(select(room_events))).all()
    assert await bodies(town) == []
    assert erased not in str(events)
