"""Reactions of the city and of Matrix, their keys and their removal."""

from __future__ import annotations

import asyncio

import pytest

from daarion_appservice.city.event_fields import REACTION_ID
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.types import (
    Author,
    AuthorKind,
    EventId,
    OutboxKind,
)
from daarion_appservice.errors import InvalidInput
from daarion_appservice.storage.outbox import OutboxRow
from tests.parts.message_exchange import (
    ALICE,
    BOB,
    MATRIX_ROOM,
    OKSANA,
    OKSANA_GHOST,
    SCRIBE,
    TARAS,
    MessageExchange,
)


async def test_reactions_of_city_and_matrix_are_counted(exchange: MessageExchange) -> None:
    event_id = await exchange.receive_text("Хто за?")
    message = await exchange.message(event_id)
    await exchange.receive_reaction(event_id, "👍", sender=BOB)
    await exchange.messaging.reactions.add(OKSANA, "general", message.id, "👍")
    await exchange.messaging.reactions.add(OKSANA, "general", message.id, "👍")
    counted = await exchange.messaging.reactions.add(SCRIBE, "general", message.id, "🎉")

    assert [(tally.key, tally.count, tally.by) for tally in counted.reactions] == [
        ("👍", 2, (BOB, "u_1")),
        ("🎉", 1, ("agent:scribe",)),
    ]
    assert await exchange.messages() == [counted]
    events = [(event.key, event.added, event.who and event.who.id) for event in (await exchange.history())[1:]]
    assert events == [("👍", True, BOB), ("👍", True, "u_1"), ("🎉", True, "scribe")]
    assert [row.kind for row in await exchange.outbox()] == [OutboxKind.REACT] * 2


async def test_removed_reaction_is_redacted_on_matrix(exchange: MessageExchange) -> None:
    message = await exchange.message(await exchange.receive_text("Хто за?"))
    await exchange.messaging.reactions.add(OKSANA, "general", message.id, "👍")
    (row,) = await exchange.outbox()
    assert row.reaction_id is not None
    await exchange.receive_reaction(
        "$whatever", "👍", sender=OKSANA_GHOST, **{REACTION_ID: row.reaction_id}
    )  # the echo
    counted = await exchange.messaging.reactions.remove(OKSANA, "general", message.id, "👍")
    assert counted.reactions == ()
    assert await exchange.messaging.reactions.remove(OKSANA, "general", message.id, "👍") == counted

    react, unreact = await exchange.outbox()
    async with exchange.database.transaction() as tx:
        first, second = [await exchange.messaging.renderer.render(tx, row) for row in (react, unreact)]
        assert first is not None
        assert second is not None
        assert (second.sender, second.redacts) == (OKSANA, "$event2")
        await exchange.messaging.renderer.record_sent(tx, unreact, EventId("$gone"))
        assert await tx.reactions.get(row.reaction_id) is None

    again = await exchange.messaging.reactions.add(OKSANA, "general", message.id, "👍")
    assert [tally.count for tally in again.reactions] == [1], "and can be given again"


@pytest.mark.parametrize("is_deleted_on_matrix", [False, True], ids=["in the city", "on Matrix"])
@pytest.mark.parametrize("is_sent", [False, True], ids=["sent before the deletion", "sent after it"])
async def test_removed_reaction_is_redacted_also_if_its_message_is_deleted(
    exchange: MessageExchange, is_sent: bool, is_deleted_on_matrix: bool
) -> None:
    event_id = await exchange.receive_text("Хто за?")
    message, renderer = await exchange.message(event_id), exchange.messaging.renderer
    for key in ("👍", "🎉"):
        await exchange.messaging.reactions.add(OKSANA, "general", message.id, key)
    reacts = await exchange.outbox()
    if is_sent:
        await _send(exchange, reacts[0], "$reaction")
    await exchange.messaging.reactions.remove(OKSANA, "general", message.id, "👍")
    if is_deleted_on_matrix:
        await exchange.receive_redaction(event_id)
    else:
        await exchange.messaging.message_edits.delete(TARAS, "general", message.id, may_moderate=True)
    assert (await exchange.message(event_id)).reactions == ()

    if not is_sent:
        await _send(exchange, reacts[0], "$reaction")
    rows = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = {row.kind: await renderer.render(tx, row) for row in rows}
    assert rendered[OutboxKind.REACT] is None, "nobody sees 🎉 below a deleted message"
    unreact = rendered[OutboxKind.UNREACT]
    assert unreact is not None
    assert (unreact.sender, unreact.redacts) == (OKSANA, "$reaction")
    await _send(exchange, next(row for row in rows if row.kind is OutboxKind.UNREACT), "$gone")
    async with exchange.database.read_only() as tx:
        assert await tx.reactions.by_event_id(EventId("$reaction")) is None
    await exchange.receive_redaction("$reaction", sender=OKSANA_GHOST)  # the echo


