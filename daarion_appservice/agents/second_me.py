"""Second Me: an agent that replies to each citizen from that citizen's own earlier interactions only.

    ask ─► the citizen's turn ─► earlier interactions ─► agents core ─► chunks ─► complete: stored, old ones deleted

The turn is a row in the database, so that all processes together work on one request of a citizen at a time. A turn is
extended as long as the reply takes, and expires when its process has died.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from ..city.ports import NewId, NowMs
from ..city.second_me import MAX_CONTEXT, MAX_INTERACTIONS, Interaction
from ..city.types import SubjectId
from ..errors import Conflict, DatabaseError, InvalidInput
from ..storage.database import Database
from .core import AgentsCore
from .request import AgentRequest, Exchange, RequestKind

MAX_PROMPT_CHARS: Final = 8_000

_TURN_LIFETIME_MS: Final = 15_000
"""Lifetime of a turn in ms: the longest wait of a citizen after the process was killed."""
_EXTEND_INTERVAL_S: Final = 5.0


class AnotherRequestRunning(Conflict):
    """Another request of the same citizen is running."""

    def __init__(self) -> None:
        super().__init__("secondme_busy", "another request of yours is still running; try again when it has ended")


class PromptTooLong(InvalidInput):
    """The prompt exceeds ``MAX_PROMPT_CHARS``."""

    def __init__(self) -> None:
        detail = f"a prompt may have {MAX_PROMPT_CHARS} characters at most"
        super().__init__("prompt_too_long", detail, status=422)


class SecondMe:
    """Sends requests of citizens to the agents core and stores the interactions.

    Args:
        agent_id: id of Second Me in the agents core.
    """

    def __init__(self, core: AgentsCore, database: Database, now_ms: NowMs, new_id: NewId, *, agent_id: str) -> None:
        self._core = core
        self._database = database
        self._now_ms = now_ms
        self._new_id = new_id
        self._agent_id = agent_id

    @property
    def is_available(self) -> bool:
        """Whether a request can be sent now."""
        return self._core.is_ready(self._agent_id)

    @property
    def is_configured(self) -> bool:
        """Whether an agents core is configured, even if no request can be sent at the moment."""
        return self._core.is_configured

    @asynccontextmanager
    async def invoke(
        self, subject: SubjectId, prompt: str, *, interaction: str | None = None, request: AgentRequest | None = None
    ) -> AsyncIterator[SecondMeReply]:
        """Yield the reply as a stream of chunks.

        Leaving the block before the end cancels the call, and nothing is stored.

        Args:
            interaction: the id under which the interaction is stored.
            request: request with the quotation and files of the message.

        Raises:
            InvalidInput: the prompt is empty or too long.
            AnotherRequestRunning: another request of the subject is running.
            CoreError: before or between the chunks.
        """
        _check(prompt)
        self._core.check_ready(self._agent_id, RequestKind.SECONDME)
        async with self._turn(subject, interaction or self._new_id()) as turn:
            requested_at_ms = self._now_ms()
            history = _exchanges(await self._last(subject, MAX_CONTEXT))
            agent_request = AgentRequest(
                self._agent_id,
                prompt,
                RequestKind.SECONDME,
                subject,
                history=history,
                reply_to=request.reply_to if request else None,
                attachments=request.attachments if request else (),
            )
            async with self._core.generate(agent_request) as chunks:
                yield SecondMeReply(chunks, turn, prompt, requested_at_ms)

    async def find_interaction(self, interaction: str) -> Interaction | None:
        """Return the interaction that was stored under this id; None if there is none."""
        async with self._database.read_only() as tx:
            return await tx.interactions.get(interaction)

    async def history(self, subject: SubjectId) -> list[Interaction]:
        """Return the last interactions, oldest first."""
        return await self._last(subject, MAX_INTERACTIONS)

    async def forget(self, subject: SubjectId) -> None:
        """Delete all interactions of a subject; a reply that is being generated is stored when it is complete."""
        async with self._database.transaction() as tx:
            await tx.interactions.delete_all(subject)

    async def _last(self, subject: SubjectId, count: int) -> list[Interaction]:
        async with self._database.read_only() as tx:
            return await tx.interactions.last(subject, count)

    @asynccontextmanager
    async def _turn(self, subject: SubjectId, interaction: str) -> AsyncIterator[_Turn]:
        turn = _Turn(self._database, self._now_ms, interaction, subject)
        try:
            await turn.take()
            is_over = asyncio.Event()
            extending = asyncio.create_task(turn.extend(is_over))
            try:
                yield turn
            finally:
                # Not cancelled: a cancelled transaction costs its connection.
                is_over.set()
                await asyncio.gather(extending, return_exceptions=True)
        finally:
            await turn.end()


class SecondMeReply(AsyncIterator[str]):
    """The chunks of a reply, to be iterated once. At the end the reply is stored as ``interaction``."""

    def __init__(self, chunks: AsyncIterator[str], turn: _Turn, prompt: str, requested_at_ms: int) -> None:
        self._chunks = chunks
        self._turn = turn
        self._prompt = prompt
        self._requested_at_ms = requested_at_ms
        self._requested_s = asyncio.get_running_loop().time()
        self._text: list[str] = []
        self._stored: Interaction | None = None

    @property
    def interaction(self) -> Interaction:
        assert self._stored is not None, "the reply is not complete"
        return self._stored

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            if self._stored is None:
                await self._store()
            raise
        self._text.append(chunk)
        return chunk

    async def _store(self) -> None:
        duration_s = asyncio.get_running_loop().time() - self._requested_s
        interaction = Interaction(
            self._turn.id,
            self._turn.subject,
            self._prompt,
            "".join(self._text),
            latency_ms=round(duration_s * 1000),
            created_at_ms=self._requested_at_ms,
        )
        await self._turn.store(interaction)
        self._stored = interaction


class _Turn:
    """The lease by which one request of a citizen runs at a time."""

    def __init__(self, database: Database, now_ms: NowMs, turn_id: str, subject: SubjectId) -> None:
        self._database = database
        self._now_ms = now_ms
        self._has_ended = False
        self.id = turn_id
        self.subject = subject

    async def take(self) -> None:
        now_ms = self._now_ms()
        async with self._database.transaction() as tx:
            if not await tx.interactions.take_turn(
                self.subject, self.id, now_ms=now_ms, until_ms=now_ms + _TURN_LIFETIME_MS
            ):
                self._has_ended = True
                raise AnotherRequestRunning

    async def extend(self, is_over: asyncio.Event) -> None:
        while not await _ends_within(is_over.wait(), _EXTEND_INTERVAL_S):
            # An unavailable database is retried; a turn that was lost meanwhile is noticed when the reply is stored.
            with suppress(DatabaseError):
                async with self._database.transaction() as tx:
                    await tx.interactions.extend_turn(
                        self.subject, self.id, until_ms=self._now_ms() + _TURN_LIFETIME_MS
                    )

    async def store(self, interaction: Interaction) -> None:
        """Store the interaction and end the turn.

        Raises:
            Conflict: the turn was lost, so a later interaction may have been stored.
        """
        async with self._database.transaction() as tx:
            if not await tx.interactions.end_turn(self.subject, self.id):
                raise AnotherRequestRunning
            await tx.interactions.add(interaction)
        self._has_ended = True

    async def end(self) -> None:
        if self._has_ended:
            return
        # If the database is unavailable, the turn expires.
        with suppress(DatabaseError):
            async with self._database.transaction() as tx:
                await tx.interactions.end_turn(self.subject, self.id)


async def _ends_within(work: Coroutine[Any, Any, object], seconds: float) -> bool:
    """Return whether ``work`` ends within the time."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True


def _check(prompt: str) -> None:
    if not prompt.strip():
        raise InvalidInput("prompt_empty", "the prompt is empty; send a text", status=422)
    if len(prompt) > MAX_PROMPT_CHARS:
        raise PromptTooLong


def _exchanges(interactions: list[Interaction]) -> tuple[Exchange, ...]:
    return tuple(
        exchange
        for each in interactions
        for exchange in (Exchange("user", each.prompt), Exchange("assistant", each.response))
    )
