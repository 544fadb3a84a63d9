"""Content of messages: replies, mentions, HTML, files, stickers and polls from Matrix, and rendering."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from daarion_appservice.city.feed_entries import FeedKind
from daarion_appservice.city.message_formatting import MessageFormatter
from daarion_appservice.city.messages import Draft
from daarion_appservice.city.types import (
    Content,
    Media,
)
from daarion_appservice.errors import InvalidInput
from tests.parts.message_exchange import (
    ALICE,
    BOB,
    GENERAL,
    OKSANA,
    OKSANA_GHOST,
    SCRIBE,
    MessageExchange,
)
from tests.parts.waiting import WAIT_S


async def test_replies_are_linked_in_city_and_on_matrix(exchange: MessageExchange) -> None:
    question = await exchange.receive_text("Котра година?")
    message = await exchange.message(question)
    answer = await exchange.messaging.post(SCRIBE, "general", "Восьма", reply_to=message.id)
    (row,) = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content["m.relates_to"] == {"m.in_reply_to": {"event_id": question}}
    assert rendered.content["m.mentions"] == {"user_ids": [ALICE]}, "whoever is answered is told so"
    assert await exchange.feed() == [(FeedKind.AGENT_REPLY, "Восьма"), (FeedKind.ROOM_MESSAGE, "Котра година?")]

    event_id = await exchange.mark_sent(answer)
    fallback = "> <@agent_scribe:city.localhost> Восьма\n\nДякую"
    thanks = await exchange.receive_text(fallback, {"m.relates_to": {"m.in_reply_to": {"event_id": event_id}}})
    assert (await exchange.message(thanks)).reply_to == answer.id
    assert (await exchange.message(thanks)).body == "Дякую"


async def test_mentions_are_converted_both_ways(exchange: MessageExchange) -> None:
    event_id = await exchange.receive_text(
        "Оксано?", {"m.mentions": {"user_ids": [OKSANA_GHOST, "@daarion_bot:city.localhost", 7, "bad", BOB]}}
    )
    assert (await exchange.message(event_id)).mentions == ("u_1", BOB)
    message = await exchange.messaging.post(OKSANA, "general", "@alice:city.localhost, привіт")
    assert message.mentions == (ALICE,)
    (row,) = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content["m.mentions"] == {"user_ids": [ALICE]}
    assert f"https://matrix.to/#/{ALICE}" in rendered.content["formatted_body"]


@pytest.mark.parametrize("user", ["@Alice:example.org", "@🛒:example.org", "@імя:example.org"])
async def test_historical_users_are_mentioned(exchange: MessageExchange, user: str) -> None:
    message = await exchange.messaging.post(OKSANA, "general", f"{user}, привіт")
    (row,) = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert message.mentions == (user,)
    assert rendered.content["m.mentions"] == {"user_ids": [user]}


async def test_capitals_in_ids_of_own_homeserver_are_ignored(exchange: MessageExchange) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "@Citizen_U_1:city.localhost сама")
    assert message.mentions == ("u_1",)
    typed = await exchange.messaging.post(OKSANA, "general", "@alice:City.Localhost, привіт")
    assert typed.mentions == (ALICE,)
    unknown = await exchange.messaging.post(OKSANA, "general", "@Alice:City.Localhost, привіт")
    assert unknown.mentions == ()


@pytest.mark.parametrize("msgtype", ["m.emote", "m.notice"])
async def test_msgtype_is_kept_both_ways(exchange: MessageExchange, msgtype: str) -> None:
    event_id = await exchange.receive_text("махає", msgtype=msgtype)
    assert (await exchange.message(event_id)).msgtype == msgtype
    posted = await exchange.messaging.messages.post(OKSANA, "general", Draft("махає", msgtype=msgtype))
    (row,) = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content["msgtype"] == posted.message.msgtype == msgtype


async def test_matrix_html_is_sanitized(exchange: MessageExchange) -> None:
    html = '<b onclick="evil()">сміливо</b><script>evil()</script>'
    bold = await exchange.receive_text("сміливо", format="org.matrix.custom.html", formatted_body=html)
    assert (await exchange.message(bold)).formatted_body == "<b>сміливо</b>"
    place = await exchange.receive_text("Київ, Майдан", msgtype="m.location", geo_uri="geo:50.45,30.52")
    assert ((await exchange.message(place)).msgtype, (await exchange.message(place)).body) == (
        "m.location",
        "Київ, Майдан",
    )
    await exchange.receive_text("?", msgtype="m.key.verification.request")
    assert len(await exchange.messages()) == 2


async def test_matrix_file_is_stored_with_its_metadata(exchange: MessageExchange) -> None:
    info = {"mimetype": "image/png", "size": 1234, "w": 640, "h": -1, "thumbnail_url": "mxc://city.localhost/thumb"}
    picture = await exchange.receive_text(
        "кіт.png", msgtype="m.image", url="mxc://city.localhost/cat", info=info, filename="кіт.png"
    )
    media = (await exchange.message(picture)).media
    assert media is not None
    assert (media.mxc, media.mimetype, media.filename) == ("mxc://city.localhost/cat", "image/png", "кіт.png")
    assert (media.size, media.width, media.height, media.thumbnail_mxc) == (1234, 640, None, info["thumbnail_url"])
    secret = await exchange.receive_text("таємне.png", msgtype="m.image", file={"url": "mxc://city.localhost/secret"})
    assert ((await exchange.message(secret)).media, (await exchange.message(secret)).msgtype) == (None, "m.text")


@pytest.mark.parametrize("event_type", ["m.sticker", "m.room.message"])
async def test_encrypted_image_is_stored_as_its_name(exchange: MessageExchange, event_type: str) -> None:
    file = {"url": "mxc://city.localhost/secret", "key": {}, "iv": "", "hashes": {}, "v": "v2"}
    content = {"body": "ca\u202et.png", "file": file, "info": {}}
    event = await exchange.receive(event_type, content | ({"msgtype": "m.image"} if event_type != "m.sticker" else {}))
    message = await exchange.message(event)
    assert (message.body, message.msgtype, message.media) == ("cat.png", "m.text", None)
    assert not await exchange.is_shown("mxc://city.localhost/secret")


async def test_empty_sticker_is_ignored(exchange: MessageExchange) -> None:
    for content in ({"body": ""}, {"body": "  ", "file": {}}, {}, {"body": 1}):
        await exchange.receive("m.sticker", content)
    assert await exchange.messages() == []


def poll(event_type: str, question: str, *options: str, fallback: str | None = None) -> dict[str, Any]:
    """The content that Element sends (``org.matrix.msc3381.poll.start``), or what MSC3381 became (``m.poll.start``)."""
    if event_type == "m.poll.start":
        answers: list[dict[str, Any]] = [{"m.id": each, "m.text": [{"body": each}]} for each in options]
        begun: dict[str, Any] = {"question": {"m.text": [{"mimetype": "text/html", "body": "<b>"}, {"body": question}]}}
        return {"m.poll": begun | {"answers": answers}, "m.text": [{"body": fallback or question}]}
    answers = [{"id": each, "org.matrix.msc1767.text": each} for each in options]
    begun = {"question": {"org.matrix.msc1767.text": question, "body": question, "msgtype": "m.text"}}
    return {event_type: begun | {"answers": answers}, "org.matrix.msc1767.text": fallback or question}


POLL_TYPES = ["m.poll.start", "org.matrix.msc3381.poll.start"]


@pytest.mark.parametrize("event_type", POLL_TYPES)
async def test_poll_is_stored_as_question_and_options(exchange: MessageExchange, event_type: str) -> None:
    message = await exchange.message(await exchange.receive(event_type, poll(event_type, "Коли?", "Пн\n2. Вт", "Ср")))
    assert (message.body, message.msgtype) == ("Коли?\n1. Пн 2. Вт\n2. Ср", "m.text")
    assert await exchange.feed_bodies() == [message.body]


@pytest.mark.parametrize("event_type", POLL_TYPES)
async def test_edited_poll_has_new_options(exchange: MessageExchange, event_type: str) -> None:
    event = await exchange.receive(event_type, poll(event_type, "Коли?", "Пн", "Ср"))
    content = {
        "m.new_content": poll(event_type, "Коли?", "Пн", "Чт"),
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    }
    await exchange.receive(event_type, content)
    assert [each.body for each in await exchange.messages()] == ["Коли?\n1. Пн\n2. Чт"]


@pytest.mark.parametrize("event_type", POLL_TYPES)
async def test_unreadable_poll_is_stored_as_fallback(exchange: MessageExchange, event_type: str) -> None:
    broken = poll(event_type, "", fallback="Коли? Пн, Ср")
    assert (await exchange.message(await exchange.receive(event_type, broken))).body == "Коли? Пн, Ср"
    hostile: list[Any] = [1, None, {}, {"question": [], "answers": {}}, {"question": {"m.text": [1, {"body": []}]}}]
    for value in hostile:
        await exchange.receive(event_type, {"m.poll": value, "org.matrix.msc3381.poll.start": value, "m.text": value})
    assert len(await exchange.messages()) == 1


async def test_file_name_loses_bidi_controls(exchange: MessageExchange) -> None:
    content = {"msgtype": "m.file", "body": "N\u202egpj.exe", "url": "mxc://city.localhost/file"}
    message = await exchange.message(await exchange.receive("m.room.message", content))
    assert message.media is not None
    assert (message.body, message.media.filename) == ("Ngpj.exe", "Ngpj.exe")


@pytest.mark.parametrize(
    ("declared", "kept"),
    [
        ("Image/JPG", "image/jpeg"),
        ("audio/ogg; codecs=opus", "audio/ogg"),
        ("text/plain\r\nX: y", "application/octet-stream"),
        ("video/mp4\u202e", "application/octet-stream"),
        ("m" * 10_000, "application/octet-stream"),
        (None, "application/octet-stream"),
    ],
)
async def test_declared_mimetype_is_normalized(exchange: MessageExchange, declared: str | None, kept: str) -> None:
    content = {"msgtype": "m.file", "body": "a", "url": "mxc://city.localhost/a", "info": {"mimetype": declared}}
    message = await exchange.message(await exchange.receive("m.room.message", content))
    assert message.media is not None
    assert message.media.mimetype == kept


class LockCheckingFormatter:
    """Counts renderings, and fails if one happens under the lock of the room or the database."""

    def __init__(self, exchange: MessageExchange) -> None:
        self._database = exchange.database
        self._formatter = exchange.messaging.message_edits._formatter
        self.rendered: list[int] = []

    async def content(self, body: str, *, msgtype: str, media: Media | None) -> Content:
        self.rendered.append(len(body))
        async with asyncio.timeout(WAIT_S), self._database.transaction() as tx:
            assert await tx.rooms.lock(GENERAL) is not None
        return await self._formatter.content(body, msgtype=msgtype, media=media)


@pytest.fixture
def formatter(exchange: MessageExchange, monkeypatch: pytest.MonkeyPatch) -> LockCheckingFormatter:
    watched = LockCheckingFormatter(exchange)
    monkeypatch.setattr(exchange.messaging.messages, "_formatter", watched)
    monkeypatch.setattr(exchange.messaging.message_edits, "_formatter", watched)
    return watched


async def test_too_long_body_is_refused_unrendered(exchange: MessageExchange, formatter: LockCheckingFormatter) -> None:
    message = await exchange.messaging.post(OKSANA, "general", "**hi**")
    formatter.rendered.clear()
    for body in ("[[[a](" * 200_000, "я" * 24_001, "\u0001" * 9_000):
        with pytest.raises(InvalidInput, match="48000 bytes"):
            await exchange.messaging.post(OKSANA, "general", body)
        with pytest.raises(InvalidInput, match="48000 bytes"):
            await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, body)
    assert formatter.rendered == []


@pytest.mark.parametrize("length", [10, 10_000])
async def test_text_is_rendered_outside_the_transaction(
    exchange: MessageExchange, formatter: LockCheckingFormatter, length: int
) -> None:
    body = f"**{'я' * (length // 2)}**"
    message = await exchange.messaging.post(OKSANA, "general", "hi")
    edited = await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, body)
    assert edited.formatted_body == body.replace("**", "<strong>", 1).replace("**", "</strong>")
    assert formatter.rendered == [2, len(body)]


async def test_long_text_is_rendered_in_a_thread(exchange: MessageExchange) -> None:
    """In a thread: the event loop goes on turning."""
    threads: list[str] = []
    formatter = exchange.messaging.message_edits._formatter
    assert isinstance(formatter, MessageFormatter)
    render = formatter._content

    def note(body: str, msgtype: str, media: Media | None) -> Content:
        threads.append(threading.current_thread().name)
        return render(body, msgtype, media)

    vars(formatter)["_content"] = note
    for body in ("hi", "x" * 2_001):
        assert (await formatter.content(body, msgtype="m.text", media=None)).body == body
    assert threads == [threading.current_thread().name, "markup_0"]
