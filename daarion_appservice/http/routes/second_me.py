"""The routes ``/secondme``: prompts to a citizen's Second Me, and the history of interactions."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import ClientConnectionError, web
from aiohttp_sse import EventSourceResponse, sse_response
from pydantic import Field

from ...agents.second_me import SecondMe
from ...city.excerpts import excerpt
from ...city.markdown_rendering import render_markdown
from ...city.second_me import Interaction
from ...city.timestamps import timestamp
from ...city.types import SubjectId
from ...json_encoding import encode_json
from .. import schemas
from ..auth.authenticator import CityAuthenticator
from ..auth.principals import Access, check, own_subject
from ..disconnects import cancel_on_disconnect
from ..error_responses import problem_response
from ..routing import (
    Body,
    Call,
    EndpointDescription,
    NoBody,
    NoContent,
    Query,
    described,
    endpoint,
    json_response,
    read_body,
)

_HISTORY: Final = "/secondme/history"
_EVENTS: Final = "text/event-stream"
_COMMENT_S: Final = 15.0
_SHUTDOWN_S: Final = 3.0
"""How long the shutdown waits for responses in progress."""

_USER_ID: Final = "The citizen id, which must be `sub` of the token; default: that one."
_MAX_EXCERPT_CHARS: Final = 160


class Prompt(Body):
    """A prompt for Second Me."""

    prompt: str = Field(
        description="The prompt, 1 to 8,000 characters.",
        examples=["Порадь ідею для міського району"],
    )
    user_id: str | None = Field(None, max_length=255, description=_USER_ID, examples=["u_123"])


class HistoryQuery(Query):
    user_id: str | None = Field(None, max_length=255, description=_USER_ID, examples=["u_123"])


@dataclass(frozen=True, slots=True)
class SecondMeRoutes:
    second_me: SecondMe

    @endpoint(
        "GET",
        _HISTORY,
        access=Access.CITIZENS_ONLY,
        query=HistoryQuery,
        summary="List the interactions with Second Me",
        response=list[schemas.Interaction],
        errors=("user_id_mismatch",),
    )
    async def get_secondme_history(self, call: Call[NoBody, HistoryQuery]) -> list[schemas.Interaction]:
        """Returns the last 5 interactions, oldest first; older ones are not stored."""
        history = await self.second_me.history(own_subject(call.principal, call.query.user_id))
        return [_view(interaction) for interaction in history]

    @endpoint(
        "DELETE",
        _HISTORY,
        access=Access.CITIZENS_ONLY,
        query=HistoryQuery,
        status=204,
        summary="Clear the interactions with Second Me",
        response=NoContent,
        errors=("user_id_mismatch",),
    )
    async def clear_secondme_history(self, call: Call[NoBody, HistoryQuery]) -> None:
        """A response in progress is stored when it is complete.

        On Matrix the message `!forget` (or `forget`, `forget everything`, `забудь`, `!забудь`, `забудь усе`) in a direct chat
        with `@agent_second_me` does the same, also for people without a linked account; a notice confirms it.
        """
        await self.second_me.forget(own_subject(call.principal, call.query.user_id))


class SecondMeInvoke:
    """The route ``POST /secondme/invoke``: the response as JSON or as server-sent events."""

    def __init__(self, second_me: SecondMe, authenticator: CityAuthenticator) -> None:
        self._second_me = second_me
        self._authenticator = authenticator
        self._in_progress: set[asyncio.Task[Any]] = set()

    def install(self, app: web.Application) -> None:
        app.router.add_post("/secondme/invoke", self._invoke_secondme)
        app.on_shutdown.append(self._cancel_all)

    @described(
        EndpointDescription(
            Access.CITIZENS_ONLY,
            body=Prompt,
            summary="Send a prompt to Second Me",
            response=schemas.Interaction,
            errors=(
                "user_id_mismatch",
                "secondme_busy",
                "prompt_empty",
                "prompt_too_long",
                "core_failed",
                "core_timeout",
                "core_busy",
                "core_circuit_open",
                "no_core",
            ),
        )
    )
    async def _invoke_secondme(self, request: web.Request) -> web.StreamResponse:
        """The agents core receives the prompt with the citizen id and the previous interactions, five prompts in total. One
        prompt of a citizen is processed at a time, in all processes together. Disconnecting cancels it, and only a complete
        response is stored.

        With `Accept: text/event-stream` the response is streamed as server-sent events: `delta` with `{"text": "…"}` for each
        chunk, then `done` with the interaction, or `error` with a problem. Errors that occur before the core is asked have their
        usual status. A comment is sent every 15 seconds.
        """
        principal = await self._authenticator.principal(request)
        check(Access.CITIZENS_ONLY, principal, anonymous_read=False)
        body = await read_body(request, Prompt)
        subject = own_subject(principal, body.user_id)
        respond = self._stream_response if _EVENTS in request.headers.get("Accept", "") else self._json_response
        return await cancel_on_disconnect(request, self._tracked(respond(request, subject, body.prompt)))

    async def _tracked(self, response: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._in_progress.add(task)
        try:
            return await response
        finally:
            self._in_progress.discard(task)

    async def _cancel_all(self, _app: web.Application) -> None:
        """Cancel responses in progress while the database is open to release their locks; aiohttp does not wait for them."""
        if not self._in_progress:
            return
        _, pending = await asyncio.wait(self._in_progress, timeout=_SHUTDOWN_S)
        for each in pending:
            each.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _json_response(self, _request: web.Request, subject: SubjectId, prompt: str) -> web.StreamResponse:
        async with self._second_me.invoke(subject, prompt) as response:
            async for _ in response:
                pass
        return json_response(_view(response.interaction))

    async def _stream_response(self, request: web.Request, subject: SubjectId, prompt: str) -> web.StreamResponse:
        chunks: _Chunks = asyncio.Queue()
        asking = asyncio.create_task(self._ask(subject, prompt, chunks))
        asking.add_done_callback(lambda _: chunks.put_nowait(None))
        try:
            if await chunks.get() is None:
                await asking  # raises the error that prevented the first event
            async with sse_response(request, allow_all_methods=True, ping_interval=_COMMENT_S) as response:
                with suppress(_ClientDisconnected):
                    await _send_events(request, asking, chunks, response)
            return response
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self, subject: SubjectId, prompt: str, chunks: _Chunks) -> Interaction:
        """Read the response into a queue, so that a slow client does not occupy a slot of the agents core."""
        async with self._second_me.invoke(subject, prompt) as response:
            chunks.put_nowait("")
            async for chunk in response:
                chunks.put_nowait(chunk)
        return response.interaction


_Chunks = asyncio.Queue[str | None]
"""The chunks to send: an empty one at the start, then each chunk of the response, None at the end. Responses are bounded."""


class _ClientDisconnected(Exception):
    """The client has disconnected."""


async def _send_events(
    request: web.Request, asking: asyncio.Task[Interaction], chunks: _Chunks, response: EventSourceResponse
) -> None:
    try:
        while (chunk := await chunks.get()) is not None:
            await _send(response, "delta", {"text": chunk + _queued(chunks)})
        await _send(response, "done", _view(await asking))
    except _ClientDisconnected:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost edge of a request: each error becomes an event
        await _send(response, "error", orjson.loads(problem_response(request, error).text or "{}"))


def _queued(chunks: _Chunks) -> str:
    """Return all queued chunks together, for a client that is slower than the agents core."""
    texts = []
    while not chunks.empty():
        chunk = chunks.get_nowait()
        if chunk is None:
            chunks.put_nowait(None)
            break
        texts.append(chunk)
    return "".join(texts)


async def _send(response: EventSourceResponse, event: str, content: object) -> None:
    try:
        await response.send(encode_json(content).decode(), event=event)
    except (ConnectionError, ClientConnectionError, TimeoutError) as error:
        raise _ClientDisconnected from error


def _view(interaction: Interaction) -> schemas.Interaction:
    return {
        "id": interaction.id,
        "user_id": interaction.user_id,
        "prompt": interaction.prompt,
        "prompt_excerpt": excerpt(interaction.prompt, render_markdown(interaction.prompt), _MAX_EXCERPT_CHARS),
        "response": interaction.response,
        "latency_ms": interaction.latency_ms,
        "created_at": timestamp(interaction.created_at_ms),
    }
