"""Has agents answer what they were asked in rooms: each question once, whatever crashes.

    owed ─► is the agent here? ─no─► a notice that says so
              └─yes─► typing ─► the agents core, with what was said before ─► a reply, which grows by edits ─► given
                                    └─ busy: later;  broken or too slow: a notice that says so

The answer is posted under a ``client_id`` of its own, and the row that stands for it ends in the same transaction as what it
asks of others. So when we end in the middle and it is answered anew, it is the same message that is edited. Why there will be
none is written down before it is said, so that whoever goes on after us says it and asks nobody again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ..city.accounts import Accounts
from ..city.agents import AgentDirectory
from ..city.answers import Answers
from ..city.changes import Changes
from ..city.events import AnswersOwed, InhabitantTyping
from ..city.interactions import is_second_me
from ..city.messages import Draft, Messages, cut_to_fit
from ..city.ports import NowMs, PresenceStore, Publish
from ..city.presence import Status
from ..city.reading import CLOSED, may_be_repeated
from ..city.types import (
    Agent,
    Author,
    AuthorKind,
    MatrixStatus,
    Message,
    NoAnswer,
    OwedAnswer,
    Room,
    RoomId,
    UserId,
    agent_subject,
)
from ..errors import CityError, CoreBusy, CoreError, CoreResting, CoreSlow, NoCore
from ..storage.database import Database, Transaction
from .core import AgentsCore
from .excuses import excuse
from .growing import Growing
from .question import AskedAs, Exchange, Question
from .secondme import AnotherIsAnswered, PromptTooLong, SecondMe

_AT_ONCE: Final = 32
_BATCH: Final = 200
_LONGEST_WAIT_S: Final = 2.0
"""How often to look even if nobody said that there is something."""
_DATABASE_RETRY_S: Final = 1.0
_BUSY_RETRY_MS: Final = 5_000
_NOT_HERE_RETRY_MS: Final = 1_000
_GIVE_UP_MS: Final = 120_000
"""How long a question waits for a core that is busy."""
_TYPING_S: Final = 5.0
_HISTORY: Final = 20
"""Messages before the question that the agent is told."""
_HISTORY_CHARS: Final = 8_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question with all that belongs to it."""

    owed: OwedAnswer
    agent: Agent
    room: Room
    message: Message
    before: list[Message]

    @property
    def author(self) -> Author:
        return Author(AuthorKind.AGENT, self.agent.slug, self.agent.display_name)

    @property
    def is_second_me(self) -> bool:
        return is_second_me(self.agent.slug)

    @property
    def others_listen(self) -> bool:
        return self.room.agent is None or self.room.in_company

    def excuse(self, why: NoAnswer) -> str:
        return excuse(why, self.message.body, self.agent.display_name)


class NotAlone(Exception):
    """Others would hear what only the asker may."""


