"""Conversion between the content of Matrix events and the city's messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daarion_appservice.city.event_fields import EDIT_ID, MESSAGE_ID
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.linked_accounts import LinkedAccount, LinkedAccounts
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    CitizenId,
    Content,
    EventId,
    Message,
    MessageId,
    RoomId,
    SubjectId,
    UserId,
)
from daarion_appservice.matrix.client.message_content import (
    msgtype_of_file,
    read_message_content,
    replaced,
    replied_to,
    shortcode_of,
    with_location,
)
from daarion_appservice.matrix.client.polls import poll_event_text
from daarion_appservice.matrix.outbound.rendering import edit_content, message_content

IDENTITIES = Identities("city.localhost", "daarion_bot")
ALICE, SCRIBE = SubjectId("@alice:city.localhost"), SubjectId("agent:scribe")
SCRIBES_GHOST, MXC = "@agent_scribe:city.localhost", "mxc://city.localhost/abc"


def read(content: dict[str, Any], event_type: str = "m.room.message") -> Content | None:
    return read_message_content(event_type, content, IDENTITIES)


def text_message(body: str, **more: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body} | more


# --- from Matrix --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [{}, {"body": 7}, {"msgtype": "m.text"}, {"msgtype": "m.key.verification.request", "body": "verify"}],
)
def test_content_without_text_is_no_message(content: dict[str, Any]) -> None:
    assert read(content) is None


@pytest.mark.parametrize(
    ("msgtype", "expected"), [("m.notice", "m.notice"), ("m.emote", "m.emote"), ("org.example.custom", "m.text")]
)
def test_unknown_msgtype_is_read_as_text(msgtype: str, expected: str) -> None:
    message = read({"msgtype": msgtype, "body": "hello"})
    assert message is not None
    assert (message.body, message.msgtype) == ("hello", expected)


@pytest.mark.parametrize(
    ("more", "mentions"),
    [
        ({}, ()),
        ({"m.mentions": {"user_ids": [SCRIBES_GHOST, ALICE, SCRIBES_GHOST]}}, (SCRIBE, ALICE)),
        ({"m.mentions": {"user_ids": [7, None, "nobody"]}}, ()),
        ({"m.mentions": {"user_ids": "text"}}, ()),
        ({"m.mentions": {}}, ()),
    ],
)
def test_mentions_are_read_as_subjects(more: dict[str, Any], mentions: tuple[SubjectId, ...]) -> None:
    message = read(text_message("hello", **more))
    assert message is not None
    assert message.mentions == mentions


def test_message_without_mentions_names_ghosts() -> None:
    named = read(text_message(f"hello {SCRIBES_GHOST}"))
    denied = read(text_message(f"hello {SCRIBES_GHOST}", **{"m.mentions": {}}))
    assert named is not None
    assert denied is not None
    assert (named.mentions, denied.mentions) == ((SCRIBE,), ())


def test_file_keeps_its_description() -> None:
    info = {"mimetype": "image/png", "size": 9, "w": 2, "h": 1, "thumbnail_url": MXC}
    message = read({"msgtype": "m.image", "body": "cat.png", "url": MXC, "info": info})
    assert message is not None
    media = message.media
    assert media is not None
    assert (media.mxc, media.filename, media.size, media.width, media.height) == (MXC, "cat.png", 9, 2, 1)
    assert media.thumbnail_mxc == MXC


@pytest.mark.parametrize("url", [None, "https://elsewhere.example/cat.png", 7])
def test_file_without_mxc_uri_is_text(url: object) -> None:
    message = read({"msgtype": "m.image", "body": "cat.png", "url": url})
    assert message is not None
    assert (message.msgtype, message.media) == ("m.text", None)


@pytest.mark.parametrize("size", [-1, 1 << 53, True, "9", 1.5])
def test_invalid_size_of_file_is_dropped(size: object) -> None:
    message = read({"msgtype": "m.file", "body": "a", "url": MXC, "info": {"size": size}})
    assert message is not None
    assert message.media is not None
    assert message.media.size is None


@pytest.mark.parametrize(("url", "msgtype"), [(MXC, "m.image"), (None, "m.text")])
def test_sticker_is_read_as_picture_or_its_name(url: str | None, msgtype: str) -> None:
    message = read({"body": "wave", "url": url}, "m.sticker")
    assert message is not None
    assert (message.body, message.msgtype) == ("wave", msgtype)


def test_location_is_appended_once() -> None:
    content = {"msgtype": "m.location", "body": "here", "geo_uri": "geo:50.4,30.5"}
    message = with_location(Content("here"), content)
    assert message.body == "here (geo:50.4,30.5)"
    assert with_location(message, content) == message
    assert with_location(Content("here"), text_message("here")) == Content("here")


@pytest.mark.parametrize(
    ("relation", "reply", "edit"),
    [
        ({}, None, None),
        ({"m.in_reply_to": {"event_id": "$a"}}, "$a", None),
        ({"rel_type": "m.replace", "event_id": "$a"}, None, "$a"),
        (
            {"rel_type": "m.thread", "event_id": "$a", "is_falling_back": True, "m.in_reply_to": {"event_id": "$b"}},
            None,
            None,
        ),
        ({"rel_type": "m.thread", "event_id": "$a", "m.in_reply_to": {"event_id": "$b"}}, "$b", None),
        ({"rel_type": "m.replace", "event_id": 7, "m.in_reply_to": []}, None, None),
    ],
)
def test_relations_are_read(relation: dict[str, Any], reply: str | None, edit: str | None) -> None:
    content = {"m.relates_to": relation}
    assert (replied_to(content), replaced(content)) == (reply, edit)


def test_msgtype_of_file_is_none_for_text() -> None:
    assert (msgtype_of_file({"msgtype": "m.audio"}), msgtype_of_file(text_message("a"))) == ("m.audio", None)


@pytest.mark.parametrize(
    ("key", "more", "expected"),
    [
        (MXC, {"shortcode": ":wave:"}, ":wave:"),
        (MXC, {"com.beeper.reaction.shortcode": ":wave:"}, ":wave:"),
        (MXC, {}, None),
        ("👍", {"shortcode": ":wave:"}, None),
    ],
)
def test_shortcode_is_read_for_pictures_only(key: str, more: dict[str, Any], expected: str | None) -> None:
    assert shortcode_of({"m.relates_to": {"key": key}} | more) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"m.poll": {"question": {"m.text": [{"body": "Tea?"}]}, "answers": [{"m.text": [{"body": "Yes"}]}]}},
            "Tea?\n1. Yes",
        ),
        (
            {
                "org.matrix.msc3381.poll.start": {
                    "question": {"org.matrix.msc1767.text": "Tea?"},
                    "answers": [{"org.matrix.msc1767.text": "Yes"}, 7, {"org.matrix.msc1767.text": "No"}],
                }
            },
            "Tea?\n1. Yes\n2. No",
        ),
        ({"m.text": [{"mimetype": "text/html", "body": "<b>"}, {"body": "fallback"}]}, "fallback"),
        ({"m.poll": {"question": 7}}, None),
    ],
)
def test_poll_is_read_as_question_and_options(content: dict[str, Any], expected: str | None) -> None:
    assert poll_event_text(content) == expected


# --- to Matrix ----------------------------------------------------------------------------------------


def message(body: str, *, mentions: tuple[SubjectId, ...] = (), event: str | None = None, agent: str = "") -> Message:
    kind = AuthorKind.AGENT if agent else AuthorKind.CITIZEN
    author = Author(kind, agent or "u_1", "Author")
    return Message(
        MessageId("m1"), RoomId("city_general"), 1, author, body, 0, mentions=mentions, matrix_event_id=_event(event)
    )


def _event(event: str | None) -> EventId | None:
    return None if event is None else EventId(event)


def test_reply_relates_to_event_and_mentions_author() -> None:
    content = message_content(message("yes"), message("question", event="$q", agent="scribe"), IDENTITIES)
    assert content["m.relates_to"] == {"m.in_reply_to": {"event_id": "$q"}}
    assert content["m.mentions"] == {"user_ids": [SCRIBES_GHOST]}
    assert content[MESSAGE_ID] == "m1"


@pytest.mark.parametrize("is_private", [True, False])
def test_reply_in_private_chat_has_no_relation(is_private: bool) -> None:
    target = message("question", event="$q" if is_private else None, agent="scribe")
    content = message_content(message("yes", mentions=(SCRIBE,)), target, IDENTITIES, is_private=is_private)
    assert "m.relates_to" not in content
    assert content["m.mentions"] == ({} if is_private else {"user_ids": [SCRIBES_GHOST]})


def test_edit_mentions_only_new_subjects() -> None:
    edited = message("new", mentions=(SCRIBE, ALICE))
    content = edit_content(edited, None, EventId("$m"), IDENTITIES, edit_id="e1", mentioned_before=[SCRIBE])
    assert content["m.mentions"] == {"user_ids": [ALICE]}
    assert content["m.new_content"]["m.mentions"] == {"user_ids": [SCRIBES_GHOST, ALICE]}
    assert content["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$m"}
    assert content[EDIT_ID] == "e1"


def test_fallback_of_long_edit_is_an_excerpt() -> None:
    content = edit_content(message("я" * 300), None, EventId("$m"), IDENTITIES, edit_id="e1", mentioned_before=[])
    assert content["body"] == "* " + "я" * 250 + "…"
    assert content["m.new_content"]["body"] == "я" * 300


# --- of a linked citizen ------------------------------------------------------------------------------

PROFILE = "com.beeper.per_message_profile"


def linked() -> Identities:
    account = LinkedAccount(CitizenId("u_1"), UserId(ALICE), "Alice", "mxc://city.localhost/face")
    return replace(IDENTITIES, accounts=LinkedAccounts([account]))


def test_message_of_linked_citizen_names_matrix_user() -> None:
    wanted = {"id": ALICE, "displayname": "Alice", "avatar_url": "mxc://city.localhost/face"}
    content = message_content(message("hello"), None, linked())
    assert (content[PROFILE], content["body"]) == (wanted, "hello")
    edit = edit_content(message("hi"), None, EventId("$a"), linked(), edit_id="e", mentioned_before=())
    assert edit[PROFILE] == edit["m.new_content"][PROFILE] == wanted


def test_message_without_link_has_no_profile() -> None:
    assert PROFILE not in message_content(message("hello"), None, IDENTITIES)
    assert PROFILE not in message_content(message("hello", agent="scribe"), None, linked())


def test_reply_to_linked_citizen_mentions_matrix_user() -> None:
    target = message("question", event="$q")
    content = message_content(message("yes", agent="scribe", mentions=(ALICE,)), target, linked())
    assert content["m.mentions"] == {"user_ids": [ALICE]}
