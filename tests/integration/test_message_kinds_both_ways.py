"""Voice messages, places, captions, emotes, mentions of all members and unknown kinds, from and to Matrix."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.message_kinds import Location
from daarion_appservice.city.messages import Draft, Voice
from daarion_appservice.city.types import Media, Message
from daarion_appservice.errors import InvalidInput
from tests.parts.message_exchange import ALICE, BOB, OKSANA, OKSANA_GHOST, MessageExchange

MXC = "mxc://city.localhost/file"
DANCE = "org.example.dance"


async def post(exchange: MessageExchange, draft: Draft) -> tuple[Message, dict[str, Any]]:
    """Post a message of Oksana; return it and the content of its event."""
    message = (await exchange.messaging.messages.post(OKSANA, "general", draft)).message
    row = (await exchange.outbox())[-1]
    async with exchange.database.read_only() as tx:
        event = await exchange.messaging.renderer.render(tx, row)
    assert event is not None
    return message, event.content


async def upload(exchange: MessageExchange, mimetype: str) -> None:
    async with exchange.database.transaction() as tx:
        await tx.media.add_upload(OKSANA, Media(MXC, mimetype, "file.bin", 9), now_ms=1)


async def give_power(exchange: MessageExchange, **users: int) -> None:
    levels = {"users": {OKSANA_GHOST: 0} | users}
    await exchange.receive("m.room.power_levels", levels, state_key="")


async def test_voice_message_of_citizen_is_sent_as_voice(exchange: MessageExchange) -> None:
    await upload(exchange, "audio/ogg")
    message, content = await post(exchange, Draft("", media=MXC, voice=Voice(4_200, (0, 1024))))
    assert message.media is not None
    assert (message.media.is_voice, message.media.duration_ms, message.media.waveform) == (True, 4_200, (0, 1024))
    assert (content["msgtype"], content["info"]["duration"]) == ("m.audio", 4_200)
    assert content["org.matrix.msc3245.voice"] == {}
    assert content["org.matrix.msc1767.audio"] == {"duration": 4_200, "waveform": [0, 1024]}
    assert await exchange.messages() == [message]


async def test_voice_message_without_audio_is_refused(exchange: MessageExchange) -> None:
    await upload(exchange, "image/png")
    with pytest.raises(InvalidInput, match="audio"):
        await exchange.messaging.messages.post(OKSANA, "general", Draft("", media=MXC, voice=Voice(1)))


async def test_text_beside_file_is_sent_as_formatted_caption(exchange: MessageExchange) -> None:
    await upload(exchange, "image/png")
    _, content = await post(exchange, Draft("**Кіт**", media=MXC))
    assert (content["body"], content["filename"], content["msgtype"]) == ("**Кіт**", "file.bin", "m.image")
    assert content["formatted_body"] == "<strong>Кіт</strong>"


async def test_place_is_sent_and_received(exchange: MessageExchange) -> None:
    place = Location(50.45, 30.52, None, "Майдан")
    message, content = await post(exchange, Draft("", location=place))
    assert (message.body, message.msgtype, message.details.location) == ("Майдан", "m.location", place)
    assert (content["msgtype"], content["geo_uri"]) == ("m.location", "geo:50.450000,30.520000")
    received = await exchange.message(await exchange.receive("m.room.message", content, sender=BOB))
    assert (received.body, received.details.location) == ("Майдан", place)


async def test_emote_of_citizen_is_sent_as_emote(exchange: MessageExchange) -> None:
    message, content = await post(exchange, Draft("махає", msgtype="m.emote"))
    assert (message.msgtype, content["msgtype"], content["body"]) == ("m.emote", "m.emote", "махає")


async def test_room_mention_of_citizen_depends_on_power(exchange: MessageExchange) -> None:
    message, content = await post(exchange, Draft("Увага, @room!"))
    assert (message.details.mentions_room, content["m.mentions"]) == (False, {})
    await give_power(exchange, **{OKSANA_GHOST: 50})
    message, content = await post(exchange, Draft("Увага, @room!"))
    assert (message.details.mentions_room, content["m.mentions"]) == (True, {"room": True})
    assert content["body"] == "Увага, @room!"
    message, content = await post(exchange, Draft("`@room` ні"))
    assert (message.details.mentions_room, content["m.mentions"]) == (False, {})
    edited = await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "тепер @room")
    assert edited.details.mentions_room


async def test_edit_mentions_room_once(exchange: MessageExchange) -> None:
    await give_power(exchange, **{OKSANA_GHOST: 50})
    message = await exchange.messaging.post(OKSANA, "general", "Увага")
    await exchange.mark_sent(message)
    mentioned = []
    for body in ("Увага, @room", "Увага всім, @room", "Увага", "@room"):
        await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, body)
        row = (await exchange.outbox())[-1]
        async with exchange.database.read_only() as tx:
            event = await exchange.messaging.renderer.render(tx, row)
        assert event is not None
        mentioned.append((event.content["m.mentions"], event.content["m.new_content"]["m.mentions"]))
    everyone: dict[str, Any] = {"room": True}
    assert mentioned == [(everyone, everyone), ({}, everyone), ({}, {}), ({}, everyone)]


async def test_room_mention_from_matrix_depends_on_power(exchange: MessageExchange) -> None:
    content = {"msgtype": "m.text", "body": "@room", "m.mentions": {"room": True}}
    plain = await exchange.message(await exchange.receive("m.room.message", content, sender=BOB))
    await give_power(exchange, **{BOB: 50})
    mentioned = await exchange.message(await exchange.receive("m.room.message", content, sender=BOB))
    assert (plain.details.mentions_room, mentioned.details.mentions_room) == (False, True)


async def test_unknown_kinds_are_shown_with_edits(exchange: MessageExchange) -> None:
    dance = await exchange.receive(DANCE, {"m.text": [{"body": "dances"}], "body": 7})
    relation = {"m.relates_to": {"rel_type": "m.replace", "event_id": dance}}
    await exchange.receive(DANCE, {"body": "* sings", "m.new_content": {"body": "sings"}} | relation)
    custom = await exchange.receive_text("jumps", msgtype=DANCE)
    found = [(each.matrix_event_id, each.body, each.details.original_type) for each in await exchange.messages()]
    assert found == [(dance, "sings", DANCE), (custom, "jumps", DANCE)]


async def test_unknown_state_events_are_ignored(exchange: MessageExchange) -> None:
    await exchange.receive(DANCE, {"steps": 3})
    await exchange.receive(DANCE, {"body": "x"}, state_key=ALICE)
    await exchange.receive("m.call.invite", {"body": "x"})
    assert await exchange.messages() == []
