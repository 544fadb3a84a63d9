"""Tests of what an agent gets with a question: the message replied to, the thread, and files."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daarion_appservice.city.messages import Draft
from daarion_appservice.city.second_me import SECOND_ME
from daarion_appservice.city.types import Author, AuthorKind, Media, Message
from tests.parts.agent_questions import ALICE, OKSANA, happens, open_quick_replies
from tests.parts.agent_replies import GENERAL, SCRIBE, AgentReplyHarness
from tests.parts.agents_core import answers
from tests.parts.messaging import link

PETRO = Author(AuthorKind.CITIZEN, "u_2", "Петро")
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
    async with open_quick_replies(database_url, monkeypatch) as harness:
        yield harness


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
