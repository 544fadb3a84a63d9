"""Contents of requests to the agents core, and requests that are edited or deleted during the reply."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.agents import edit_throttle, request_watcher
from daarion_appservice.city.messages import Draft
from daarion_appservice.city.second_me import SECOND_ME
from daarion_appservice.city.types import Author, AuthorKind, Media, Message, RoomId
from daarion_appservice.clock import now_ms
from tests.parts.agent_replies import GENERAL, SCRIBE, AgentReplyHarness, open_agent_replies
from tests.parts.agents_core import DONE, after, answers, delta, pauses, says, stalls_after
from tests.parts.city import eventually
from tests.parts.messaging import link

OKSANA = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
PETRO = Author(AuthorKind.CITIZEN, "u_2", "Петро")
ALICE = "@alice:city.localhost"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
VOICE = {
    "msgtype": "m.audio",
    "body": "Voice message.ogg",
    "url": "mxc://city.localhost/voice",
    "info": {"mimetype": "audio/ogg", "size": 34_500, "duration": 12_300},
}
PHOTO = {
    "msgtype": "m.image",
    "body": "photo.png",
    "url": "mxc://city.localhost/photo",
    "info": {"mimetype": "image/png", "size": 108, "w": 640, "h": 480},
}


@pytest.fixture
async def harness(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AgentReplyHarness]:
    monkeypatch.setattr(request_watcher, "_CHECK_INTERVAL_S", 0.02)
    monkeypatch.setattr(edit_throttle, "_FIRST_INTERVAL_S", 0.0)
    monkeypatch.setattr(edit_throttle, "_SECOND_INTERVAL_S", 0.0)
    async with open_agent_replies(database_url, monkeypatch) as harness:
        yield harness


async def happens(harness: AgentReplyHarness, room: RoomId, content: Any, *, event_id: str = "$1") -> Message:
    """Alice says something on Matrix; returns the message that it became."""
    async with harness.database.transaction() as tx:
        found = await tx.rooms.get(room)
        assert found is not None
        event: dict[str, Any] = {
            "type": "m.room.message",
            "event_id": event_id,
            "sender": ALICE,
            "room_id": found.matrix_room_id,
        }
        event |= {"origin_server_ts": now_ms()}
        await harness.messaging.handlers().handle(tx, event | {"content": content})
    return (await harness.messages(room))[-1]


# --- the message replied to ---------------------------------------------------------------------------


async def test_reply_brings_the_message_replied_to(harness: AgentReplyHarness) -> None:
    old = await harness.messaging.post(PETRO, "general", "Guten Tag,\nzusammen")
    for number in range(24):
        await harness.messaging.post(PETRO, "general", f"щось {number}")
    await harness.messaging.post(OKSANA, "general", "@scribe, переклади це", reply_to=old.id)
    async with harness.running_worker():
        await harness.replies()
    (received,) = harness.core.requests
    assert received.content["input"] == "> Петро: Guten Tag,\n> zusammen\n\n@scribe, переклади це"
    assert received.content["context"]["reply_to"] == {"author": "Петро", "content": "Guten Tag,\nzusammen"}


async def test_direct_chat_reply_includes_replied_message(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    await happens(harness, chat.id, {"msgtype": "m.text", "body": "Guten Tag"}, event_id="$old")
    relation = {"m.in_reply_to": {"event_id": "$old"}}
    async with harness.running_worker():
        await harness.replies(room=chat.id)
        await happens(
            harness, chat.id, {"msgtype": "m.text", "body": "Переклади", "m.relates_to": relation}, event_id="$2"
        )
        await harness.replies(2, room=chat.id)
    assert harness.core.requests[1].content["input"] == f"> {ALICE}: Guten Tag\n\nПереклади"


async def test_request_in_thread_brings_the_thread(harness: AgentReplyHarness) -> None:
    async with harness.database.transaction() as tx:
        await link(tx, GENERAL, "!general")
    await happens(harness, GENERAL, {"msgtype": "m.text", "body": "Guten Tag"}, event_id="$root")
    await happens(harness, GENERAL, {"msgtype": "m.text", "body": "поза ниткою"}, event_id="$other")
    thread = {
        "rel_type": "m.thread",
        "event_id": "$root",
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": "$root"},
    }
    await happens(
        harness, GENERAL, {"msgtype": "m.text", "body": "@scribe: переклади", "m.relates_to": thread}, event_id="$2"
    )
    await happens(harness, GENERAL, {"msgtype": "m.text", "body": "@scribe, а тут?"}, event_id="$3")
    async with harness.running_worker():
        await harness.replies(2)
    histories = {each.content["input"]: each.content["context"]["history"] for each in harness.core.requests}
    in_thread, outside = histories["@scribe: переклади"], histories["@scribe, а тут?"]
    assert [each["content"] for each in in_thread] == [f"{ALICE}: Guten Tag"]
    assert [each["content"] for each in outside] == [f"{ALICE}: Guten Tag", f"{ALICE}: поза ниткою"]
    messages = {message.body: message for message in await harness.messages(GENERAL)}
    root = messages["Guten Tag"].id
    replies = {message.reply_to: message.thread_root for message in messages.values() if message.reply_to}
    assert replies == {messages["@scribe: переклади"].id: root, messages["@scribe, а тут?"].id: None}


@pytest.mark.parametrize(
    ("root", "turns", "asks"),
    [
        ("agent", [], True),
        ("agent", ["petro"], True),
        ("oksana", [], False),
        ("oksana", ["oksana", "scribe"], True),
        ("oksana", ["petro", "scribe"], False),
        ("oksana", ["oksana", "scribe", "petro"], False),
    ],
)
async def test_agent_of_thread_replies_without_mention(
    harness: AgentReplyHarness, root: str, turns: list[str], asks: bool
) -> None:
    """In a thread that an agent began, or as the next turn after its reply to the same author."""
    scribe = Author(AuthorKind.AGENT, "scribe", "Писар")
    authors = {"agent": scribe, "scribe": scribe, "oksana": OKSANA, "petro": PETRO}
    begun = await harness.messaging.post(authors[root], "general", "почнімо")
    previous: Message | None = None
    for turn in turns:
        reply_to = previous.id if previous is not None and turn == "scribe" else None
        draft = Draft("так", thread_root=begun.id, reply_to=reply_to)
        posted = await harness.messaging.messages.post(authors[turn], "general", draft, requests_replies=False)
        previous = posted.message
    await harness.messaging.messages.post(OKSANA, "general", Draft("а далі?", thread_root=begun.id))
    async with harness.database.read_only() as tx:
        pending = await tx.agent_replies.due(now_ms=1 << 60, limit=9)
    assert [each.agent for each in pending] == (["scribe"] if asks else [])


async def test_second_me_gets_quotation_but_stores_prompt(
    harness: AgentReplyHarness,
) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    relation = {"m.in_reply_to": {"event_id": "$old"}}
    async with harness.running_worker(), harness.second_me() as second_me:
        await happens(harness, chat.id, {"msgtype": "m.text", "body": "Guten Tag"}, event_id="$old")
        await harness.replies(room=chat.id)
        await happens(
            harness, chat.id, {"msgtype": "m.text", "body": "Переклади", "m.relates_to": relation}, event_id="$2"
        )
        await harness.replies(2, room=chat.id)
        remembered = await second_me.history(harness.core.requests[1].content["context"]["user_id"])
    assert harness.core.requests[1].content["input"] == f"> {ALICE}: Guten Tag\n\nПереклади"
    assert [each.prompt for each in remembered] == ["Guten Tag", "Переклади"]


async def test_deleted_message_is_not_quoted(harness: AgentReplyHarness) -> None:
    old = await harness.messaging.post(PETRO, "general", "таємне")
    await harness.messaging.post(OKSANA, "general", "@scribe, що там?", reply_to=old.id)
    await harness.messaging.message_edits.delete(PETRO, "general", old.id, may_moderate=False)
    async with harness.running_worker():
        await harness.replies()
    assert "таємне" not in str(harness.core.requests[0].content)
    assert harness.core.requests[0].content["input"] == "@scribe, що там?"


async def test_long_message_is_quoted_in_bounds(harness: AgentReplyHarness) -> None:
    old = await harness.messaging.post(PETRO, "general", "ї" * 20_000)
    await harness.messaging.post(OKSANA, "general", "@scribe?", reply_to=old.id)
    async with harness.running_worker():
        await harness.replies()
    assert len(harness.core.requests[0].content["input"]) < 4_100


# --- files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "described"),
    [
        (VOICE, "audio Voice message.ogg, audio/ogg, 12 seconds, 34.5 kB"),
        (PHOTO, "image photo.png, image/png, 640×480, 108 bytes"),
        ({"msgtype": "m.file", "body": "a.pdf", "url": "mxc://x.org/a"}, "file a.pdf, application/octet-stream"),
        (
            {"msgtype": "m.video", "body": "a.mp4", "url": "mxc://x.org/a", "info": {"mimetype": "video/mp4"}},
            "video a.mp4, video/mp4",
        ),
        (
            {"msgtype": "m.image", "body": "a.png", "file": {"url": "mxc://x.org/a"}},
            "image a.png, encrypted, cannot be opened",
        ),
    ],
)
async def test_file_is_described(harness: AgentReplyHarness, content: Any, described: str) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    await happens(harness, chat.id, content)
    async with harness.running_worker():
        await harness.replies(room=chat.id)
    (received,) = harness.core.requests
    unseen = "[The content of the file is not available to you: say so if it matters.]"
    assert received.content["input"] == f"[{described}]\n\n{unseen}"
    (attachment,) = received.content["context"]["attachments"]
    assert (attachment["kind"], attachment["name"]) == (content["msgtype"][2:], content["body"])
    assert attachment["mxc"] == content.get("url")


async def test_location_request_includes_place(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    await happens(harness, chat.id, {"msgtype": "m.location", "body": "Ось тут", "geo_uri": "geo:50.45,30.52"})
    async with harness.running_worker():
        await harness.replies(room=chat.id)
    assert harness.core.requests[0].content["input"] == "Ось тут (geo:50.45,30.52)"


async def test_caption_is_the_question(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    await happens(harness, chat.id, PHOTO | {"body": "Що це?", "filename": "photo.png"})
    async with harness.running_worker():
        await harness.replies(room=chat.id)
    assert harness.core.requests[0].content["input"].startswith("Що це?\n\n[image photo.png, image/png")


async def test_files_in_the_history_are_described(harness: AgentReplyHarness) -> None:
    async with harness.database.transaction() as tx:
        await link(tx, GENERAL, "!general")
    await happens(harness, GENERAL, PHOTO)
    await harness.messaging.post(OKSANA, "general", "@scribe, що було?")
    async with harness.running_worker():
        await harness.replies()
    assert harness.core.requests[0].history == [f"{ALICE}: [image photo.png, image/png, 640×480, 108 bytes]"]


@pytest.mark.parametrize("is_reply", [False, True], ids=["asked", "replied to"])
async def test_image_is_sent_to_vision_model(harness: AgentReplyHarness, is_reply: bool) -> None:
    harness.core_kind, harness.max_image_bytes = "openai", 1_000
    harness.pictures[PHOTO["url"]] = PNG, "image/png"  # type: ignore[index]
    chat = await harness.create_direct_chat(SCRIBE, is_group=is_reply)
    await happens(harness, chat.id, PHOTO)
    harness.core.next(answers({"choices": [{"message": {"content": "Кіт"}}]}))
    if is_reply:
        relation = {"m.in_reply_to": {"event_id": "$1"}}
        await happens(
            harness, chat.id, {"msgtype": "m.text", "body": "@scribe, що це?", "m.relates_to": relation}, event_id="$2"
        )
    async with harness.running_worker():
        await harness.replies(room=chat.id)
    text, image = harness.core.requests[0].content["messages"][-1]["content"]
    assert image == {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{b64encode(PNG).decode()}"},
    }
    assert "photo.png" in text["text"]
    assert "not available" not in text["text"]


@pytest.mark.parametrize(
    ("fetched", "max_image_bytes"),
    [((PNG, "image/png"), 0), ((PNG * 20, "image/png"), 1_000), ((b"<svg>", "image/svg+xml"), 1_000), (None, 1_000)],
    ids=["not wanted", "too large", "of another type", "gone"],
)
async def test_unsendable_image_is_described(
    harness: AgentReplyHarness, fetched: tuple[bytes, str] | None, max_image_bytes: int
) -> None:
    harness.core_kind, harness.max_image_bytes = "openai", max_image_bytes
    if fetched:
        harness.pictures[PHOTO["url"]] = fetched  # type: ignore[index]
    chat = await harness.create_direct_chat(SCRIBE)
    await happens(harness, chat.id, PHOTO)
    harness.core.next(answers({"choices": [{"message": {"content": "Кіт"}}]}))
    async with harness.running_worker():
        await harness.replies(room=chat.id)
    content = harness.core.requests[0].content["messages"][-1]["content"]
    assert content.startswith("[image photo.png, image/png")
    assert "not available" in content


async def test_media_of_the_city_is_described(harness: AgentReplyHarness) -> None:
    async with harness.database.transaction() as tx:
        upload = Media("mxc://city.localhost/up", "application/pdf", "звіт.pdf", 2_000_000)
        await tx.media.add_upload(OKSANA, upload, now_ms=1)

    await harness.messaging.messages.post(OKSANA, "general", Draft("@scribe, глянь", media=upload.mxc))
    async with harness.running_worker():
        await harness.replies()
    assert (
        harness.core.requests[0].content["input"].startswith("@scribe, глянь\n\n[file звіт.pdf, application/pdf, 2 MB]")
    )


# --- questions that change ----------------------------------------------------------------------------


async def is_requested(harness: AgentReplyHarness, times: int = 1) -> None:
    async def is_received() -> bool:
        return len(harness.core.requests) == times

    await eventually(is_received, explain=lambda: f"received {[each.content for each in harness.core.requests]}")


async def has_begun(harness: AgentReplyHarness, room: RoomId = GENERAL) -> None:
    async def begun() -> bool:
        return any(message.author.kind is AuthorKind.AGENT for message in await harness.messages(room))

    await eventually(begun)


async def nothing_is_posted(harness: AgentReplyHarness, room: RoomId = GENERAL) -> None:
    async def hung_up() -> bool:
        return harness.core.hung_up == 1

    await eventually(hung_up)

    async def is_gone() -> bool:
        by_agents = [message for message in await harness.messages(room) if message.author.kind is AuthorKind.AGENT]
        async with harness.database.read_only() as tx:
            is_owed = await tx.agent_replies.due(now_ms=1 << 60, limit=1)
        return not is_owed and all(message.deleted for message in by_agents)

    await eventually(is_gone)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["not streamed", "streamed"])
async def test_deleted_question_ends_the_call(harness: AgentReplyHarness, is_streamed: bool) -> None:
    harness.core.next(stalls_after(delta("Поло")) if is_streamed else after(asyncio.Event(), says("Половина")))
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await (has_begun(harness) if is_streamed else is_requested(harness))
        await harness.messaging.message_edits.delete(OKSANA, "general", question.id, may_moderate=False)
        await nothing_is_posted(harness)


async def test_redacted_question_of_a_chat_ends_the_call(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SECOND_ME)
    harness.core.next(stalls_after(delta("Поло")), says("Друга"))
    async with harness.running_worker(), harness.second_me() as second_me:
        await happens(harness, chat.id, {"msgtype": "m.text", "body": "Перша"})
        await has_begun(harness, chat.id)
        await harness.receive(chat, "m.room.redaction", {"redacts": "$1"}, sender=ALICE)
        await nothing_is_posted(harness, chat.id)
        await happens(harness, chat.id, {"msgtype": "m.text", "body": "Друга?"}, event_id="$2")
        await harness.replies(2, room=chat.id)
        remembered = await second_me.history(harness.core.requests[1].content["context"]["user_id"])
    assert [each.prompt for each in remembered] == ["Друга?"]


async def test_restart_deletes_draft_of_deleted_request(harness: AgentReplyHarness) -> None:
    harness.core.next(stalls_after(delta("Поло")))
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await has_begun(harness)
    await harness.messaging.message_edits.delete(OKSANA, "general", question.id, may_moderate=False)
    async with harness.running_worker():
        await nothing_is_posted(harness)
    assert len(harness.core.requests) == 1


async def test_deleted_request_gets_no_failure_notice(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_watcher, "_CHECK_INTERVAL_S", 60.0)
    gate = asyncio.Event()
    harness.core.next(pauses(gate, delta("Поло"), b"data: {nonsense\n\n"))
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await has_begun(harness)
        await harness.messaging.message_edits.delete(OKSANA, "general", question.id, may_moderate=False)
        gate.set()
        (begun,) = await harness.replies()
    assert begun.deleted


async def test_complete_reply_to_deleted_request_is_deleted(
    harness: AgentReplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_watcher, "_CHECK_INTERVAL_S", 60.0)
    gate = asyncio.Event()
    harness.core.next(pauses(gate, delta("Поло"), delta("вина"), DONE))
    question = await harness.messaging.post(OKSANA, "general", "@scribe?")
    async with harness.running_worker():
        await has_begun(harness)
        await harness.messaging.message_edits.delete(OKSANA, "general", question.id, may_moderate=False)
        gate.set()
        (begun,) = await harness.replies()
    assert begun.deleted


async def test_edited_request_is_answered_as_edited(harness: AgentReplyHarness) -> None:
    harness.core.next(stalls_after(delta("О першій")), says("О другій"))
    question = await harness.messaging.post(OKSANA, "general", "@scribe, о котрій обід?")
    async with harness.running_worker():
        await has_begun(harness)
        await harness.messaging.message_edits.edit(OKSANA, "general", question.id, "@scribe, о котрій вечеря?")
        await is_requested(harness, 2)
        (answer,) = await harness.replies()
    assert (answer.body, answer.deleted) == ("О другій", False)
    assert harness.core.requests[1].content["input"] == "@scribe, о котрій вечеря?"


async def test_question_edited_to_ask_another_ends_the_call(harness: AgentReplyHarness) -> None:
    harness.core.next(stalls_after(delta("Поло")), says("Я тут"))
    question = await harness.messaging.post(OKSANA, "general", "@scribe, ти тут?")
    async with harness.running_worker():
        await has_begun(harness)
        await harness.messaging.message_edits.edit(OKSANA, "general", question.id, "@varta, ти тут?")
        first, second = await harness.replies(2)
    assert (first.author.id, first.deleted) == ("scribe", True)
    assert (second.author.id, second.body) == ("varta", "Я тут")


async def test_question_edited_again_and_again_is_answered(harness: AgentReplyHarness) -> None:
    harness.core.next(*[after(asyncio.Event(), says("…"))] * 5, says("Так"))
    question = await harness.messaging.post(OKSANA, "general", "@scribe, 0")
    async with harness.running_worker():
        for number in range(1, 6):
            await is_requested(harness, number)
            await harness.messaging.message_edits.edit(OKSANA, "general", question.id, f"@scribe, {number}")
        (answer,) = await harness.replies()
    assert answer.body == "Так"


async def test_edit_with_new_mention_requests_one_reply(harness: AgentReplyHarness) -> None:
    message = await harness.messaging.post(OKSANA, "general", "Хто знає?")
    for body in ("@scribe, хто знає?", "@scribe, хто це знає?", "Хто знає?", "@scribe, хто знає?"):
        await harness.messaging.message_edits.edit(OKSANA, "general", message.id, body)
    async with harness.running_worker():
        (answer,) = await harness.replies()
    assert answer.reply_to == message.id
    assert [received.content["input"] for received in harness.core.requests] == ["@scribe, хто знає?"]


async def test_matrix_edit_with_mention_requests_reply(harness: AgentReplyHarness) -> None:
    async with harness.database.transaction() as tx:
        await link(tx, GENERAL, "!general")
    await happens(harness, GENERAL, {"msgtype": "m.text", "body": "Хто знає?"})
    mentions = {"user_ids": ["@agent_scribe:city.localhost"]}
    new = {"msgtype": "m.text", "body": "Писарю, хто знає?", "m.mentions": mentions}
    edit = {"m.new_content": new, "m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}, "m.mentions": mentions}
    for number in (2, 3):
        await happens(harness, GENERAL, {"msgtype": "m.text", "body": "* …"} | edit, event_id=f"${number}")
    async with harness.running_worker():
        await harness.replies()
    assert [received.content["input"] for received in harness.core.requests] == ["Писарю, хто знає?"]


async def test_edit_of_mentioning_message_requests_nothing(harness: AgentReplyHarness) -> None:
    chat = await harness.create_direct_chat(SCRIBE)
    await happens(harness, chat.id, {"msgtype": "m.text", "body": "Хто знає?"})
    async with harness.running_worker():
        await harness.replies(room=chat.id)
        edit = {"m.new_content": {"msgtype": "m.text", "body": "Хто це знає?"}, "body": "*", "msgtype": "m.text"}
        relation = {"rel_type": "m.replace", "event_id": "$1"}
        await happens(harness, chat.id, edit | {"m.relates_to": relation}, event_id="$2")
        await harness.replies(room=chat.id)
    assert len(harness.core.requests) == 1
