"""Messages of unknown kinds, captions, mentions of all members and custom emoji in the content of Matrix events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daarion_appservice.city.event_fields import fallback_text, is_message, is_message_or_change
from daarion_appservice.city.html_sanitizing import sanitize_html
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.power_levels import may_notify_room, may_redact
from daarion_appservice.city.types import Content, UserId
from daarion_appservice.matrix.client.message_content import read_message_content

IDENTITIES = Identities("city.localhost", "daarion_bot")
ALICE = UserId("@alice:city.localhost")
MXC = "mxc://city.localhost/abc"


def read(content: dict[str, Any], event_type: str = "m.room.message") -> Content | None:
    return read_message_content(event_type, content, IDENTITIES)


def event(event_type: Any, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": event_type, "content": content} | more


# --- unknown kinds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "event_type", "original_type"),
    [
        ({"msgtype": "org.example.dance", "body": "dances"}, "m.room.message", "org.example.dance"),
        ({"body": "dances"}, "m.room.message", "m.room.message"),
        ({"msgtype": {}, "body": "dances"}, "m.room.message", "m.room.message"),
        ({"msgtype": ["m.text"], "body": "dances"}, "m.room.message", "m.room.message"),
        ({"msgtype": "m.text", "m.text": "dances"}, "m.room.message", "m.text"),
        ({"m.text": [{"body": "dances"}]}, "m.message", "m.message"),
        ({"m.text": [{"mimetype": "text/html", "body": "<b>"}, {"body": "dances"}]}, "org.example", "org.example"),
        ({"org.matrix.msc1767.text": "dances"}, "org.example", "org.example"),
        ({"org.matrix.msc1767.message": [{"mimetype": "text/plain", "body": "dances"}]}, "org.x", "org.x"),
        ({"body": "dances"}, "org.example\u202e" + "x" * 9_000, "org.example" + "x" * 244),
    ],
)
def test_unknown_kind_is_read_as_fallback(content: dict[str, Any], event_type: str, original_type: str) -> None:
    message = read(content, event_type)
    assert message is not None
    assert (message.body, message.msgtype, message.details.original_type) == ("dances", "m.text", original_type)


@pytest.mark.parametrize(
    "msgtype", ["m.text", "m.notice", "m.emote", "m.image", "m.file", "m.location", "m.server_notice"]
)
def test_known_msgtype_is_supported(msgtype: str) -> None:
    message = read({"msgtype": msgtype, "body": "x"})
    assert message is not None
    assert message.details.original_type is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (event("org.example.dance", {"body": "dances"}), True),
        (event("m.message", {"m.text": [{"body": "dances"}]}), True),
        (event("org.example.dance", {"m.new_content": {"body": "dances"}, "body": 7}), True),
        (event("org.example.dance", {"body": "dances"}, state_key=""), False),
        (event("org.example.dance", {"body": " "}), False),
        (event("org.example.dance", {"m.text": [1, None, {"body": []}], "body": {}}), False),
        (event("org.example.dance", None), False),
        (event("m.call.invite", {"body": "calls"}), False),
        (event("m.room.encrypted", {"body": "secret"}), False),
        (event("m.key.verification.start", {"body": "x"}), False),
        (event("m.reaction", {"body": "x"}), False),
        (event("m.poll.end", {"m.text": [{"body": "x"}]}), False),
        (event("", {"body": "x"}), False),
        (event(7, {"body": "x"}), False),
    ],
)
def test_unknown_event_with_fallback_is_message(given: dict[str, Any], expected: bool) -> None:
    assert is_message(given) is expected


def test_known_events_are_messages_or_changes() -> None:
    for event_type in (
        "m.room.message",
        "m.sticker",
        "m.poll.start",
        "m.reaction",
        "m.poll.response",
        "m.room.redaction",
    ):
        assert is_message_or_change(event(event_type, {}))
    assert not is_message_or_change(event("m.room.topic", {"topic": "x"}))
    assert fallback_text({"body": "\0x"}) == "\ufffdx"


# --- captions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "body", "html"),
    [
        ({"filename": "cat.png"}, "**Кіт**", "<b>Кіт</b>"),
        ({}, "**Кіт**", None),
        ({"filename": "**Кіт**"}, "**Кіт**", None),
        ({"filename": 7}, "**Кіт**", None),
    ],
)
def test_body_beside_file_name_is_caption(more: dict[str, Any], body: str, html: str | None) -> None:
    content = {"msgtype": "m.image", "body": "**Кіт**", "url": MXC}
    message = read(content | {"format": "org.matrix.custom.html", "formatted_body": "<b>Кіт</b>"} | more)
    assert message is not None
    assert message.media is not None
    assert (message.body, message.formatted_body) == (body, html)
    assert message.media.filename == ("cat.png" if html else "**Кіт**")


def test_sticker_is_marked() -> None:
    message = read({"body": "wave", "url": MXC, "info": {"w": 512, "h": 10**30}}, "m.sticker")
    assert message is not None
    assert message.media is not None
    assert (message.media.is_sticker, message.media.width, message.media.height) == (True, 512, None)


# --- mentions of all members --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "mentions", "expected"),
    [
        ("all", {"room": True}, True),
        ("@room", {}, False),
        ("@room", {"room": "true"}, False),
        ("@room", {"room": 1}, False),
        ("@room", ["room"], False),
        ("hello @room!", None, True),
        ("`@room` and @roommate", None, False),
    ],
)
def test_mention_of_room_is_read(body: str, mentions: Any, expected: bool) -> None:
    content = {"msgtype": "m.text", "body": body} | ({} if mentions is None else {"m.mentions": mentions})
    message = read(content)
    assert message is not None
    assert message.details.mentions_room is expected


@pytest.mark.parametrize(
    ("levels", "may_notify", "redacts"),
    [
        ({}, False, False),
        ({"users": {ALICE: 50}}, True, True),
        ({"users": {ALICE: 50}, "notifications": {"room": 60}, "redact": 40}, False, True),
        ({"notifications": {"room": 0}, "redact": 0}, True, True),
        ({"users_default": 50, "notifications": "none", "redact": None}, True, True),
        ({"users": {ALICE: "50"}, "notifications": {"room": "50"}}, True, True),
        ([], False, False),
    ],
)
def test_power_levels_for_room_mentions_and_redactions(levels: Any, may_notify: bool, redacts: bool) -> None:
    text = json.dumps(levels)
    assert (may_notify_room(text, ALICE), may_redact(text, ALICE)) == (may_notify, redacts)


# --- custom emoji and code ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (
            f'<img data-mx-emoticon height="32" src="{MXC}" alt=":cat:" title=":cat:">',
            f'<img src="{MXC}" alt=":cat:" title=":cat:" data-mx-emoticon="" height="32">',
        ),
        ('<img data-mx-emoticon src="https://x.example/c.png" alt=":cat:">!', ":cat:!"),
        ('a <img src="data:x" title=":cat:">', "a :cat:"),
        ('a <img src="x" alt="<script>evil()</script>&lt;b&gt;">', "a &lt;script&gt;evil()&lt;/script&gt;&lt;b&gt;"),
        ('<font color="#ff0000">a</font>', "a"),
        ('<span style="color:red" data-mx-color="red">a</span>', "<span>a</span>"),
        ('<pre><code class="language-rust x">a</code></pre>', '<pre><code class="language-rust">a</code></pre>'),
    ],
)
def test_emoji_colours_and_code_are_sanitized(html: str, expected: str) -> None:
    assert sanitize_html(html) == expected
