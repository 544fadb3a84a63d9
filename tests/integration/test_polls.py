"""Polls of the city and of Matrix: votes, results, ends, redactions and their events for Matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from daarion_appservice.city.event_fields import RESPONSE_ID
from daarion_appservice.city.message_kinds import Poll, PollKind, PollOption
from daarion_appservice.city.messages import Draft
from daarion_appservice.city.room_events import RoomEventKind
from daarion_appservice.city.types import Message, OutboxKind
from daarion_appservice.errors import Conflict, Forbidden, InvalidInput, NotFound
from tests.parts.message_exchange import ALICE, BOB, GENERAL, OKSANA, OKSANA_GHOST, TARAS, MessageExchange

UNSTABLE, STABLE = "org.matrix.msc3381.poll.", "m.poll."
START_MS = 1_700_000_000_000
CAROL = "@carol:elsewhere.example"


def poll_content(prefix: str, *options: str, most: int = 1, kind: str = "disclosed") -> dict[str, Any]:
    if prefix == STABLE:
        answers: list[dict[str, Any]] = [{"m.id": each, "m.text": [{"body": each.upper()}]} for each in options]
        question: dict[str, Any] = {"m.text": [{"body": "Куди?"}]}
        return {
            "m.poll": {"question": question, "answers": answers, "kind": f"m.{kind}", "max_selections": most},
            "m.text": [{"body": "Куди?"}],
        }
    answers = [{"id": each, "org.matrix.msc1767.text": each.upper()} for each in options]
    question = {"org.matrix.msc1767.text": "Куди?"}
    poll = {"question": question, "answers": answers, "kind": UNSTABLE + kind, "max_selections": most}
    return {f"{UNSTABLE}start": poll, "org.matrix.msc1767.text": "Куди?"}


def vote_content(prefix: str, event_id: str, selections: Any) -> dict[str, Any]:
    form = {"m.selections": selections} if prefix == STABLE else {f"{UNSTABLE}response": {"answers": selections}}
    return form | {"m.relates_to": {"rel_type": "m.reference", "event_id": event_id}}


class Polling:
    """A poll with the options a, b and c that Alice started on Matrix."""

    def __init__(self, exchange: MessageExchange, prefix: str, event_id: str) -> None:
        self.exchange = exchange
        self.prefix = prefix
        self.event_id = event_id

    async def vote(self, sender: str, *selections: Any, at_ms: int = START_MS) -> str:
        content = vote_content(self.prefix, self.event_id, list(selections))
        return await self.exchange.receive(f"{self.prefix}response", content, sender=sender, origin_server_ts=at_ms)

    async def end(self, sender: str = ALICE, *, at_ms: int = START_MS) -> str:
        content = {"m.relates_to": {"rel_type": "m.reference", "event_id": self.event_id}}
        return await self.exchange.receive(f"{self.prefix}end", content, sender=sender, origin_server_ts=at_ms)

    async def message(self) -> Message:
        return await self.exchange.message(self.event_id)

    async def votes(self) -> Sequence[int]:
        results = (await self.message()).poll_results
        assert results is not None
        return results.votes

    async def ended_at_ms(self) -> int | None:
        results = (await self.message()).poll_results
        assert results is not None
        return results.ended_at_ms


async def start(exchange: MessageExchange, prefix: str = UNSTABLE, **more: Any) -> Polling:
    content = poll_content(prefix, "a", "b", "c", **more)
    return Polling(exchange, prefix, await exchange.receive(f"{prefix}start", content))


@pytest.mark.parametrize("prefix", [UNSTABLE, STABLE])
async def test_newest_vote_of_each_voter_counts(exchange: MessageExchange, prefix: str) -> None:
    polling = await start(exchange, prefix)
    await polling.vote(BOB, "a")
    await polling.vote(CAROL, "a")
    await polling.vote(BOB, "b", at_ms=START_MS + 1)
    assert await polling.votes() == (1, 1, 0)
    await polling.vote(BOB, "c", at_ms=START_MS - 5)  # An older vote that arrives late.
    assert await polling.votes() == (1, 1, 0)
    assert (await polling.message()).body == "Куди?\n1. A\n2. B\n3. C"
    assert await exchange.event_kinds() == [RoomEventKind.MESSAGE, *[RoomEventKind.UPDATED] * 3]


@pytest.mark.parametrize("selections", [["x"], ["a", "x"], ["a", 7], [["a"]], ["a"] * 30, [None], [{}]])
async def test_invalid_vote_is_spoiled(exchange: MessageExchange, selections: list[Any]) -> None:
    polling = await start(exchange)
    await polling.vote(BOB, "a")
    await polling.vote(BOB, *selections, at_ms=START_MS + 1)
    assert await polling.votes() == (0, 0, 0)


async def test_vote_for_too_many_options_is_cut(exchange: MessageExchange) -> None:
    polling = await start(exchange, most=2)
    await polling.vote(BOB, "c", "a", "b")
    assert await polling.votes() == (1, 0, 1)


@pytest.mark.parametrize("prefix", [UNSTABLE, STABLE])
async def test_votes_after_the_end_do_not_count(exchange: MessageExchange, prefix: str) -> None:
    polling = await start(exchange, prefix)
    await polling.vote(BOB, "a")
    await polling.end(at_ms=START_MS + 10)
    await polling.vote(BOB, "b", at_ms=START_MS + 11)
    await polling.vote(CAROL, "b", at_ms=START_MS + 11)
    assert (await polling.votes(), await polling.ended_at_ms()) == ((1, 0, 0), START_MS + 10)
    await polling.end(at_ms=START_MS + 20)
    assert await polling.ended_at_ms() == START_MS + 10
    with pytest.raises(Conflict, match="has ended"):
        await exchange.messaging.polls.vote(OKSANA, "general", (await polling.message()).id, ["a"])


async def test_only_author_and_moderators_end_a_poll(exchange: MessageExchange) -> None:
    polling = await start(exchange)
    await polling.end(BOB)
    assert await polling.ended_at_ms() is None
    await exchange.receive("m.room.power_levels", {"users": {BOB: 50}}, state_key="")
    await polling.end(BOB)
    assert await polling.ended_at_ms() == START_MS


async def test_redacted_vote_counts_no_more(exchange: MessageExchange) -> None:
    polling = await start(exchange)
    await polling.vote(BOB, "a")
    second = await polling.vote(BOB, "b", at_ms=START_MS + 1)
    only = await polling.vote(CAROL, "c")
    await exchange.receive_redaction(only, sender=CAROL)
    assert await polling.votes() == (0, 1, 0)
    await exchange.receive_redaction(second, sender=BOB)
    assert await polling.votes() == (1, 0, 0), "the vote before counts again, as MSC3381 says"
    end = await polling.end()
    await exchange.receive_redaction(end)
    assert await polling.ended_at_ms() is None


async def test_redacted_poll_has_no_results(exchange: MessageExchange) -> None:
    polling = await start(exchange)
    await polling.vote(BOB, "a")
    await exchange.receive_redaction(polling.event_id)
    await polling.vote(CAROL, "a")
    message = await polling.message()
    assert (message.deleted, message.details.poll, message.poll_results) == (True, None, None)


async def test_repeated_or_dangling_votes_are_ignored(exchange: MessageExchange) -> None:
    polling = await start(exchange)
    text = await exchange.receive_text("no poll")
    vote = await polling.vote(BOB, "a")
    again = vote_content(UNSTABLE, polling.event_id, ["b"])
    await exchange.receive(f"{UNSTABLE}response", again, sender=BOB, event_id=vote)
    for content in (
        vote_content(UNSTABLE, text, ["a"]),
        vote_content(UNSTABLE, "$unknown", ["a"]),
        again | {"m.relates_to": {"rel_type": "m.thread", "event_id": polling.event_id}},
        {"m.relates_to": "nothing"},
        {},
    ):
        await exchange.receive(f"{UNSTABLE}response", content, sender=CAROL)
    await exchange.receive(f"{UNSTABLE}response", again, sender=CAROL, room_id="!builders")
    assert await polling.votes() == (1, 0, 0)


async def test_edited_poll_counts_votes_for_its_options(exchange: MessageExchange) -> None:
    polling = await start(exchange)
    await polling.vote(BOB, "a")
    await polling.vote(CAROL, "b")
    relation = {"rel_type": "m.replace", "event_id": polling.event_id}
    edit = {"m.new_content": poll_content(UNSTABLE, "b", "d"), "m.relates_to": relation}
    edited = await exchange.receive(f"{UNSTABLE}start", edit)
    assert await polling.votes() == (1, 0)
    await exchange.receive_redaction(edited)
    assert await polling.votes() == (1, 1, 0)


async def test_citizen_votes_once_as_ghost(exchange: MessageExchange) -> None:
    polling = await start(exchange, STABLE, most=2)
    message, polls = await polling.message(), exchange.messaging.polls
    await polls.vote(OKSANA, "general", message.id, ["a"])
    await polls.vote(OKSANA, "general", message.id, ["a"])
    voted = await polls.vote(OKSANA, "general", message.id, ["b", "c"])
    assert voted.poll_results is not None
    assert (voted.poll_results.votes, voted.poll_results.voters) == ((0, 1, 1), 1)
    assert await polls.own_vote(OKSANA, "general", message.id) == ("b", "c")
    assert await polls.own_vote(TARAS, "general", message.id) == ()
    first, second = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = [await exchange.messaging.renderer.render(tx, row) for row in (first, second)]
    assert [each and (each.sender, each.event_type) for each in rendered] == [(OKSANA, "m.poll.response")] * 2
    assert [each and each.content["m.selections"] for each in rendered] == [["a"], ["b", "c"]]
    # The echo of the first vote comes back from Matrix.
    echo = vote_content(STABLE, polling.event_id, ["a"]) | {RESPONSE_ID: first.txn_id}
    await exchange.receive("m.poll.response", echo, sender=OKSANA_GHOST, event_id="$echo")
    assert await polling.votes() == (0, 1, 1)
    async with exchange.database.transaction() as tx:
        await exchange.messaging.renderer.record_sent(tx, second, "$second")  # type: ignore[arg-type]
    await exchange.receive_redaction("$second")
    assert await polling.votes() == (1, 0, 0)


async def test_invalid_votes_of_citizens_are_refused(exchange: MessageExchange) -> None:
    polling = await start(exchange)
    message, text = await polling.message(), await exchange.message(await exchange.receive_text("text"))
    polls = exchange.messaging.polls
    for selections, code in ((["x"], "no_such_option"), (["a", "b"], "too_many_selections")):
        with pytest.raises(InvalidInput) as refused:
            await polls.vote(OKSANA, "general", message.id, selections)
        assert refused.value.code == code
    with pytest.raises(NotFound) as missing:
        await polls.vote(OKSANA, "general", text.id, ["a"])
    assert missing.value.code == "no_such_poll"
    with pytest.raises(Forbidden):
        await polls.end(OKSANA, "general", message.id, may_moderate=False)
    assert await exchange.outbox() == []


async def test_poll_of_citizen_is_sent_with_votes_and_end(exchange: MessageExchange) -> None:
    poll = Poll("Куди?", (PollOption("1", "Поділ"), PollOption("2", "Оболонь")), PollKind.DISCLOSED)
    message = (await exchange.messaging.messages.post(OKSANA, "general", Draft("", poll=poll))).message
    assert message.body == "Куди?\n1. Поділ\n2. Оболонь"
    polls = exchange.messaging.polls
    await polls.vote(TARAS, "general", message.id, ["2"])
    ended = await polls.end(OKSANA, "general", message.id, may_moderate=False)
    assert ended.poll_results is not None
    assert ended.poll_results.ended_at_ms is not None
    assert await polls.end(OKSANA, "general", message.id, may_moderate=False) == ended
    start_row, vote, end = await exchange.outbox()
    assert [row.kind for row in (start_row, vote, end)] == [OutboxKind.MESSAGE, OutboxKind.VOTE, OutboxKind.END_POLL]
    async with exchange.database.transaction() as tx:
        renderer = exchange.messaging.renderer
        assert await renderer.render(tx, vote) is None, "without an event of the poll there is nothing to vote for"
        started = await renderer.render(tx, start_row)
        await renderer.record_sent(tx, start_row, "$poll")  # type: ignore[arg-type]
        rest = [await renderer.render(tx, row) for row in (vote, end)]
    assert started is not None
    assert started.event_type == "org.matrix.msc3381.poll.start"
    assert started.content["org.matrix.msc1767.text"] == message.body
    assert "msgtype" not in started.content
    assert [each and each.event_type for each in rest] == [f"{UNSTABLE}response", f"{UNSTABLE}end"]
    assert rest[1] is not None
    assert rest[1].content["org.matrix.msc1767.text"].endswith("Most votes: Оболонь (1)")
    with pytest.raises(Conflict, match="cannot be edited"):
        await exchange.messaging.message_edits.edit(OKSANA, "general", message.id, "Інше?")


async def test_admin_of_city_ends_poll_by_the_bot(exchange: MessageExchange) -> None:
    polling = await start(exchange)
    message = await polling.message()
    await exchange.messaging.polls.end(OKSANA, "general", message.id, may_moderate=True)
    (row,) = await exchange.outbox()
    async with exchange.database.read_only() as tx:
        rendered = await exchange.messaging.renderer.render(tx, row)
    assert rendered is not None
    assert rendered.sender is None
    await exchange.receive(
        f"{UNSTABLE}end", rendered.content, sender="@daarion_bot:city.localhost", event_id="$by_the_bot"
    )
    assert await polling.ended_at_ms() is not None


async def test_votes_of_one_voter_are_limited(exchange: MessageExchange) -> None:
    polling = await start(exchange)
    for number in range(25):
        await polling.vote(BOB, "abc"[number % 3], at_ms=START_MS + number)
    assert await polling.votes() == (1, 0, 0)
    async with exchange.database.read_only() as tx:
        stored = await tx.connection.exec_driver_sql("SELECT COUNT(*) FROM poll_responses")
        assert stored.scalar() == 20
        assert len(await tx.messages.before(GENERAL, None, limit=9)) == 1
