"""Second Me: an agent that answers each citizen by what that citizen asked before, and by nothing of anybody else's.

    ask ─► this citizen's turn ─► the interactions before ─► agents core ─► pieces ─► whole: stored, older ones forgotten

Whose turn it is stands in the database, so that a citizen is answered one question at a time by all processes together. A turn
is held as long as the answer takes, and runs out by itself when the process that held it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from ..city.ports import NewId, NowMs
from ..city.second_me import CARRIED, REMEMBERED, Interaction
from ..city.types import SubjectId
from ..errors import Conflict, InvalidInput
from ..storage.database import Database
from .core import AgentsCore
from .request import AgentRequest, Exchange, RequestKind

MAX_PROMPT_CHARS: Final = 8_000

_TURN_MS: Final = 15_000
"""How long after its process was killed a citizen waits."""
_HOLD_EVERY_S: Final = 5.0


class AnotherRequestRunning(Conflict):
    """Another question of the same person is being answered."""

    def __init__(self) -> None:
        super().__init__("secondme_busy", "another question of yours is still being answered: ask again after that")


class PromptTooLong(InvalidInput):
    def __init__(self) -> None:
        detail = f"a prompt may have {MAX_PROMPT_CHARS} characters at most"
        super().__init__("prompt_too_long", detail, status=422)


class SecondMe:
    """``agent_id``: under which the agents core knows it."""

    def __init__(self, core: AgentsCore, database: Database, now_ms: NowMs, new_id: NewId, *, agent_id: str) -> None:
        self._core = core
        self._database = database
        self._now_ms = now_ms
        self._new_id = new_id
        self._agent_id = agent_id

    @property
    def is_available(self) -> bool:
        """Whether it makes sense to ask."""
        return self._core.is_ready(self._agent_id)

    @property
    def exists(self) -> bool:
        """Whether the city has one, be it that it cannot be asked at the moment."""
        return self._core.is_reachable

    @asynccontextmanager
    async def ask(
        self, who: SubjectId, prompt: str, *, interaction: str | None = None, asked: AgentRequest | None = None
    ) -> AsyncIterator[SecondMeReply]:
        """The answer, piece by piece. Whoever leaves the block before its end ends the call, and nothing is stored.

        Args:
            interaction: the id to store it under.
            asked: what the prompt replies to and which files came with it, of a message.

        Raises InvalidInput, AnotherRequestRunning, and CoreError, also in between.
        """
        _check(prompt)
        self._core.check_ready(self._agent_id, RequestKind.SECONDME)
        async with self._turn(who, interaction or self._new_id()) as turn:
            asked_at_ms = self._now_ms()
            history = _exchanges(await self._last(who, CARRIED))
            question = AgentRequest(
                self._agent_id,
                prompt,
                RequestKind.SECONDME,
                who,
                history=history,
                reply_to=asked.reply_to if asked else None,
                attachments=asked.attachments if asked else (),
            )
            async with self._core.answer(question) as pieces:
                yield SecondMeReply(pieces, turn, prompt, asked_at_ms)

    async def answered(self, interaction: str) -> Interaction | None:
        """What was stored under this id, if it still is remembered."""
        async with self._database.reading() as tx:
            return await tx.interactions.get(interaction)

    async def history(self, who: SubjectId) -> list[Interaction]:
        """The last interactions, oldest first."""
        return await self._last(who, REMEMBERED)

    async def forget(self, who: SubjectId) -> None:
        """All that was stored of them; an answer that is under way is stored when it is whole."""
        async with self._database.transaction() as tx:
            await tx.interactions.forget(who)

    async def _last(self, who: SubjectId, count: int) -> list[Interaction]:
        async with self._database.reading() as tx:
            return await tx.interactions.last(who, count)

    @asynccontextmanager
    async def _turn(self, who: SubjectId, interaction: str) -> AsyncIterator[_Turn]:
        turn = _Turn(self._database, self._now_ms, interaction, who)
        try:
            await turn.take()
            is_over = asyncio.Event()
            holding = asyncio.create_task(turn.hold(is_over))
            try:
                yield turn
            finally:
                # Not cancelled: a transaction that is cut off costs its connection.
                is_over.set()
                await asyncio.gather(holding, return_exceptions=True)
        finally:
            await turn.end()


class SecondMeReply(AsyncIterator[str]):
    """Its pieces, once; ``interaction`` is there when they have come to their end, and then it is stored."""

    def __init__(self, pieces: AsyncIterator[str], turn: _Turn, prompt: str, asked_at_ms: int) -> None:
        self._pieces = pieces
        self._turn = turn
        self._prompt = prompt
        self._asked_at_ms = asked_at_ms
        self._asked_s = asyncio.get_running_loop().time()
        self._said: list[str] = []
        self._stored: Interaction | None = None

    @property
    def interaction(self) -> Interaction:
        assert self._stored is not None, "the answer has not come to its end"
        return self._stored

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            if self._stored is None:
                await self._store()
            raise
        self._said.append(piece)
        return piece

    async def _store(self) -> None:
        took_s = asyncio.get_running_loop().time() - self._asked_s
        interaction = Interaction(
            self._turn.id,
            self._turn.who,
            self._prompt,
            "".join(self._said),
            latency_ms=round(took_s * 1000),
            created_at_ms=self._asked_at_ms,
        )
        await self._turn.store(interaction)
        self._stored = interaction


class _Turn:
    """One citizen's, to be answered one question."""

    def __init__(self, database: Database, now_ms: NowMs, id: str, who: SubjectId) -> None:  # noqa: A002
        self._database = database
        self._now_ms = now_ms
        self._has_ended = False
        self.id = id
        self.who = who

    async def take(self) -> None:
        now_ms = self._now_ms()
        async with self._database.transaction() as tx:
            if not await tx.interactions.take_turn(self.who, self.id, now_ms=now_ms, until_ms=now_ms + _TURN_MS):
                self._has_ended = True
                raise AnotherRequestRunning

    async def hold(self, is_over: asyncio.Event) -> None:
        while not await _within(is_over.wait(), _HOLD_EVERY_S):
            # A database that is away is tried again; whether the turn was lost meanwhile is seen when it matters.
            with suppress(SQLAlchemyError, OSError):
                async with self._database.transaction() as tx:
                    await tx.interactions.hold_turn(self.who, self.id, until_ms=self._now_ms() + _TURN_MS)

    async def store(self, interaction: Interaction) -> None:
        """Ends the turn. Raises Conflict when it was lost, since what was asked after it must not come before it."""
        async with self._database.transaction() as tx:
            if not await tx.interactions.end_turn(self.who, self.id):
                raise AnotherRequestRunning
            await tx.interactions.add(interaction)
        self._has_ended = True

    async def end(self) -> None:
        if self._has_ended:
            return
        # With the database away it runs out by itself.
        with suppress(SQLAlchemyError, OSError):
            async with self._database.transaction() as tx:
                await tx.interactions.end_turn(self.who, self.id)


async def _within(happening: Coroutine[Any, Any, object], seconds: float) -> bool:
    """Whether it happened by then."""
    try:
        async with asyncio.timeout(seconds):
            await happening
    except TimeoutError:
        return False
    return True


def _check(prompt: str) -> None:
    if not prompt.strip():
        raise InvalidInput("prompt_empty", "ask something: the prompt is empty", status=422)
    if len(prompt) > MAX_PROMPT_CHARS:
        raise PromptTooLong


def _exchanges(interactions: list[Interaction]) -> tuple[Exchange, ...]:
    return tuple(
        said for each in interactions for said in (Exchange("user", each.prompt), Exchange("assistant", each.response))
    )
