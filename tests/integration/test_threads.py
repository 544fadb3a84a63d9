"""Threads from Matrix and from the city: roots, summaries, relations of sent events, and the requests that agents get."""

from __future__ import annotations

from typing import Any

import pytest

from daarion_appservice.city.messages import Draft
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.types import Author, Message
from daarion_appservice.errors import InvalidInput, NotFound
from tests.parts.message_exchange import BOB, GENERAL, OKSANA, SCRIBE, TARAS, MessageExchange


def in_thread(root: str, reply: str | None = None) -> dict[str, Any]:
    """The relation of a message in a thread: a true reply, or the fallback for clients without threads."""
    thread = {"rel_type": "m.thread", "event_id": root, "is_falling_back": reply is None}
    return {"m.relates_to": thread | {"m.in_reply_to": {"event_id": reply or root}}}


async def say(exchange: MessageExchange, body: str, relation: dict[str, Any] | None = None, **event: Any) -> str:
    """Receive a message of a Matrix user; return its event id."""
    return await exchange.receive("m.room.message", {"msgtype": "m.text", "body": body, **(relation or {})}, **event)


async def rendered(exchange: MessageExchange, message: Message) -> dict[str, Any]:
    """The content of the event that a message of the city is sent as."""
    (row,) = [each for each in await exchange.outbox() if each.message_id == message.id]
    async with exchange.database.read_only() as tx:
        event = await exchange.messaging.renderer.render(tx, row)
    assert event is not None
    return event.content


async def post(exchange: MessageExchange, author: Author, body: str, **draft: Any) -> Message:
    return (await exchange.messaging.messages.post(author, "general", Draft(body, **draft))).message


async def test_thread_from_matrix_has_root_and_summary(exchange: MessageExchange) -> None:
    root = await say(exchange, "Хто йде?")
    plain = await say(exchange, "я", in_thread(root))
    reply = await say(exchange, "і я", in_thread(root, plain), sender=BOB)

    message = await exchange.message(root)
    assert (await exchange.message(plain)).thread_root == message.id
    assert (await exchange.message(plain)).reply_to is None, "a fallback is not a reply"
    assert (await exchange.message(reply)).thread_root == message.id
    assert (await exchange.message(reply)).reply_to == (await exchange.message(plain)).id
    assert message.thread is not None
    assert (message.thread.count, message.thread.last_seq) == (2, (await exchange.message(reply)).seq)
    assert [author.id for author in message.thread.by] == [BOB, "@alice:city.localhost"]
    assert message.thread_root is None
    updates = [event.message for event in await exchange.history() if event.kind is RoomEventKind.UPDATED]
    assert [update and update.thread and update.thread.count for update in updates] == [2, 2], (
        "the present state, twice"
    )


async def test_thread_without_fallback_is_understood(exchange: MessageExchange) -> None:
    root = await say(exchange, "Хто йде?")
    relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    message = await exchange.message(await say(exchange, "я", relation))
    assert (message.thread_root, message.reply_to) == ((await exchange.message(root)).id, None)


async def test_replies_before_their_root_are_attached(exchange: MessageExchange) -> None:
    early = await say(exchange, "я", in_thread("$late"))
    assert (await exchange.message(early)).thread_root is None
    await say(exchange, "Хто йде?", event_id="$late")
    root = await exchange.message("$late")
    assert (await exchange.message(early)).thread_root == root.id
    assert root.thread is not None
    assert root.thread.count == 1


async def test_reply_without_thread_belongs_to_thread(exchange: MessageExchange) -> None:
    """Clients that do not know threads reply to a message of a thread as to any other."""
    root = await say(exchange, "Хто йде?")
    first = await say(exchange, "я", in_thread(root))
    plain = await say(exchange, "добре", {"m.relates_to": {"m.in_reply_to": {"event_id": first}}})
    beside = await say(exchange, "гаразд", {"m.relates_to": {"m.in_reply_to": {"event_id": root}}})
    assert (await exchange.message(plain)).thread_root == (await exchange.message(root)).id
    assert (await exchange.message(beside)).thread_root is None, "a reply to the root is of the main timeline"


async def test_reply_in_thread_of_unknown_root_is_sent_there(exchange: MessageExchange) -> None:
    question = await exchange.message(await say(exchange, "Писарю, чуєш?", in_thread("$unknown")))
    reply = await post(exchange, SCRIBE, "Чую", reply_to=question.id)
    relation = (await rendered(exchange, reply))["m.relates_to"]
    assert (relation["rel_type"], relation["event_id"]) == ("m.thread", "$unknown")
    await say(exchange, "Хто йде?", event_id="$unknown")
    root = await exchange.message("$unknown")
    assert root.thread is not None
    assert root.thread.count == 2


async def test_edit_of_root_names_the_same_thread(exchange: MessageExchange) -> None:
    root = await say(exchange, "Хто йде?")
    edit = await exchange.receive_edit(root, "Хто йде сьогодні?")
    reply = await say(exchange, "я", in_thread(edit))
    assert (await exchange.message(reply)).thread_root == (await exchange.message(root)).id


@pytest.mark.parametrize("root", [7, "", "$" + "a" * 300, None, {"event_id": "$a"}])
async def test_thread_with_invalid_root_is_a_plain_message(exchange: MessageExchange, root: Any) -> None:
    relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    message = await exchange.message(await say(exchange, "я", relation))
    assert (message.thread_root, message.thread_root_event) == (None, None)


