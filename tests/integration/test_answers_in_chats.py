"""What is said to an agent in a chat of its own; and Second Me, who tells nobody what it was asked by somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from daarion_appservice.agents.secondme import MAX_PROMPT_CHARS
from daarion_appservice.city.interactions import SECOND_ME
from daarion_appservice.city.types import Author, AuthorKind, CitizenId, SubjectId, UserId
from daarion_appservice.errors import NotAllowed
from tests.parts.agents_core import after, says
from tests.parts.city import eventually
from tests.parts.forum import SCRIBE, Forum, open_forum

ALICE = "@alice:city.localhost"
OKSANA = CitizenId("u_1")


@pytest.fixture
async def forum(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Forum]:
    async with open_forum(database_url, monkeypatch) as forum:
        yield forum


async def remembered(forum: Forum, who: str) -> list[tuple[str, str]]:
    async with forum.second_me() as second_me:
        return [(each.prompt, each.response) for each in await second_me.history(SubjectId(who))]


async def links(forum: Forum, user: str, citizen: CitizenId) -> None:
    await forum.accounts.link(citizen, user, "city.localhost")


async def test_in_company_an_agent_answers_whoever_turns_to_it(forum: Forum) -> None:
    chat = await forum.chat(SCRIBE, in_company=True)
    async with forum.answering():
        await forum.hears(chat, ALICE, "Бобе, ходімо обідати")
        await forum.hears(chat, ALICE, "@varta, а ти?")
        await forum.hears(chat, ALICE, "Писар, нагадай нам о другій")
        await forum.answers(room=chat.id)
    assert [asked.content["input"] for asked in forum.core.asked] == ["Писар, нагадай нам о другій"]


async def test_second_me_remembers_in_a_chat_what_was_asked_there(forum: Forum) -> None:
    chat = await forum.chat(SECOND_ME)
    forum.core.next(says("Сонце"), says("Так"))
    async with forum.answering():
        await forum.hears(chat, ALICE, "Яка погода?")
        await forum.answers(1, room=chat.id)
        await forum.hears(chat, ALICE, "Точно?")
        _, answer = await forum.answers(2, room=chat.id)
    assert answer.body == "Так"
    assert forum.core.asked[1].path == "/agents/second_me/invoke"
    assert forum.core.asked[1].content["context"] == {
        "kind": "secondme",
        "user_id": ALICE,
        "room": None,
        "history": [{"role": "user", "content": "Яка погода?"}, {"role": "assistant", "content": "Сонце"}],
    }
    assert await remembered(forum, ALICE) == [("Яка погода?", "Сонце"), ("Точно?", "Так")]


async def test_of_a_linked_person_it_remembers_the_same_in_the_city(forum: Forum) -> None:
    chat = await forum.chat(SECOND_ME)
    forum.core.next(says("перше"), says("друге"), says("третє"))
    async with forum.answering(), forum.second_me() as second_me:
        await forum.hears(chat, ALICE, "1")
        await forum.answers(1, room=chat.id)
        await links(forum, ALICE, OKSANA)
        await forum.hears(chat, ALICE, "2")
        await forum.answers(2, room=chat.id)
        async with second_me.ask(SubjectId(OKSANA), "3") as answer:
            assert [piece async for piece in answer] == ["третє"]
    assert await remembered(forum, OKSANA) == [("1", "перше"), ("2", "друге"), ("3", "третє")]
    assert forum.core.asked[2].history == ["1", "перше", "2", "друге"]
    assert await remembered(forum, ALICE) == []
    await forum.accounts.unlink(OKSANA)
    assert await forum.accounts.subject_of(UserId(ALICE)) == ALICE


async def test_an_account_is_one_citizens_and_a_citizen_has_one(forum: Forum) -> None:
    await links(forum, ALICE, OKSANA)
    await links(forum, "@bob:city.localhost", CitizenId("u_2"))
    # Many at once, each of which would undo another.
    await asyncio.gather(
        *(links(forum, user, OKSANA) for user in ("@bob:city.localhost", "@carol:city.localhost")),
        *(links(forum, "@bob:city.localhost", CitizenId(f"u_{number}")) for number in range(2, 5)),
    )
    holder = await forum.accounts.of(OKSANA)
    assert holder in {None, "@bob:city.localhost", "@carol:city.localhost"}
    await links(forum, ALICE, OKSANA)
    assert await forum.accounts.of(OKSANA) == ALICE
    assert await forum.accounts.subject_of(UserId("@carol:city.localhost")) == "@carol:city.localhost"
    with pytest.raises(NotAllowed):
        await forum.accounts.link(CitizenId("u_9"), ALICE, "elsewhere.example")
    assert await forum.accounts.of(OKSANA) == ALICE


async def test_second_me_says_nothing_where_others_listen(forum: Forum) -> None:
    chat = await forum.chat(SECOND_ME, in_company=True)
    async with forum.answering():
        await forum.desk.post(Author(AuthorKind.CITIZEN, "u_1", "Оксана"), "general", "@second_me, що я питала?")
        await forum.hears(chat, ALICE, "Second Me, what did I ask?")
        (in_general,) = await forum.answers()
        (in_chat,) = await forum.answers(room=chat.id)
    assert (in_general.msgtype, in_chat.msgtype) == ("m.notice", "m.notice")
    assert "наодинці" in in_general.body
    assert "nobody else listens" in in_chat.body
    assert forum.core.asked == []


async def test_what_it_remembered_before_a_crash_is_said_after_it(forum: Forum) -> None:
    chat = await forum.chat(SECOND_ME)
    await forum.hears(chat, ALICE, "Де ключі?")
    async with forum.database.reading() as tx:
        (owed,) = await tx.answers.owed(now_ms=1 << 60, limit=1)
    forum.core.next(says("На гвіздку"))
    async with (
        forum.second_me() as second_me,
        second_me.ask(SubjectId(ALICE), "Де ключі?", interaction=owed.id) as told,
    ):
        assert [piece async for piece in told] == ["На гвіздку"]
    async with forum.answering():
        (answer,) = await forum.answers(room=chat.id)
    assert answer.body == "На гвіздку"
    assert await remembered(forum, ALICE) == [("Де ключі?", "На гвіздку")]
    assert len(forum.core.asked) == 1


async def test_a_question_waits_while_another_of_the_same_person_is_answered(forum: Forum) -> None:
    chat = await forum.chat(SECOND_ME)
    gate = asyncio.Event()
    forum.core.next(after(gate, says("перше")), says("друге"))
    async with forum.second_me() as second_me:

        async def ask() -> None:
            async with second_me.ask(SubjectId(ALICE), "1") as answer:
                assert [piece async for piece in answer] == ["перше"]

        asking = asyncio.create_task(ask())

        async def is_asked() -> bool:
            return len(forum.core.asked) == 1

        await eventually(is_asked)
        async with forum.answering():
            await forum.hears(chat, ALICE, "2")

            async def was_put_off() -> bool:
                async with forum.database.reading() as tx:
                    return any(owed.attempts for owed in await tx.answers.owed(now_ms=1 << 60, limit=1))

            await eventually(was_put_off)
            gate.set()
            await asking
            (answer,) = await forum.answers(room=chat.id)
    assert answer.body == "друге"


async def test_a_question_that_is_too_long_is_told_so(forum: Forum) -> None:
    chat = await forum.chat(SECOND_ME)
    async with forum.answering():
        await forum.hears(chat, ALICE, "a" * (MAX_PROMPT_CHARS + 1))
        (answer,) = await forum.answers(room=chat.id)
    assert (answer.msgtype, "too long" in answer.body) == ("m.notice", True)


async def test_files_of_a_chat_are_fetched_for_nobody_nor_what_an_edit_brings_in(forum: Forum) -> None:
    chat, secret = await forum.chat(SCRIBE), "mxc://city.localhost/secret"
    image = {"msgtype": "m.image", "body": "фото.png", "url": secret, "info": {"mimetype": "image/png"}}
    html = {"format": "org.matrix.custom.html", "formatted_body": f'<img src="{secret}" alt="фото">'}
    edit = {"m.new_content": image | html, "m.relates_to": {"rel_type": "m.replace", "event_id": "$text"}}
    text = {"msgtype": "m.text", "body": "Дивись"}
    for event_id, content in (("$image", image), ("$text", text | html), ("$edit", image | edit)):
        event = {
            "event_id": event_id,
            "type": "m.room.message",
            "sender": ALICE,
            "origin_server_ts": 1,
            "content": content,
        }
        async with forum.database.transaction() as tx:
            await forum.desk.message_events.message(tx, chat, event)
    assert [(each.body, each.media) for each in await forum.said(chat.id)] == [("фото.png", None)] * 2
    async with forum.database.reading() as tx:
        assert not await tx.media.is_shown(secret)
