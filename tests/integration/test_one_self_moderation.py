"""Tests of bans, removals and mutes of persons who are linked with a Matrix account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.parts.linked_person import ROOM, Town, open_town
from tests.parts.private_room import ALICE, OKSANA, OKSANA_GHOST


@pytest.fixture
async def town(database_url: str) -> AsyncIterator[Town]:
    async with open_town(database_url) as town:
        yield town


# --- bans ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [ALICE, OKSANA_GHOST])
async def test_ban_of_either_subject_binds_the_person(town: Town, user: str) -> None:
    await town.receive_text("думка", sender="@bob:city.localhost")
    (message,) = await town.messages()
    await town.join()
    await town.member(ALICE, "join")
    await town.link()
    moderated = {"state_key": user, "sender": "@moderator:city.localhost"}
    await town.receive("m.room.member", {"membership": "ban", "reason": "шум"}, **moderated)
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/messages", {"body": "ще"}),
        ("PUT", f"/messages/{message['id']}/reactions/{quote('👍')}", ...),
        ("POST", "/join", ...),
        ("PUT", "/typing", {"typing": True}),
        ("PUT", "/read", {"message_id": message["id"]}),
    ]
    for method, path, content in requests:
        answer = await town.city.call(method, ROOM + path, content, token=OKSANA)
        assert (answer.status, answer.content["code"]) == (403, "banned"), path
    assert (await town.city.get(ROOM, token=OKSANA))["removal"] == {"kind": "banned", "reason": "шум"}
    await town.receive("m.room.member", {"membership": "leave"}, **moderated)
    assert (await town.city.get(ROOM, token=OKSANA))["removal"] is None
    await town.post("знову")


# --- moderation ---------------------------------------------------------------------------------------


MODERATOR = "@olena:city.localhost"


async def moderate(town: Town, user: str, membership: str) -> None:
    content = {"membership": membership, "reason": "шум"}
    await town.receive("m.room.member", content, state_key=user, sender=MODERATOR)


async def writes(town: Town) -> dict[str, str | int]:
    """Return the results of all ways to write, by the way."""
    message = (await town.messages())[0]["id"]
    post = await town.city.call("POST", f"{ROOM}/messages", {"body": "ще"}, token=OKSANA)
    calls = {
        "message": (post.status, post.content),
        "reaction": await town.call("PUT", f"{message}/reactions/{quote('👍')}"),
        "edit": await town.call("PATCH", message, {"body": "інакше"}),
    }
    return {way: content["code"] if status >= 400 else status for way, (status, content) in calls.items()}


@pytest.mark.parametrize(("membership", "code"), [("ban", "banned"), ("leave", "kicked")])
@pytest.mark.parametrize("links_first", [True, False])
async def test_removal_of_matrix_user_binds_citizen(town: Town, membership: str, code: str, links_first: bool) -> None:
    await town.join()
    await town.post("до того")
    await town.member(ALICE, "join")
    if links_first:
        await town.link()
    await moderate(town, ALICE, membership)
    if not links_first:
        await town.link()
    assert await writes(town) == {"message": code, "reaction": code, "edit": code}
    room = await town.city.get(ROOM, token=OKSANA)
    assert (room["removal"]["kind"], room["removal"]["reason"]) == (code, "шум")

    joined = await town.city.call("POST", f"{ROOM}/join", token=OKSANA)
    assert joined.status == (403 if code == "banned" else 200)
    if code == "kicked":
        assert "kicked" not in (await writes(town)).values()
        assert (await town.city.get(ROOM, token=OKSANA))["removal"] is None


async def test_withdrawn_invitation_of_user_binds_nobody(town: Town) -> None:
    await town.post("до того")
    await town.link()
    await moderate(town, ALICE, "invite")
    await moderate(town, ALICE, "leave")
    assert "kicked" not in (await writes(town)).values()


async def test_lifted_ban_of_matrix_user_frees_citizen(town: Town) -> None:
    await town.post("до того")
    await town.link()
    await moderate(town, ALICE, "ban")
    await moderate(town, ALICE, "leave")
    assert "banned" not in (await writes(town)).values()


async def test_unlink_ends_ban_by_account_only(town: Town) -> None:
    await town.post("до того")
    await moderate(town, ALICE, "ban")
    await town.link()
    await town.unlink()
    assert "banned" not in (await writes(town)).values()
    await moderate(town, OKSANA_GHOST, "ban")
    await town.link()
    assert set((await writes(town)).values()) == {"banned"}


async def test_muted_matrix_user_is_muted_as_citizen(town: Town) -> None:
    await town.post("до того")
    await town.link()
    levels = {"users": {ALICE: -1}, "events_default": 0}
    await town.receive("m.room.power_levels", levels, state_key="", sender=MODERATOR)
    assert (await writes(town))["message"] == "muted"
    await town.unlink()
    assert (await writes(town))["message"] == 201