async def test_thread_of_another_room_is_none(exchange: MessageExchange) -> None:
    elsewhere = await say(exchange, "там", room_id="!builders")
    message = await exchange.message(await say(exchange, "тут", in_thread(elsewhere)))
    assert message.thread_root is None
    assert (await exchange.message(elsewhere)).thread is None


async def test_redacted_reply_does_not_count(exchange: MessageExchange) -> None:
    root = await say(exchange, "Хто йде?")
    first, second = [await say(exchange, body, in_thread(root)) for body in ("я", "і я")]
    await exchange.receive_redaction(second)
    thread = (await exchange.message(root)).thread
    assert thread is not None
    assert (thread.count, thread.last_seq) == (1, (await exchange.message(first)).seq)
    await exchange.receive_redaction(first)
    assert (await exchange.message(root)).thread is None


async def test_deleted_reply_of_citizen_does_not_count(exchange: MessageExchange) -> None:
    root = await post(exchange, OKSANA, "Хто йде?")
    reply = await post(exchange, TARAS, "я", thread_root=root.id)
    await exchange.messaging.message_edits.delete(TARAS, "general", reply.id, may_moderate=False)
    (found, _) = await exchange.messages()
    assert (found.id, found.thread) == (root.id, None)


async def test_summary_follows_replies_that_move(exchange: MessageExchange) -> None:
    """A message that is inserted among older ones raises the sequence numbers after it."""
    root = await say(exchange, "Хто йде?")
    reply = await say(exchange, "я", in_thread(root))
    async with exchange.database.transaction() as tx:
        await tx.rooms.renumber(GENERAL, 1, by=50)
    thread = (await exchange.message(root)).thread
    assert thread is not None
    assert thread.last_seq == (await exchange.message(reply)).seq


# --- sent to Matrix -----------------------------------------------------------------------------------


async def test_reply_in_thread_is_sent_with_thread_relation(exchange: MessageExchange) -> None:
    root = await say(exchange, "Хто йде?")
    message = await exchange.message(root)
    first = await post(exchange, OKSANA, "я", thread_root=message.id)
    assert (await rendered(exchange, first))["m.relates_to"] == {
        "rel_type": "m.thread",
        "event_id": root,
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": root},
    }
    first_event = await exchange.mark_sent(first)
    second = await post(exchange, TARAS, "і я", thread_root=message.id)
    relation = (await rendered(exchange, second))["m.relates_to"]
    assert relation["m.in_reply_to"] == {"event_id": first_event}, "the fallback names the newest message of the thread"
    assert relation["is_falling_back"] is True


async def test_reply_to_message_of_thread_belongs_to_it(exchange: MessageExchange) -> None:
    root = await say(exchange, "Хто йде?")
    in_it = await say(exchange, "я", in_thread(root))
    reply = await post(exchange, SCRIBE, "Записано", reply_to=(await exchange.message(in_it)).id)
    assert reply.thread_root == (await exchange.message(root)).id
    content = await rendered(exchange, reply)
    assert content["m.relates_to"] == {
        "rel_type": "m.thread",
        "event_id": root,
        "is_falling_back": False,
        "m.in_reply_to": {"event_id": in_it},
    }
    assert content["m.mentions"] == {"user_ids": ["@alice:city.localhost"]}


async def test_thread_of_unsent_root_is_sent_after_it(exchange: MessageExchange) -> None:
    root = await post(exchange, OKSANA, "Хто йде?")
    reply = await post(exchange, TARAS, "я", thread_root=root.id)
    assert "m.relates_to" not in await rendered(exchange, reply), "Matrix does not have the root"
    event = await exchange.mark_sent(root)
    assert (await rendered(exchange, reply))["m.relates_to"]["event_id"] == event


@pytest.mark.parametrize(
    ("named", "code"), [("reply", "no_thread_root"), ("missing", "no_such_message"), ("elsewhere", "no_such_message")]
)
async def test_post_in_impossible_thread_is_refused(exchange: MessageExchange, named: str, code: str) -> None:
    root = await post(exchange, OKSANA, "Хто йде?")
    reply = await post(exchange, TARAS, "я", thread_root=root.id)
    elsewhere = (await exchange.messaging.messages.post(OKSANA, "builders", Draft("там"))).message
    roots = {"reply": reply.id, "missing": "01M80JJ9ZZ3VJ0Q4Y7V1B2N3M4", "elsewhere": elsewhere.id}
    with pytest.raises((InvalidInput, NotFound)) as refused:
        await post(exchange, TARAS, "де?", thread_root=roots[named])
    assert refused.value.code == code
    assert len(await exchange.messages()) == 2


async def test_reply_to_other_thread_is_refused(exchange: MessageExchange) -> None:
    root, other = [await post(exchange, OKSANA, body) for body in ("Хто йде?", "Хто їде?")]
    reply = await post(exchange, TARAS, "я", thread_root=other.id)
    for target in (other, reply):
        with pytest.raises(InvalidInput, match="does not belong to this thread"):
            await post(exchange, TARAS, "я", thread_root=root.id, reply_to=target.id)
    within = await post(exchange, TARAS, "я", thread_root=root.id, reply_to=root.id)
    assert (within.thread_root, within.reply_to) == (root.id, root.id)
