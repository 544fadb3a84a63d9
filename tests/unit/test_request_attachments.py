"""What the agents core gets of a file: never the key of an encrypted one."""

from __future__ import annotations

import json

import pytest

from daarion_appservice.agents.dialects import Dialect, Invoke, OpenAi
from daarion_appservice.agents.prompt import message_prompt
from daarion_appservice.agents.request import AgentRequest, Attachment, RequestKind
from daarion_appservice.city.message_kinds import Details, Location
from daarion_appservice.city.types import Author, AuthorKind, Media, Message, MessageId, RoomId, SubjectId

KEY = "FbqRmbxgRkRiN5mvNEGwi_ZzoD9b2Z0uQyJRdm1KjZs"
IMAGE = "data:image/png;base64,iVBORw0="


def request_with(attachment: Attachment) -> AgentRequest:
    return AgentRequest("scribe", "Що це?", RequestKind.DIRECT, SubjectId("@a:x.org"), attachments=(attachment,))


def encrypted(data_url: str | None = None) -> Attachment:
    file = json.dumps({"url": "mxc://x.org/a", "key": {"k": KEY}})
    return Attachment("image", "a.png", mxc="mxc://x.org/a", encrypted_file=file, data_url=data_url)


@pytest.mark.parametrize("dialect", [Invoke(), OpenAi("")])
@pytest.mark.parametrize("data_url", [None, IMAGE])
def test_key_of_encrypted_file_is_not_sent(dialect: Dialect, data_url: str | None) -> None:
    body = json.dumps(dialect.body(request_with(encrypted(data_url))))
    assert KEY not in body
    assert "mxc://" not in body
    assert (IMAGE in body) is (data_url is not None)


def test_invoke_sends_fields_of_a_file() -> None:
    clear = Attachment("image", "a.png", "image/png", 12, 640, 480, mxc="mxc://x.org/a")
    (sent,) = Invoke().body(request_with(clear))["context"]["attachments"]
    assert sent == {
        "kind": "image",
        "name": "a.png",
        "mimetype": "image/png",
        "size": 12,
        "width": 640,
        "height": 480,
        "duration_ms": None,
        "mxc": "mxc://x.org/a",
        "data_url": None,
    }
    (sent,) = Invoke().body(request_with(encrypted(IMAGE)))["context"]["attachments"]
    assert (sent["mxc"], sent["data_url"]) == (None, IMAGE)
    assert "encrypted_file" not in sent


@pytest.mark.parametrize(
    ("size", "duration_ms", "facts"),
    [
        (1, 300, "1 second, 1 byte"),
        (999, 1_499, "1 second, 999 bytes"),
        (34_512, 12_000, "12 seconds, 34.5 kB"),
        (999_499, 59_600, "60 seconds, 999 kB"),
        (999_500, 59_600, "60 seconds, 1 MB"),
    ],
)
def test_size_and_duration_are_rounded(size: int, duration_ms: int, facts: str) -> None:
    media = Media("mxc://x.org/a", "audio/ogg", "a.ogg", size, duration_ms=duration_ms)
    author = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
    message = Message(MessageId("m"), RoomId("r"), 1, author, "a.ogg", 1, msgtype="m.audio", media=media)
    assert message_prompt(message) == f"[audio a.ogg, audio/ogg, {facts}]"


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ("Мій дім", "Мій дім\n\n[location geo:50.450000,30.520000;u=35]"),
        ("", "[location geo:50.450000,30.520000;u=35]"),
        ("Location was shared at geo:50.45,30.52;u=35", "Location was shared at geo:50.45,30.52;u=35"),
    ],
)
def test_place_is_described_by_its_coordinates(body: str, prompt: str) -> None:
    author = Author(AuthorKind.CITIZEN, "u_1", "Оксана")
    details = Details(location=Location(50.45, 30.52, 35))
    message = Message(MessageId("m"), RoomId("r"), 1, author, body, 1, msgtype="m.location", details=details)
    assert message_prompt(message) == prompt
