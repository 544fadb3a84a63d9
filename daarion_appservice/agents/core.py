"""Client of the agents core, the model server that generates agents' replies.

The core has the city's own ``invoke`` endpoint (contract §6) or OpenAI's chat completions. One call yields the reply as
a stream of text chunks, whether the core streams or not. If the core is slow, breaks off, or sends invalid or endless
data, the caller gets a CoreError with a readable message, and no call hangs. A request is never retried: the core may
have acted on it already.

    request ─► circuit open? ─► a slot of the service and of the agent ─► POST ─► ResponseParser ─► the caller
                                                                                        └─► outcome: metrics, breaker
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing, contextmanager
from typing import Final

import aiohttp
import orjson
import structlog
from yarl import URL

from .. import __version__
from ..city.ports import NowMs
from ..concurrency import ConcurrencyLimit, LimitReached
from ..config import AgentsCoreSettings
from ..errors import CircuitOpen, CoreBusy, CoreError, CoreFailed, CoreTimeout, CoreUnreachable
from .breaker import Breakers
from .dialects import InvalidResponse, dialect_of
from .metrics import CallWatch, CoreMetrics, Outcome
from .reasoning_filter import Thinking
from .request import AgentRequest, RequestKind
from .response_stream import ResponseParser

_CONNECT_S: Final = 10.0
_PATIENCE_S: Final = 2.0
_FAILURES: Final = 5
_PAUSE_MS: Final = 30_000
_ABOUT_CORE: Final = {401, 403, 407, 408, 429}
"""Statuses from 400 to 499 that other requests would get too."""

_OK: Final = {200, 201}
"""Includes 201, which frameworks return that treat each POST as the creation of a resource."""
_LINGER_S: Final = 3.0
"""How long a stream is read after the model has finished: some servers send the finish reason before the last chunk, or
do not end the stream. In seconds.
"""
_BEGINNING_S: Final = 1.0
_BEGINNING_BYTES: Final = 300

log = structlog.get_logger()


class AgentsCore:
    """Sends requests to the agents core, with limits, deadlines and circuit breakers."""

    def __init__(self, settings: AgentsCoreSettings, now_ms: NowMs, metrics: CoreMetrics) -> None:
        self._url = settings.url
        self._timeout_s = settings.timeout_s
        self._first_piece_timeout_s = settings.first_piece_timeout_s or settings.timeout_s
        self._dialect = dialect_of(settings)
        self._thinking = settings.thinking
        self._thinks_unopened: set[str] = set()
        """Ids of agents whose model's prompt opens the reasoning, so that their replies contain only its end tag."""
        self._metrics = metrics
        self._breakers = Breakers(now_ms, failures=_FAILURES, pause_ms=_PAUSE_MS)
        metrics.watch_breaker(lambda: self._breakers.is_open)
        self._slots = ConcurrencyLimit(
            total=settings.parallel, per_client=settings.parallel_per_agent, timeout_s=_PATIENCE_S
        )
        token = settings.token.get_secret_value()
        self._session = aiohttp.ClientSession(
            # ConcurrencyLimit counts already, so aiohttp's limit is off. A reused connection may be one that the core
            # is closing.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={
                "Accept": "text/event-stream, application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": f"daarion-appservice/{__version__}",
            }
            | _proof(settings.token_header, token),
        )

    async def close(self) -> None:
        await self._session.close()

    @property
    def is_reachable(self) -> bool:
        """Return whether an agents core is configured."""
        return bool(self._url)

    def is_ready(self, agent_id: str) -> bool:
        """Return whether a core is configured and the agent's circuit is closed."""
        return self.is_reachable and self._breakers.wait_ms(agent_id) == 0

    def check_ready(self, agent_id: str, kind: RequestKind) -> None:
        """Check that a request of this kind can be sent.

        Raises:
            CoreUnreachable: no agents core is configured.
            CircuitOpen: the agent's circuit breaker is open.
        """
        if not self._url:
            raise CoreUnreachable
        if self._breakers.wait_ms(agent_id):
            raise self._resting(agent_id, kind)

    @asynccontextmanager
    async def answer(self, question: AgentRequest) -> AsyncIterator[AsyncIterator[str]]:
        """Send a request and yield an iterator over the text chunks of the reply. Leaving the block ends the call.

        The reply is complete when the iterator ends.

        Raises:
            CoreUnreachable, CoreBusy, CircuitOpen: before the first chunk.
            CoreFailed, CoreTimeout: before or between the chunks.
        """
        async with AsyncExitStack() as stack:
            await self._admit(question, stack)
            monitor = stack.enter_context(self._metrics.call(question.kind))
            yield await stack.enter_async_context(aclosing(self._pieces(question, monitor)))

    async def _admit(self, question: AgentRequest, stack: AsyncExitStack) -> None:
        self.check_ready(question.agent_id, question.kind)
        try:
            await stack.enter_async_context(self._slots.acquired(question.agent_id))
        except LimitReached as error:
            self._metrics.count(question.kind, Outcome.BUSY)
            raise CoreBusy(retry_after_s=_PATIENCE_S) from error
        if not self._breakers.admit(question.agent_id):
            raise self._resting(question.agent_id, question.kind)

    def _resting(self, agent_id: str, kind: RequestKind) -> CircuitOpen:
        self._metrics.count(kind, Outcome.RESTING)
        return CircuitOpen(retry_after_s=self._breakers.wait_ms(agent_id) / 1000)

    async def _pieces(self, question: AgentRequest, monitor: CallWatch) -> AsyncGenerator[str, None]:
        try:
            async with aclosing(self._ask(question)) as pieces:
                async for piece in pieces:
                    yield piece
        except (CoreTimeout, InvalidResponse, aiohttp.ClientError, OSError) as error:
            told = _in_words(error)
            monitor.end(Outcome.SLOW if isinstance(told, CoreTimeout) else Outcome.FAILED)
            self._failed(question, told, error)
            raise told from error
        monitor.end(Outcome.ANSWERED)
        self._answers_again(question)

    async def _ask(self, question: AgentRequest) -> AsyncGenerator[str, None]:
        url = URL(self._dialect.url(self._url, question), encoded=True)
        body = orjson.dumps(self._dialect.body(question))
        deadlines = _Deadlines(self._first_piece_timeout_s, self._timeout_s)
        async with deadlines.kept():
            response = await self._session.post(url, data=body, allow_redirects=False)
        with closing(response):
            await _check_head(response)
            pieces = ResponseParser(self._dialect, response.content_type, self._thinking_of(question.agent_id))
            while not pieces.is_whole:
                portion = await _next_portion(response, pieces, deadlines)
                for text in pieces.feed(portion) if portion else pieces.end():
                    with deadlines.paused():
                        yield text
            if pieces.ended_unopened:
                self._learn_thinking(question.agent_id)

    def _thinking_of(self, agent_id: str) -> Thinking:
        return "hide_until_end_tag" if agent_id in self._thinks_unopened else self._thinking

    def _learn_thinking(self, agent_id: str) -> None:
        """Treat the agent's next replies as ``hide_until_end_tag``: reasoning was shown before its end tag arrived."""
        if self._thinking != "hide" or agent_id in self._thinks_unopened:
            return
        self._thinks_unopened.add(agent_id)
        log.warning(
            "core_reasoning_unopened",
            agent=agent_id,
            help="switch the model server's reasoning parser on, or set agents_core.thinking to hide_until_end_tag",
        )

    def _failed(self, question: AgentRequest, told: CoreError, error: Exception) -> None:
        seen = error.seen if isinstance(error, InvalidResponse) else str(error)
        log.warning("core_failed", agent=question.agent_id, error=told.detail, seen=seen)
        if isinstance(told, CoreFailed) and not told.is_about_core:
            self._answers_again(question)
            return
        if isinstance(error, aiohttp.ClientConnectorError | _Unreachable):
            who, has_opened = "all", self._breakers.unreachable()
        else:
            self._breakers.reached()
            who, has_opened = question.agent_id, self._breakers.failed(question.agent_id)
        if has_opened:
            log.warning("core_resting", agent=who, failures=_FAILURES, help="it is tried again every 30 seconds")

    def _answers_again(self, question: AgentRequest) -> None:
        if self._breakers.succeeded(question.agent_id):
            log.info("core_back", agent=question.agent_id)


