"""HTML and Markdown of messages, parsed in a thread before the database transaction that needs the result.

The longest texts take 0.1 s to parse. Within a transaction that would block all other writers, and on the event loop
all tasks. So callers parse before they open the transaction, in a single thread: hostile texts occupy one processor at
most. The results are cached in a context variable for the duration of the block:

    async with parsed_ahead([partial(read, message) for message in messages]):
        async with database.transaction() as tx:
            ...  # read(message) again: html_of, names_in and prose_of return the cached results
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final, TypeVar

from . import excerpts, html_sanitizing, markdown

_T = TypeVar("_T")

MAX_INLINE_CHARS: Final = 2_000
"""Texts up to this many characters take at most 5 ms to parse, and are parsed on the event loop where they come one at
a time.
"""

_THREAD: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="markup")
_results: ContextVar[dict[tuple[Callable[[str], Any], str], Any] | None] = ContextVar("prepared", default=None)
"""The results by parser and text; None outside of a `parsed_ahead` block."""


def html_of(html: str) -> str | None:
    """Return `html_sanitizing.sanitize_html`, from the cache of a `parsed_ahead` block if there is one."""
    return _result(html_sanitizing.sanitize_html, html)


def text_in(html: str) -> str:
    """Return `excerpts.text_of_html`, from the cache of a `parsed_ahead` block if there is one."""
    return _result(excerpts.text_of_html, html)


def names_in(body: str) -> list[str]:
    """Return `markdown.mention_names`, from the cache of a `parsed_ahead` block if there is one."""
    return _result(markdown.mention_names, body)


def prose_of(body: str) -> tuple[str, ...]:
    """Return `markdown.prose` as a tuple, from the cache of a `parsed_ahead` block if there is one."""
    return _result(_prose, body)


async def in_thread(call: Callable[[], _T]) -> _T:
    """Run ``call`` in the parser thread, with a copy of this task's context, so that it fills the cache of the block."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, copy_context().run, call)


@asynccontextmanager
async def parsed_ahead(calls: Iterable[Callable[[], object]], *, is_short: bool = False) -> AsyncIterator[None]:
    """Run ``calls`` in the parser thread, one after another, and cache what they parse until the block ends.

    With ``is_short`` they run on the event loop: all texts together have at most `MAX_INLINE_CHARS` characters, and the way
    to the thread and back would take longer.

    Exceptions of ``calls`` are suppressed: the same call raises again where its result is needed, and fails that
    message alone.
    """
    token = _results.set({})
    try:
        for call in calls:
            with suppress(Exception):
                if is_short:
                    call()
                else:
                    await in_thread(call)
        yield
    finally:
        _results.reset(token)


def prose_ahead(*bodies: str) -> list[Callable[[], object]]:
    """Return the calls that `parsed_ahead` makes for long messages: they parse the text in which `AgentMentions` searches."""
    return [partial(prose_of, body) for body in bodies if "@" in body and len(body) > MAX_INLINE_CHARS]


def _prose(body: str) -> tuple[str, ...]:
    return tuple(markdown.prose(body))


def _result(parse: Callable[[str], _T], text: str) -> _T:
    results = _results.get()
    if results is None:
        return parse(text)
    key = (parse, text)
    if key not in results:
        results[key] = parse(text)
    found: _T = results[key]
    return found
