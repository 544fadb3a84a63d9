"""From the bytes of an answer to the pieces of its text, with an eye on everything that can be wrong with them."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from .dialects import Dialect, NotAnAnswer, Piece
from .event_stream import EventStream

MAX_ANSWER_CHARS: Final = 30_000
"""An answer becomes one message, and an event holds 65,536 bytes."""
MAX_JSON_BYTES: Final = 1024 * 1024
"""An answer in one, or one event of those that it comes in."""
MAX_STREAM_BYTES: Final = 8 * 1024 * 1024
"""OpenAI's events are a hundred times as long as the few letters that each brings."""

_DONE: Final = "[DONE]"
_MAX_SEEN: Final = 300


class Pieces:
    """One answer. ``feed`` it, then ``end``: both give what of the text is new. Raises NotAnAnswer."""

    def __init__(self, dialect: Dialect, content_type: str) -> None:
        self._reader = _reader(dialect, content_type)
        self._text = _Text()
        self.is_whole = False
        """Whether it needs no more bytes."""

    def feed(self, portion: bytes) -> Iterator[str]:
        return self._new(self._reader.feed(portion))

    def end(self) -> Iterator[str]:
        """There are no more bytes."""
        yield from self._new(self._reader.end())
        if not self.is_whole:
            raise NotAnAnswer("broke off in the middle of its answer")

    def _new(self, pieces: Iterable[Piece]) -> Iterator[str]:
        for piece in pieces:
            if self.is_whole:
                return
            if text := self._text.add(piece.text):
                yield text
            if piece.is_last:
                self._text.end()
                self.is_whole = True


class _Text:
    """What was said so far, of which nothing is kept but its length."""

    def __init__(self) -> None:
        self._length = 0
        # JavaScript cuts texts within what is one character to everybody else; this joins the halves.
        self._halves = codecs.getincrementaldecoder("utf-16-le")()

    def add(self, text: str) -> str:
        """The new part of it, without the spaces that it may begin with."""
        try:
            text = self._halves.decode(text.encode("utf-16-le", "surrogatepass")).replace("\0", "\ufffd")
        except UnicodeDecodeError as error:
            raise NotAnAnswer("answered with something that is no text") from error
        if self._length == 0:
            text = text.lstrip()
        self._length += len(text)
        if self._length > MAX_ANSWER_CHARS:
            raise NotAnAnswer(f"answered with more than {MAX_ANSWER_CHARS} characters", is_about_core=False)
        return text

    def end(self) -> None:
        if self._length == 0:
            raise NotAnAnswer("answered with nothing", is_about_core=False)


class _Whole:
    """An answer that comes in one, as JSON."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._body = bytearray()

    def feed(self, portion: bytes) -> Iterator[Piece]:
        self._body += portion
        _check_size(len(self._body), MAX_JSON_BYTES)
        return iter(())

    def end(self) -> Iterator[Piece]:
        try:
            body = self._body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise NotAnAnswer("answered with something that is not UTF-8") from error
        yield Piece(_read(self._dialect.whole, body), is_last=True)


class _Streamed:
    """An answer that comes in events."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._events = EventStream()
        self._size = 0

    def feed(self, portion: bytes) -> Iterator[Piece]:
        self._size += len(portion)
        _check_size(self._size, MAX_STREAM_BYTES)
        yield from self._pieces(self._events.feed(portion))
        _check_size(self._events.pending, MAX_JSON_BYTES)

    def end(self) -> Iterator[Piece]:
        return self._pieces(self._events.end())

    def _pieces(self, events: Iterator[str]) -> Iterator[Piece]:
        try:
            for event in events:
                if event.strip():
                    yield self._piece(event)
        except UnicodeDecodeError as error:
            raise NotAnAnswer("answered with something that is not UTF-8") from error

    def _piece(self, event: str) -> Piece:
        if event.strip() == _DONE:
            return Piece(is_last=True)
        return _read(self._dialect.piece, event)


_Reader = _Whole | _Streamed
_READERS: Final[dict[str, Callable[[Dialect], _Reader]]] = {
    "application/json": _Whole,
    "text/event-stream": _Streamed,
}


def _reader(dialect: Dialect, content_type: str) -> _Reader:
    if content_type not in _READERS:
        raise NotAnAnswer(f"answered {content_type}, which is neither JSON nor a stream of events")
    return _READERS[content_type](dialect)


T = TypeVar("T")


def _read(read: Callable[[Any], T], text: str) -> T:
    try:
        # Not orjson: it takes no halves of characters.
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotAnAnswer("answered with something that is not JSON", seen=_short(text)) from error
    if isinstance(content, dict) and content.get("error"):
        raise NotAnAnswer("said that it failed", seen=_short(content["error"]))
    try:
        return read(content)
    except (LookupError, TypeError, AttributeError) as error:
        raise NotAnAnswer("answered with JSON of another shape", seen=_short(text)) from error


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise NotAnAnswer(f"answered with more than {limit} bytes", is_about_core=False)


def _short(seen: object) -> str:
    return repr(seen)[:_MAX_SEEN]