async def _send(exchange: MessageExchange, row: OutboxRow, event_id: str) -> None:
    async with exchange.database.transaction() as tx:
        assert await exchange.messaging.renderer.render(tx, row) is not None
        await exchange.messaging.renderer.record_sent(tx, row, EventId(event_id))
        await tx.outbox.delete(row.id)


async def test_forms_of_one_emoji_count_until_all_are_removed(exchange: MessageExchange) -> None:
    event_id = await exchange.receive_text("Хто за?")

    async def counts() -> list[tuple[str, int]]:
        return [(each.key, each.count) for each in (await exchange.message(event_id)).reactions]

    forms = [await exchange.receive_reaction(event_id, key, sender=BOB) for key in ("👍", "👍\ufe0f", "👍\ufe0e")]
    assert await counts() == [("👍", 1)]
    for number, form in enumerate(forms):
        await exchange.receive_redaction(form, sender=BOB)
        assert await counts() == ([] if number == 2 else [("👍", 1)])
    again = [await exchange.receive_reaction(event_id, "👍" + number * "\ufe0f", sender=BOB) for number in range(30)]
    assert await counts() == [("👍", 1)]
    async with exchange.database.read_only() as tx:
        stored = [await tx.reactions.by_event_id(EventId(each)) for each in again]
    assert 1 < len([each for each in stored if each]) < 10, "not without a limit"
    changes = [event.added for event in await exchange.history() if event.kind is RoomEventKind.REACTION]
    assert changes == [True, False, True]


async def test_matrix_redaction_removes_reaction(exchange: MessageExchange) -> None:
    event_id = await exchange.receive_text("Хто за?")
    reaction = await exchange.receive_reaction(event_id, "👍", sender=BOB)
    await exchange.receive_redaction(reaction, sender=BOB)
    message = await exchange.message(event_id)
    assert message.reactions == ()
    assert [(event.kind, event.added) for event in await exchange.history()] == [
        (RoomEventKind.MESSAGE, True),
        (RoomEventKind.REACTION, True),
        (RoomEventKind.REACTION, False),
    ]


async def test_redaction_in_another_room_changes_nothing(exchange: MessageExchange) -> None:
    event_id = await exchange.receive_text("Хто за?")
    reaction = await exchange.receive_reaction(event_id, "👍", sender=BOB)
    for each in (event_id, reaction):
        await exchange.receive("m.room.redaction", {"redacts": each}, room_id="!builders")
    message = await exchange.message(event_id)
    assert (message.body, [tally.count for tally in message.reactions]) == ("Хто за?", [1])
    await exchange.receive_redaction(reaction)
    assert (await exchange.message(event_id)).reactions == ()


async def test_echo_and_removal_of_reaction_do_not_deadlock(exchange: MessageExchange) -> None:
    message = await exchange.message(await exchange.receive_text("Хто за?"))
    await exchange.messaging.reactions.add(OKSANA, "general", message.id, "👍")
    (row,) = await exchange.outbox()
    echo = {
        "type": "m.reaction",
        "room_id": MATRIX_ROOM,
        "event_id": "$echo",
        "sender": OKSANA_GHOST,
        "content": {REACTION_ID: row.reaction_id},
    }
    text = {"msgtype": "m.text", "body": "Я"}
    more = echo | {"type": "m.room.message", "event_id": "$more", "sender": ALICE, "content": text}
    # Events that come together are handled in one transaction.
    async with asyncio.TaskGroup() as both, exchange.database.transaction() as tx:
        await exchange.messaging.handlers().handle(tx, echo)
        both.create_task(exchange.messaging.reactions.remove(OKSANA, "general", message.id, "👍"))
        await asyncio.sleep(0.2)
        await exchange.messaging.handlers().handle(tx, more)
    assert [each.reactions for each in await exchange.messages()] == [(), ()]


async def test_repeated_reaction_counts_once(exchange: MessageExchange) -> None:
    event_id = await exchange.receive_text("Хто за?")
    await exchange.receive_reaction(event_id, "👍", sender=BOB)
    await exchange.receive_reaction(event_id, "👍", sender=BOB)
    assert [tally.count for tally in (await exchange.message(event_id)).reactions] == [1]


async def test_concurrent_reactions_are_all_counted(exchange: MessageExchange) -> None:
    message = await exchange.message(await exchange.receive_text("Хто за?"))
    citizens = [Author(AuthorKind.CITIZEN, f"u_{n}", f"Citizen {n}") for n in range(60)]
    await exchange.messaging.reactions.add(SCRIBE, "general", message.id, "🎉")
    await asyncio.gather(
        *(exchange.messaging.reactions.add(citizen, "general", message.id, "👍") for citizen in citizens)
    )
    (counted,) = await exchange.messages()
    assert [(tally.key, tally.count, len(set(tally.by))) for tally in counted.reactions] == [
        ("🎉", 1, 1),
        ("👍", 60, 20),
    ]
    assert await exchange.event_kinds() == [RoomEventKind.MESSAGE] + [RoomEventKind.REACTION] * 61


