"""The text of messages from Matrix: without a plain text, and of files that cannot be downloaded."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.excerpts import text_of_html
from daarion_appservice.city.identity import Identities
from daarion_appservice.city.types import SubjectId
from daarion_appservice.matrix.client.message_content import HTML_FORMAT, read_message_content

IDENTITIES = Identities("city.localhost", "daarion_bot")
MXC = "mxc://city.localhost/abc"
ENCRYPTED_FILE = {
    "url": MXC,
    "v": "v2",
    "key": {"kty": "oct", "key_ops": ["encrypt", "decrypt"], "alg": "A256CTR", "k": "a" * 43, "ext": True},
    "iv": "b" * 22,
    "hashes": {"sha256": "c" * 43},
}
CAPTION = {"format": HTML_FORMAT, "formatted_body": "a <b>cat</b>"}


def read(**content: Any) -> tuple[str, str | None, str]:
    message = read_message_content("m.room.message", content, IDENTITIES)
    assert message is not None
    return message.body, message.formatted_body, message.msgtype


@pytest.mark.parametrize("msgtype", ["m.text", "m.notice", "m.emote"])
@pytest.mark.parametrize("body", [{"body": ""}, {"body": " \n"}, {}, {"body": None}])
def test_message_without_body_has_text_of_html(msgtype: str, body: dict[str, Any]) -> None:
    html = "<p>Hello &amp; <b>welcome</b></p><ul><li>one</li><li>two</li></ul>"
    text, shown, kind = read(msgtype=msgtype, format=HTML_FORMAT, formatted_body=html, **body)
    assert (text, kind) == ("Hello & welcome\none\ntwo", msgtype)
    assert shown is not None
    assert "<b>welcome</b>" in shown


def test_body_goes_before_html() -> None:
    assert read(msgtype="m.text", body="plain", format=HTML_FORMAT, formatted_body="<b>html</b>")[0] == "plain"


@pytest.mark.parametrize("html", ["", "<p></p>", 7, None])
def test_message_without_any_text_stays_empty(html: object) -> None:
    assert read(msgtype="m.text", body="", format=HTML_FORMAT, formatted_body=html)[0] == ""


def test_html_of_other_format_is_no_text() -> None:
    assert read(msgtype="m.text", body="", format="text/markdown", formatted_body="<b>x</b>")[:2] == ("", None)


@pytest.mark.parametrize("more", [{}, {"m.mentions": {"user_ids": ["@agent_scribe:city.localhost"]}}])
def test_agent_named_in_html_only_is_mentioned(more: dict[str, Any]) -> None:
    content = {
        "msgtype": "m.text",
        "body": "",
        "format": HTML_FORMAT,
        "formatted_body": "@agent_scribe:city.localhost, hello",
    }
    message = read_message_content("m.room.message", content | more, IDENTITIES)
    assert message is not None
    assert message.mentions == (SubjectId("agent:scribe"),)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<br>b<br/>c", "a\nb\nc"),
        ("one\ntwo  three", "one two three"),
        ('<span data-mx-spoiler="">secret</span>!', "secret!"),
        (f'<img src="{MXC}" alt=":cat:"> hi', ":cat: hi"),
        ("<blockquote><p>quoted</p></blockquote>answer", "quoted\nanswer"),
        ("<pre><code>x = 1</code></pre>", "x = 1"),
    ],
)
def test_text_of_html(html: str, text: str) -> None:
    assert text_of_html(html) == text


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("msgtype", ["m.image", "m.video", "m.audio", "m.file"])
@pytest.mark.parametrize("source", [{"file": ENCRYPTED_FILE}, {}, {"url": "https://elsewhere.example/cat.png"}])
def test_file_that_cannot_be_downloaded_is_named_above_its_caption(msgtype: str, source: dict[str, Any]) -> None:
    content = {"msgtype": msgtype, "filename": "cat.png", "body": "a cat", "info": {"mimetype": "image/png"}} | source
    assert read(**content) == ("cat.png\na cat", None, "m.text")
    assert read(**content, **CAPTION) == ("cat.png\na cat", "<p>cat.png</p>a <b>cat</b>", "m.text")


def test_name_of_file_is_escaped_in_html() -> None:
    text, html, _ = read(msgtype="m.image", filename="<i>&.png", body="a cat", file=ENCRYPTED_FILE, **CAPTION)
    assert (text, html) == ("<i>&.png\na cat", "<p>&lt;i&gt;&amp;.png</p>a <b>cat</b>")


@pytest.mark.parametrize("name", [{}, {"filename": "cat.png"}])
def test_file_without_caption_is_named_once(name: dict[str, Any]) -> None:
    assert read(msgtype="m.image", body="cat.png", file=ENCRYPTED_FILE, **name) == ("cat.png", None, "m.text")


def test_downloadable_file_has_caption_of_html() -> None:
    content = {"msgtype": "m.image", "filename": "cat.png", "body": "", "url": MXC}
    assert read(**content, **CAPTION) == ("a cat", "a <b>cat</b>", "m.image")
    assert read(msgtype="m.image", body="", url=MXC, **CAPTION)[:2] == ("a cat", "a <b>cat</b>")


def test_downloadable_file_has_its_caption_only() -> None:
    content = {"msgtype": "m.image", "filename": "cat.png", "body": "a cat", "url": MXC}
    assert read(**content) == ("a cat", None, "m.image")
