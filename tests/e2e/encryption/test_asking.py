"""People ask an agent in an encrypted chat, and read its answers: in matrix-nio, and in matrix-js-sdk without a shield."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.parts.agents_core import answer_to, grows
from tests.parts.city import eventually
from tests.parts.encrypted_city import DAARWIZZ, EncryptedCity

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_nio_reads_encrypted_answers(city: EncryptedCity) -> None:
    ada = await city.arrive(city.city, "ada")
    room = await ada.open_chat(DAARWIZZ)
    # Before the ghost is there to hear it.
    first = await city.ask(ada, room, "Де мій човен?")
    assert (first["sender"], first["content"]["m.mentions"]) == (DAARWIZZ, {})
    await city.ask(ada, room, "А весло?")
    assert city.core.requests[-1].history == ["Де мій човен?", answer_to("Де мій човен?")]
    questions = ["Де мій човен?", "А весло?"]
    city.check_answers(ada, room, questions)
    city.check_encrypted(room, texts=[*questions, *map(answer_to, questions)])
    assert await city.bodies(room) == [text for each in questions for text in (each, answer_to(each))]


async def test_js_sdk_sees_no_shield(city: EncryptedCity) -> None:
    oleh = await city.arrive_by_js_sdk(city.city, "oleh", encryption=True)
    room = await oleh.create_room(direct_with=DAARWIZZ, encrypted=True)
    for question in ("Хто ти?", "А я?"):
        await city.ask_by_js_sdk(oleh, room, question)
    identity = await oleh.identity(DAARWIZZ)
    assert (identity["known"], identity["needs_approval"]) == (True, False)
    assert list(identity["devices"].values()) == [True]
    city.check_encrypted(room, texts=["Хто ти?", answer_to("Хто ти?")])


async def test_relations_of_encrypted_messages_are_read(city: EncryptedCity) -> None:
    bea = await city.arrive(city.city, "bea")
    room = await bea.open_chat(DAARWIZZ)
    answer = await city.ask(bea, room, "Скільки?")
    question = next(message for message in await city.messages(room) if message.body == "Скільки?")
    assert question.matrix_event_id is not None
    await bea.send_edit(room, question.matrix_event_id, "Скільки нас?")
    await bea.react(room, answer["event_id"], "👍")
    await bea.send_reply(room, answer["event_id"], "Точно?")
    await city.answer(bea, room, "Точно?")

    async def is_complete() -> Any:
        messages = {message.body: message for message in await city.messages(room)}
        reply, replied_to = messages.get("Точно?"), messages.get(answer["content"]["body"])
        return (
            "Скільки нас?" in messages
            and reply
            and replied_to
            and reply.reply_to == replied_to.id
            and [reaction.key for reaction in replied_to.reactions] == ["👍"]
        )

    await eventually(is_complete)
    await bea.client.room_redact(room, question.matrix_event_id)

    async def is_deleted() -> bool:
        return next(each for each in await city.messages(room) if each.id == question.id).deleted

    await eventually(is_deleted)
    city.check_encrypted(room, texts=["Скільки нас?", "Точно?"])


async def test_streamed_answer_grows_by_encrypted_edits(city: EncryptedCity) -> None:
    oles = await city.arrive_by_js_sdk(city.city, "oles", encryption=True)
    room = await oles.create_room(direct_with=DAARWIZZ, encrypted=True)
    end = asyncio.Event()
    city.core.next(grows(end, "Жили-були. ", "Кінець."))
    await oles.say(room, "Розкажи казку")

    async def begun() -> Any:
        events = await oles.timeline(room)
        return next((each for each in events if str(each["content"].get("body")).startswith("Жили-були.")), None)

    answer = await eventually(begun, 60)
    end.set()

    async def is_whole() -> bool:
        events = await oles.timeline(room)
        shown = next(each for each in events if each["event_id"] == answer["event_id"])
        return shown["replaced"] and shown["content"]["body"].endswith("Кінець.")

    await eventually(is_whole, 60)
    assert await oles.shield(room, answer["event_id"]) == {"colour": "NONE", "reason": None}
    encrypted = city.check_encrypted(room, texts=["Жили-були"])
    edits = [each for each in encrypted if each["content"].get("m.relates_to", {}).get("rel_type") == "m.replace"]
    assert len(edits) >= 1
    assert {each["content"]["m.relates_to"]["event_id"] for each in edits} == {answer["event_id"]}


async def test_verification_request_is_declined_at_once(city: EncryptedCity) -> None:
    ostap = await city.arrive_by_js_sdk(city.city, "ostap", encryption=True)
    room = await ostap.create_room(direct_with=DAARWIZZ, encrypted=True)
    await city.ask_by_js_sdk(ostap, room, "Ти тут?")
    verification = await ostap.request_verification(room, DAARWIZZ)
    assert verification == {"phase": "Cancelled", "code": "m.user"}
    await city.ask_by_js_sdk(ostap, room, "А тепер?")
    assert [request.content["input"] for request in city.core.requests][-2:] == ["Ти тут?", "А тепер?"]