class _Unreachable(CoreTimeout):
    """The core did not accept the connection in time."""


class _Deadlines:
    """Deadlines for the first chunk and the whole reply. Time that the reader of the chunks takes does not count."""

    def __init__(self, first_s: float, whole_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        self._first_s = first_s
        self._whole_s = whole_s
        self._first_at = now_s + min(first_s, whole_s)
        self._whole_at = now_s + whole_s
        self._has_begun = False

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Apply the current deadline to the block. Raise CoreTimeout when it passes."""
        try:
            async with asyncio.timeout_at(self._whole_at if self._has_begun else self._first_at):
                yield
        except aiohttp.ConnectionTimeoutError as error:
            raise _Unreachable(f"the agents core cannot be reached within {_CONNECT_S:g} seconds") from error
        except TimeoutError as error:
            raise CoreTimeout(self._what()) from error

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Extend the deadline by the time that the block takes."""
        self._has_begun = True
        loop = asyncio.get_running_loop()
        from_s = loop.time()
        yield
        self._whole_at += loop.time() - from_s

    def _what(self) -> str:
        if self._has_begun:
            return f"the agents core did not end its answer within {self._whole_s:g} seconds"
        return f"the agents core did not answer within {min(self._first_s, self._whole_s):g} seconds"


async def _next_portion(response: aiohttp.ClientResponse, pieces: ResponseParser, deadlines: _Deadlines) -> bytes:
    """Return the next bytes of the body, empty at its end. Raise CoreTimeout or an error of aiohttp."""
    if not pieces.may_end:
        async with deadlines.kept():
            return await response.content.readany()
    # The model has finished: it no longer matters whether the stream ends correctly.
    try:
        async with asyncio.timeout(_LINGER_S), deadlines.kept():
            return await response.content.readany()
    except (TimeoutError, CoreTimeout, aiohttp.ClientError, OSError):
        return b""


def _proof(header: str, token: str) -> dict[str, str]:
    """Return the header that authenticates the service at the core."""
    if not token:
        return {}
    return {header: f"Bearer {token}" if header.lower() == "authorization" else token}


async def _check_head(response: aiohttp.ClientResponse) -> None:
    """Raise InvalidResponse unless status and encoding are usable."""
    if response.status not in _OK:
        is_about_core = not 400 <= response.status < 500 or response.status in _ABOUT_CORE
        seen = response.headers.get("Location") or await _beginning(response)
        raise InvalidResponse(f"answered {response.status}", seen=seen, is_about_core=is_about_core)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise InvalidResponse("answered in a compressed form, which it was not asked for")


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """Return the first bytes of the body for the log."""
    try:
        async with asyncio.timeout(_BEGINNING_S):
            return repr(await response.content.read(_BEGINNING_BYTES))
    except (aiohttp.ClientError, OSError):
        return ""


def _in_words(error: Exception) -> CoreError:
    match error:
        case CoreTimeout():
            return error
        case InvalidResponse():
            return CoreFailed(f"the agents core {error.what}", is_about_core=error.is_about_core)
        case aiohttp.ClientConnectorError():
            return CoreFailed("the agents core cannot be reached")
        case aiohttp.ClientResponseError():
            return CoreFailed("the agents core answered something that is not HTTP")
    return CoreFailed("the agents core broke off in the middle of its answer")
