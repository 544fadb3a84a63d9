"""Tests of persons who are linked with a Matrix account: the city shows them as that Matrix user everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select

from daarion_appservice.city.types import OutboxKind
from daarion_appservice.storage import tables
from tests.parts.linked_person import ROOM, Town, open_town
from tests.parts.private_room import ALICE, OKSANA, OKSANA_GHOST, TARAS

TOGETHER = {"kind": "matrix", "id": ALICE, "matrix_user_id": ALICE, "display_name": "Alice"}


@pytest.fixture
async def town(database_url: str) -> AsyncIterator[Town]:
    async with open_town(database_url) as town:
        yield town


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


# --- moderation ---------------------------------------------------------------------------------------


async def test_person_in_both_ways_has_one_join_entry(town: Town) -> None:
    await town.link()
    await town.member(ALICE, "join")
    await town.join()
    joined = [entry for entry in await town.city.get("/city/feed") if entry["kind"] == "member_joined"]
    assert [entry["actor"]["id"] for entry in joined] == [ALICE]
    assert (await town.city.get(ROOM))["members_online"] <= 1
