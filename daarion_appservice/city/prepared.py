"""HTML and Markdown of messages, parsed in a thread before a database transaction needs the result.

The longest texts take 0.1 s to parse. In a transaction every other writer would wait for that, and on the event loop everybody.
So whoever is about to handle messages runs the parsing first, in a thread, of which there is one: nobody can have more
than one processor at work for them. The results are there for the block, and cost a look-up:

    async with prepared([partial(read, message) for message in messages]):
        async with database.transaction() as tx:
            ...  # read(message) again: html_of, names_in and prose_of answer at once
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final, TypeVar

from . import markup

_T = TypeVar("_T")

AT_ONCE_CHARS: Final = 2_000
"""Shorter texts take 5 ms at most: not worth a thread where one message comes by itself."""

_THREAD: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="markup")
_results: ContextVar[dict[tuple[Callable[[str], Any], str], Any] | None] = ContextVar("prepared", default=None)
"""By function and text; None outside of ``prepared``."""


def html_of(html: str) -> str | None:
    """``markup.sanitised``."""
    return _result(markup.sanitised, html)


def names_in(body: str) -> list[str]:
    """``markup.mention_names``."""
    return _result(markup.mention_names, body)


def prose_of(body: str) -> tuple[str, ...]:
    """``markup.prose``."""
    return _result(_prose, body)


async def in_thread(work: Callable[[], _T]) -> _T:
    """Run ``work`` in the thread, and what it parses for this block of ``prepared`` with it."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, copy_context().run, work)


@asynccontextmanager
async def prepared(works: Iterable[Callable[[], object]]) -> AsyncIterator[None]:
    """Run ``works`` in the thread, one by one, and keep what they parsed until the block ends.

    A work that raises is ignored here: it raises again where its result is needed, and fails that message alone.
    """
    token = _results.set({})
    try:
        for work in works:
            with suppress(Exception):
                await in_thread(work)
        yield
    finally:
        _results.reset(token)


def prose_ahead(*bodies: str) -> list[Callable[[], object]]:
    """For ``prepared``: what ``Addressing`` reads of these texts."""
    return [partial(prose_of, body) for body in bodies if "@" in body and len(body) > AT_ONCE_CHARS]


def _prose(body: str) -> tuple[str, ...]:
    return tuple(markup.prose(body))


def _result(parse: Callable[[str], _T], text: str) -> _T:
    results = _results.get()
    if results is None:
        return parse(text)
    key = (parse, text)
    if key not in results:
        results[key] = parse(text)
    found: _T = results[key]
    return found