class Answerer:
    """``patience_ms``: for so long after the start, whoever is not here may only not have had time to say so."""

    def __init__(
        self,
        core: AgentsCore,
        second_me: SecondMe,
        accounts: Accounts,
        database: Database,
        agents: AgentDirectory,
        presence: PresenceStore,
        messages: Messages,
        changes: Changes,
        answers: Answers,
        publish: Publish,
        now_ms: NowMs,
        *,
        patience_ms: int,
    ) -> None:
        self._core = core
        self._second_me = second_me
        self._accounts = accounts
        self._database = database
        self._agents = agents
        self._presence = presence
        self._messages = messages
        self._changes = changes
        self._answers = answers
        self._publish = publish
        self._now_ms = now_ms
        self._patient_until_ms = now_ms() + patience_ms
        self._wake = asyncio.Event()
        self._busy: set[tuple[RoomId, str]] = set()
        """Each agent answers one question of a room at a time, in their order."""

    def wake(self) -> None:
        """An agent was asked something."""
        self._wake.set()

    async def run(self) -> None:
        """Have questions answered, until cancelled. Can be run again."""
        self._busy.clear()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                try:
                    await self._begin(tasks)
                except (SQLAlchemyError, OSError) as error:
                    log.error(
                        "answers_unavailable", error=str(error), help="the database does not answer; trying again"
                    )
                    await asyncio.sleep(_DATABASE_RETRY_S)
                    continue
                try:
                    async with asyncio.timeout(_LONGEST_WAIT_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Begin with whatever can be answered now."""
        async with self._database.reading() as tx:
            owed = await tx.answers.owed(now_ms=self._now_ms(), limit=_BATCH)
        for each in owed:
            place = (each.room_id, each.agent)
            if len(self._busy) >= _AT_ONCE:
                return
            if place not in self._busy:
                self._busy.add(place)
                tasks.create_task(self._answer(each))

    async def _answer(self, owed: OwedAnswer) -> None:
        try:
            await self._answer_or_drop(owed)
        except (SQLAlchemyError, OSError) as error:
            log.error("answers_unavailable", error=str(error), help="the database does not answer; trying again")
            await asyncio.sleep(_DATABASE_RETRY_S)
        finally:
            self._busy.discard((owed.room_id, owed.agent))
            self._wake.set()

    async def _answer_or_drop(self, owed: OwedAnswer) -> None:
        try:
            await self._answer_if_asked(owed)
        except (SQLAlchemyError, OSError):
            raise
        except CityError as error:
            # The room is closed to the agent, or archived, or gone: there is nobody to tell.
            log.info("answer_dropped", agent=owed.agent, room=owed.room_id, error=error.detail)
            await self._drop(owed)
        except Exception:
            log.exception("answer_failed", agent=owed.agent, room=owed.room_id)
            await self._drop(owed)

    async def _answer_if_asked(self, owed: OwedAnswer) -> None:
        asked = await self._read(owed)
        if asked is None:
            await self._drop(owed)
        elif asked.owed.no_answer is not None:
            await self._say_why(asked, asked.owed.no_answer)
        elif asked.is_second_me and asked.others_listen:
            await self._excuse(asked, NoAnswer.PRIVATE)
        elif asked.is_second_me and asked.room.matrix_status is not MatrixStatus.LINKED:
            await self._put_off(owed, "it is not known yet who listens", self._now_ms() + _NOT_HERE_RETRY_MS)
        elif self._presence.shown(agent_subject(owed.agent)).status is not Status.OFFLINE:
            await self._ask_core(asked)
        elif self._now_ms() < self._patient_until_ms:
            await self._put_off(owed, "not here yet", self._now_ms() + _NOT_HERE_RETRY_MS)
        else:
            await self._excuse(asked, NoAnswer.OFFLINE)

    async def _read(self, owed: OwedAnswer) -> _Asked | None:
        """None when there is nothing to answer any more."""
        agent = self._agents.get(owed.agent)
        async with self._database.reading() as tx:
            # It may have been given after it was found and before its turn came.
            now = await tx.answers.still_owed(owed.id)
            message, room = await tx.messages.get(owed.question_id), await tx.rooms.get(owed.room_id)
            if now is None or agent is None or message is None or message.deleted or room is None:
                return None
            before = await _said_before(tx, agent, room, message)
        return _Asked(now, agent, room, message, before)

    async def _ask_core(self, asked: _Asked) -> None:
        try:
            async with self._typing(asked):
                message = await self._grow(asked)
        except (CoreBusy, CoreResting) as error:
            await self._later(asked, error, after_s=error.retry_after_s or 0)
        except AnotherIsAnswered as error:
            await self._later(asked, error)
        except PromptTooLong:
            await self._excuse(asked, NoAnswer.TOO_LONG)
        except NotAlone:
            await self._excuse(asked, NoAnswer.PRIVATE)
        except NoCore:
            await self._excuse(asked, NoAnswer.FAILED)
        except CoreError as error:
            await self._excuse(asked, NoAnswer.SLOW if isinstance(error, CoreSlow) else NoAnswer.FAILED)
        else:
            await self._given(asked, message)

    async def _later(self, asked: _Asked, error: CityError, *, after_s: float = 0) -> None:
        now_ms = self._now_ms()
        if now_ms - asked.owed.asked_at_ms > _GIVE_UP_MS:
            await self._excuse(asked, NoAnswer.BUSY)
        else:
            retry_at_ms = now_ms + int(after_s * 1000) + _BUSY_RETRY_MS
            await self._put_off(asked.owed, error.detail, retry_at_ms)

    async def _grow(self, asked: _Asked) -> Message:
        """Post the answer, at once or piece by piece; returns it as it stands in the end."""
        growing = Growing(asyncio.get_running_loop().time)
        text, message = "", None
        async with self._pieces(asked) as pieces:
            async for piece in pieces:
                text += piece
                if text.strip() and growing.is_time():
                    message = await self._show(asked, text, message)
        return await self._show(asked, text, message)

    @asynccontextmanager
    async def _pieces(self, asked: _Asked) -> AsyncIterator[AsyncIterator[str]]:
        if not asked.is_second_me:
            async with self._core.answer(_question(asked)) as pieces:
                yield pieces
        elif known := await self._second_me.answered(asked.owed.id):
            # It was answered and remembered, but we ended before it was said.
            yield _at_once(known.response)
        else:
            who = await self._accounts.subject_of(UserId(asked.message.author.id))
            async with self._second_me.ask(who, asked.message.body, interaction=asked.owed.id) as answer:
                yield answer

    async def _show(self, asked: _Asked, text: str, shown: Message | None) -> Message:
        text = cut_to_fit(text)
        if asked.is_second_me:
            await self._check_alone(asked)
        if shown is None:
            draft = Draft(text, reply_to=asked.message.id, client_id=_client_id(asked.owed), is_whole=False)
            posted = await self._messages.post(asked.author, asked.room.id, draft)
            if posted.is_new:
                return posted.message
            shown = posted.message
        return await self._changes.edit(asked.author, asked.room.id, shown.id, text)

    async def _check_alone(self, asked: _Asked) -> None:
        """Raise NotAlone when somebody came into the chat since the question."""
        async with self._database.reading() as tx:
            room = await tx.rooms.get(asked.room.id)
        if room is None or room.in_company:
            raise NotAlone

    async def _excuse(self, asked: _Asked, why: NoAnswer) -> None:
        async with self._database.transaction() as tx:
            is_owed = await tx.answers.will_not_be(asked.owed.id, why)
        if is_owed:
            await self._say_why(asked, why)

    async def _say_why(self, asked: _Asked, why: NoAnswer) -> None:
        """Say in the room why there is no answer. Of one that broke off nothing stays."""
        begun = await self._begun(asked)
        if begun is not None and not begun.deleted:
            await self._changes.delete(asked.author, asked.room.id, begun.id, may_moderate=False)
        client_id = f"{_client_id(asked.owed)}:excuse"
        draft = Draft(asked.excuse(why), msgtype="m.notice", reply_to=asked.message.id, client_id=client_id)
        posted = await self._messages.post(asked.author, asked.room.id, draft)
        async with self._database.transaction() as tx:
            await tx.answers.given(asked.owed.id, posted.message.id)

    async def _begun(self, asked: _Asked) -> Message | None:
        async with self._database.reading() as tx:
            return await tx.messages.by_client_id(asked.author, asked.room.id, _client_id(asked.owed))

    async def _given(self, asked: _Asked, message: Message) -> None:
        async with self._database.transaction() as tx:
            owed = []
            if await tx.answers.given(asked.owed.id, message.id):
                owed = await self._answers.note(tx, asked.room, message, depth=asked.owed.depth + 1)
        if owed:
            self._publish(AnswersOwed())

    async def _drop(self, owed: OwedAnswer) -> None:
        async with self._database.transaction() as tx:
            await tx.answers.drop(owed.id)

    async def _put_off(self, owed: OwedAnswer, why: str, retry_at_ms: int) -> None:
        async with self._database.transaction() as tx:
            await tx.answers.put_off(owed.id, why, retry_at_ms=retry_at_ms)

    @asynccontextmanager
    async def _typing(self, asked: _Asked) -> AsyncIterator[None]:
        """The agent is seen typing for as long as the block takes."""
        task = asyncio.create_task(self._keep_typing(asked))
        try:
            yield
        finally:
            task.cancel()
            self._publish(InhabitantTyping(asked.room.id, asked.author, typing=False))

    async def _keep_typing(self, asked: _Asked) -> None:
        while True:
            self._publish(InhabitantTyping(asked.room.id, asked.author, typing=True))
            await asyncio.sleep(_TYPING_S)


async def _at_once(answer: str) -> AsyncIterator[str]:
    yield answer


def _client_id(owed: OwedAnswer) -> str:
    return f"answer:{owed.id}"


def _question(asked: _Asked) -> Question:
    return Question(
        asked.agent.id,
        asked.message.body,
        AskedAs.DIRECT if asked.room.agent else AskedAs.MENTION,
        asked.message.author.subject,
        room=None if asked.room.agent else asked.room.slug,
        history=tuple(_history(asked)),
    )


async def _said_before(tx: Transaction, agent: Agent, room: Room, message: Message) -> list[Message]:
    """The last messages before this one, and behind each question what the agent answered to it after this one was asked.

    Only what all who read the answer may read: an agent repeats nothing to somebody who joined later and may not know it.
    """
    before = await tx.messages.before(message.room_id, message.seq, limit=_HISTORY)
    given = await tx.answers.given_to([each.id for each in before], agent.slug)
    answers = await tx.messages.some(list(given.values()))
    said = []
    for each in before:
        said.append(each)
        answer = answers.get(given[each.id]) if each.id in given else None
        if answer is not None and answer.seq > message.seq:
            said.append(answer)
    newest_join = await tx.membership_periods.newest_join(room.id) if room.history_visibility in CLOSED else 0
    return [each for each in said if may_be_repeated(each, room.history_visibility, newest_join)]


def _history(asked: _Asked) -> list[Exchange]:
    """What was said before, as far as there is room for it; others than the agent are named."""
    left = _HISTORY_CHARS
    history: list[Exchange] = []
    for message in reversed(asked.before):
        if message.deleted or message.msgtype == "m.notice":
            continue
        is_own = message.author.subject == agent_subject(asked.agent.slug)
        is_plain = is_own or asked.room.agent is not None
        content = message.body if is_plain else f"{message.author.display_name}: {message.body}"
        left -= len(content)
        if left < 0:
            break
        history.append(Exchange("assistant" if is_own else "user", content))
    return history[::-1]