@pytest.mark.parametrize("key", ["", " ", "x" * 65, "\n", "a\tb", "\u200f"])
async def test_invalid_reaction_key_is_refused(exchange: MessageExchange, key: str) -> None:
    message = await exchange.message(await exchange.receive_text("Хто за?"))
    with pytest.raises(InvalidInput):
        await exchange.messaging.reactions.add(OKSANA, "general", message.id, key)


@pytest.mark.parametrize("key", ["👍", "👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "так", "+1"])
async def test_emoji_and_short_text_are_valid_keys(exchange: MessageExchange, key: str) -> None:
    message = await exchange.message(await exchange.receive_text("Хто за?"))
    counted = await exchange.messaging.reactions.add(OKSANA, "general", message.id, key)
    assert [tally.key for tally in counted.reactions] == [key]


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("👍", "👍\ufe0f", "👍"),
        ("👍\ufe0f", "👍", "👍"),
        ("👍\ufe0e", "👍\ufe0f", "👍"),
        ("❤", "❤\ufe0f", "❤\ufe0f"),
        ("❤\ufe0f", "❤", "❤\ufe0f"),
        ("1\u20e3", "1\ufe0f\u20e3", "1\ufe0f\u20e3"),
        ("❤\u200d🔥", "❤\ufe0f\u200d🔥", "❤\ufe0f\u200d🔥"),
        ("👍🏽", "👍\ufe0f🏽", "👍🏽"),
        ("й", "и\u0306", "й"),
        ("и\u0306", "й", "й"),
        (" 👍", "👍 ", "👍"),
    ],
    ids=ascii,
)
async def test_emoji_variants_are_one_reaction(exchange: MessageExchange, one: str, other: str, shown: str) -> None:
    event = await exchange.receive_text("Хто за?")
    reaction = await exchange.receive_reaction(event, one)
    message = await exchange.message(event)
    counted = await exchange.messaging.reactions.add(OKSANA, "general", message.id, other)
    assert [(tally.key, tally.count) for tally in counted.reactions] == [(shown, 2)]
    # The city writes it as it was written on Matrix: there, too, it is one sign then.
    (row,) = [row for row in await exchange.outbox() if row.kind is OutboxKind.REACT]
    async with exchange.database.transaction() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content["m.relates_to"]["key"] == one
    await exchange.messaging.reactions.remove(OKSANA, "general", message.id, one)
    await exchange.receive_redaction(reaction)
    assert (await exchange.message(event)).reactions == ()


async def test_skin_tones_are_different_reactions(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("Хто за?")
    for key in ("👍", "👍🏽", "👍🏿", "1", "1\ufe0f\u20e3"):
        await exchange.receive_reaction(event, key)
    assert [tally.key for tally in (await exchange.message(event)).reactions] == [
        "👍",
        "👍🏽",
        "👍🏿",
        "1",
        "1\ufe0f\u20e3",
    ]


async def test_lone_variation_selector_is_refused(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("Хто за?")
    await exchange.receive_reaction(event, "\ufe0f")
    message = await exchange.message(event)
    assert message.reactions == ()
    with pytest.raises(InvalidInput):
        await exchange.messaging.reactions.add(OKSANA, "general", message.id, "\ufe0f")


@pytest.mark.parametrize("name", ["shortcode", "com.beeper.reaction.shortcode"])
async def test_image_reaction_has_its_shortcode(exchange: MessageExchange, name: str) -> None:
    event = await exchange.receive_text("Хто за?")
    picture = "mxc://city.localhost/party"
    assert not await exchange.is_shown(picture)
    reaction = await exchange.receive_reaction(event, picture, **{name: ":par\u202ety:"})
    message = await exchange.message(event)
    assert [(tally.key, tally.count, tally.shortcode) for tally in message.reactions] == [(picture, 1, ":party:")]
    assert await exchange.is_shown(picture)
    await exchange.messaging.reactions.add(OKSANA, "general", message.id, picture)
    (row,) = [row for row in await exchange.outbox() if row.kind is OutboxKind.REACT]
    async with exchange.database.transaction() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.content[name] == ":party:"
    await exchange.receive_redaction(reaction)
    await exchange.messaging.reactions.remove(OKSANA, "general", message.id, picture)
    assert not await exchange.is_shown(picture)


async def test_unknown_image_reaction_is_refused(exchange: MessageExchange) -> None:
    message = await exchange.message(await exchange.receive_text("Хто за?"))
    with pytest.raises(InvalidInput):
        await exchange.messaging.reactions.add(OKSANA, "general", message.id, "mxc://city.localhost/party")


async def test_reaction_key_loses_bidi_controls(exchange: MessageExchange) -> None:
    event = await exchange.receive_text("Хто за?")
    await exchange.receive_reaction(event, "\u202e\u2066я")
    await exchange.receive_reaction(event, "я\nні")
    await exchange.receive_reaction(event, "\u202e")
    assert [tally.key for tally in (await exchange.message(event)).reactions] == ["я", "я ні"]
