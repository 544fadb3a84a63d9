"""Client of the agents core, the model server that generates agents' replies.

The core has the city's own ``invoke`` endpoint (docs/how-to/connect-an-agents-core.md) or OpenAI's chat completions. One
call yields the reply as a stream of text chunks, whether the core streams or not. If the core is slow, breaks off, or sends
invalid or endless data, the caller gets a CoreError with a readable message, and no call hangs. A request is never
retried: the core may have acted on it already.

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
from ..errors import CircuitOpen, CoreBusy, CoreError, CoreFailed, CoreNotConfigured, CoreTimeout
from .breaker import Breakers
from .dialects import InvalidResponse, dialect_of
from .metrics import CallOutcome, CallTimer, CoreMetrics
from .reasoning_filter import Thinking
from .request import AgentRequest, RequestKind
from .response_stream import ResponseParser

_CONNECT_S: Final = 10.0
_SLOT_TIMEOUT_S: Final = 2.0
_MAX_FAILURES: Final = 5
_OPEN_MS: Final = 30_000
_CORE_FAULT_STATUSES: Final = {401, 403, 407, 408, 429}
"""Statuses from 400 to 499 that other requests would get too."""

_OK_STATUSES: Final = {200, 201}
"""Includes 201, which frameworks return that treat each POST as the creation of a resource."""
_TRAILING_DATA_S: Final = 3.0
"""How long a stream is read after the model has finished: some servers send the finish reason before the last chunk, or
do not end the stream. In seconds.
"""
_EXCERPT_TIMEOUT_S: Final = 1.0
_EXCERPT_BYTES: Final = 300

log = structlog.get_logger()


class AgentsCore:
    """Sends requests to the agents core, with limits, deadlines and circuit breakers."""

    def __init__(self, settings: AgentsCoreSettings, now_ms: NowMs, metrics: CoreMetrics) -> None:
        self._url = settings.url
        self._timeout_s = settings.timeout_s
        self._first_chunk_timeout_s = settings.first_chunk_timeout_s or settings.timeout_s
        self._dialect = dialect_of(settings)
        self._thinking = settings.thinking
        self._with_prompted_reasoning: set[str] = set()
        """Ids of agents whose prompt contains the start tag of the reasoning, so that replies contain only its end tag."""
        self._metrics = metrics
        self._breakers = Breakers(now_ms, failures=_MAX_FAILURES, pause_ms=_OPEN_MS)
        metrics.watch_breaker(lambda: self._breakers.is_open)
        self._slots = ConcurrencyLimit(
            total=settings.parallel, per_client=settings.parallel_per_agent, timeout_s=_SLOT_TIMEOUT_S
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
            | _auth_header(settings.token_header, token),
        )

    async def close(self) -> None:
        await self._session.close()

    @property
    def is_configured(self) -> bool:
        """Return whether an agents core is configured."""
        return bool(self._url)

    def is_ready(self, agent_id: str) -> bool:
        """Return whether a core is configured and the agent's circuit is closed."""
        return self.is_configured and self._breakers.wait_ms(agent_id) == 0

    def check_ready(self, agent_id: str, kind: RequestKind) -> None:
        """Check that a request of this kind can be sent.

        Raises:
            CoreNotConfigured: no agents core is configured.
            CircuitOpen: the agent's circuit breaker is open.
        """
        if not self._url:
            raise CoreNotConfigured
        if self._breakers.wait_ms(agent_id):
            raise self._circuit_open(agent_id, kind)

    @asynccontextmanager
    async def generate(self, request: AgentRequest) -> AsyncIterator[AsyncIterator[str]]:
        """Send a request and yield an iterator over the text chunks of the reply. Leaving the block ends the call.

        The reply is complete when the iterator ends.

        Raises:
            CoreNotConfigured, CoreBusy, CircuitOpen: before the first chunk.
            CoreFailed, CoreTimeout: before or between the chunks.
        """
        async with AsyncExitStack() as stack:
            await self._admit(request, stack)
            timer = stack.enter_context(self._metrics.call(request.kind))
            yield await stack.enter_async_context(aclosing(self._chunks(request, timer)))

    async def _admit(self, request: AgentRequest, stack: AsyncExitStack) -> None:
        self.check_ready(request.agent_id, request.kind)
        try:
            await stack.enter_async_context(self._slots.acquired(request.agent_id))
        except LimitReached as error:
            self._metrics.count(request.kind, CallOutcome.BUSY)
            raise CoreBusy(retry_after_s=_SLOT_TIMEOUT_S) from error
        if not self._breakers.admit(request.agent_id):
            raise self._circuit_open(request.agent_id, request.kind)

    def _circuit_open(self, agent_id: str, kind: RequestKind) -> CircuitOpen:
        self._metrics.count(kind, CallOutcome.CIRCUIT_OPEN)
        return CircuitOpen(retry_after_s=self._breakers.wait_ms(agent_id) / 1000)

    async def _chunks(self, request: AgentRequest, timer: CallTimer) -> AsyncGenerator[str, None]:
        try:
            async with aclosing(self._post(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (CoreTimeout, InvalidResponse, aiohttp.ClientError, OSError) as error:
            core_error = _core_error(error)
            timer.end(CallOutcome.TIMEOUT if isinstance(core_error, CoreTimeout) else CallOutcome.FAILED)
            self._record_failure(request, core_error, error)
            raise core_error from error
        timer.end(CallOutcome.SUCCEEDED)
        self._record_success(request)

    async def _post(self, request: AgentRequest) -> AsyncGenerator[str, None]:
        url = URL(self._dialect.url(self._url, request), encoded=True)
        body = orjson.dumps(self._dialect.body(request))
        deadlines = _Deadlines(self._first_chunk_timeout_s, self._timeout_s)
        async with deadlines.applied():
            response = await self._session.post(url, data=body, allow_redirects=False)
        with closing(response):
            await _check_headers(response)
            parser = ResponseParser(self._dialect, response.content_type, self._thinking_mode(request.agent_id))
            while not parser.is_complete:
                data = await _read_data(response, parser, deadlines)
                for text in parser.feed(data) if data else parser.end():
                    with deadlines.paused():
                        yield text
            if parser.has_unopened_end_tag:
                self._note_prompted_reasoning(request.agent_id)

    def _thinking_mode(self, agent_id: str) -> Thinking:
        return "hide_until_end_tag" if agent_id in self._with_prompted_reasoning else self._thinking

    def _note_prompted_reasoning(self, agent_id: str) -> None:
        """Treat the agent's next replies as ``hide_until_end_tag``: reasoning was shown before its end tag arrived."""
        if self._thinking != "hide" or agent_id in self._with_prompted_reasoning:
            return
        self._with_prompted_reasoning.add(agent_id)
        log.warning(
            "core_reasoning_unopened",
            agent=agent_id,
            help="switch the model server's reasoning parser on, or set agents_core.thinking to hide_until_end_tag",
        )

    def _record_failure(self, request: AgentRequest, core_error: CoreError, error: Exception) -> None:
        excerpt = error.excerpt if isinstance(error, InvalidResponse) else str(error)
        log.warning("core_failed", agent=request.agent_id, error=core_error.detail, seen=excerpt)
        if isinstance(core_error, CoreFailed) and not core_error.is_core_fault:
            self._record_success(request)
            return
        if isinstance(error, aiohttp.ClientConnectorError | _Unreachable):
            agent, has_opened = "all", self._breakers.record_unreachable()
        else:
            self._breakers.record_reachable()
            agent, has_opened = request.agent_id, self._breakers.record_failure(request.agent_id)
        if has_opened:
            log.warning(
                "core_circuit_open",
                agent=agent,
                failures=_MAX_FAILURES,
                help="one request every 30 seconds tries it again",
            )

    def _record_success(self, request: AgentRequest) -> None:
        if self._breakers.record_success(request.agent_id):
            log.info("core_circuit_closed", agent=request.agent_id)


class _Unreachable(CoreTimeout):
    """The core did not accept the connection in time."""


class _Deadlines:
    """Deadlines for the first chunk and the whole reply. Time that the reader of the chunks takes does not count."""

    def __init__(self, first_s: float, total_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        self._first_s = first_s
        self._total_s = total_s
        self._first_deadline_s = now_s + min(first_s, total_s)
        self._total_deadline_s = now_s + total_s
        self._has_first_chunk = False

    @asynccontextmanager
    async def applied(self) -> AsyncIterator[None]:
        """Apply the current deadline to the block. Raise CoreTimeout when it passes."""
        try:
            async with asyncio.timeout_at(self._total_deadline_s if self._has_first_chunk else self._first_deadline_s):
                yield
        except aiohttp.ConnectionTimeoutError as error:
            raise _Unreachable(f"the agents core cannot be reached within {_CONNECT_S:g} seconds") from error
        except TimeoutError as error:
            raise CoreTimeout(self._timeout_detail()) from error

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Extend the deadline by the time that the block takes."""
        self._has_first_chunk = True
        loop = asyncio.get_running_loop()
        paused_at_s = loop.time()
        yield
        self._total_deadline_s += loop.time() - paused_at_s

    def _timeout_detail(self) -> str:
        if self._has_first_chunk:
            return f"the agents core did not complete its response within {self._total_s:g} seconds"
        return f"the agents core did not respond within {min(self._first_s, self._total_s):g} seconds"


async def _read_data(response: aiohttp.ClientResponse, parser: ResponseParser, deadlines: _Deadlines) -> bytes:
    """Return the next bytes of the body, empty at its end. Raise CoreTimeout or an error of aiohttp."""
    if not parser.may_end:
        async with deadlines.applied():
            return await response.content.readany()
    # The model has finished: it no longer matters whether the stream ends correctly.
    try:
        async with asyncio.timeout(_TRAILING_DATA_S), deadlines.applied():
            return await response.content.readany()
    except (TimeoutError, CoreTimeout, aiohttp.ClientError, OSError):
        return b""


def _auth_header(header: str, token: str) -> dict[str, str]:
    """Return the header that authenticates the service at the core."""
    if not token:
        return {}
    return {header: f"Bearer {token}" if header.lower() == "authorization" else token}


async def _check_headers(response: aiohttp.ClientResponse) -> None:
    """Raise InvalidResponse unless status and encoding are usable."""
    if response.status not in _OK_STATUSES:
        is_core_fault = not 400 <= response.status < 500 or response.status in _CORE_FAULT_STATUSES
        excerpt = response.headers.get("Location") or await _body_excerpt(response)
        raise InvalidResponse(f"responded with status {response.status}", excerpt=excerpt, is_core_fault=is_core_fault)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise InvalidResponse("sent a compressed response, which the request did not accept")


async def _body_excerpt(response: aiohttp.ClientResponse) -> str:
    """Return the first bytes of the body for the log."""
    try:
        async with asyncio.timeout(_EXCERPT_TIMEOUT_S):
            return repr(await response.content.read(_EXCERPT_BYTES))
    except (aiohttp.ClientError, OSError):
        return ""


def _core_error(error: Exception) -> CoreError:
    match error:
        case CoreTimeout():
            return error
        case InvalidResponse():
            return CoreFailed(f"the agents core {error.problem}", is_core_fault=error.is_core_fault)
        case aiohttp.ClientConnectorError():
            return CoreFailed("the agents core cannot be reached")
        case aiohttp.ClientResponseError():
            return CoreFailed("the agents core sent a response that is not HTTP")
    return CoreFailed("the agents core ended its response before it was complete")
