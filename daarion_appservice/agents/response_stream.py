"""Parses the body of the core's response into text chunks, and checks it for every known kind of error."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final, Protocol

from .dialects import FAILED, UNKNOWN, Dialect, InvalidResponse, ResponseChunk
from .event_stream import EventStream, EventTooLong, ServerEvent
from .reasoning_filter import ReasoningFilter, Thinking

MAX_ANSWER_CHARS: Final = 30_000
"""Maximum length of a reply: it becomes one message, and a Matrix event holds 65,536 bytes."""
MAX_JSON_BYTES: Final = 1024 * 1024
"""Maximum size of a JSON response, and of one event of a stream."""
MAX_STREAM_BYTES: Final = 8 * 1024 * 1024
"""Maximum size of a stream: OpenAI's events are a hundred times as long as the few characters that each carries."""

_DONE: Final = "[done]"
_MAX_SEEN: Final = 300
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
_BEGINS_JSON: Final = b"{["
_BEGINS_EVENTS: Final = b":deir"
"""First characters of an SSE comment and of ``data``, ``event``, ``error``, ``id`` and ``retry``; no JSON value that
can be a response begins with one.
"""


class ResponseParser:
    """Parser of one response. Call ``feed`` for each portion, then ``end``; both yield the new text.

    Args:
        content_type: media type of the Content-Type header; the first byte of the body takes precedence.
        thinking: whether reasoning that the model writes into its reply is part of the text.

    Raises:
        InvalidResponse: from ``feed`` and ``end``, if the response is unusable.
    """

    def __init__(self, dialect: Dialect, content_type: str, thinking: Thinking = "hide") -> None:
        self._reader = _Reader(dialect, content_type)
        self._text = _Text(thinking)
        self._ends_with_done = dialect.ends_with_done
        self._last_known = UNKNOWN
        self._finish = ""
        self._has_unknown = False
        self._choice: int | None = None
        """The choice that is read: the first that had text. Other choices are ignored."""
        self.is_whole = False
        """Whether the response is complete, so that no more bytes are needed."""

    @property
    def may_end(self) -> bool:
        """Whether the core sent a finish reason, so that nothing is lost if the body ends here."""
        return bool(self._finish)

    @property
    def ended_unopened(self) -> bool:
        """Whether the reply began with reasoning that had an end tag but no start tag."""
        return self._text.ended_unopened

    def feed(self, portion: bytes) -> Iterator[str]:
        return self._new(self._reader.feed(portion))

    def end(self) -> Iterator[str]:
        """Yield the remaining text at the end of the body."""
        yield from self._new(self._reader.end())
        if self.is_whole:
            return
        if self.may_end or (self._text.has_begun and not self._ends_with_done):
            yield from self.close()
        elif self._has_unknown and not self._last_known.is_known:
            raise InvalidResponse("answered with JSON of another shape")
        else:
            raise InvalidResponse("broke off in the middle of its answer")

    def close(self) -> Iterator[str]:
        """Yield the remaining text and mark the response as complete."""
        if rest := self._text.end():
            yield rest
        if not self._text.has_begun:
            missing = self._last_known.missing if self._last_known.is_known else ""
            raise InvalidResponse(missing or "answered with nothing", is_about_core=False)
        self.is_whole = True

    def _new(self, pieces: Iterable[ResponseChunk]) -> Iterator[str]:
        for piece in pieces:
            if self.is_whole:
                return
            if piece.finish in FAILED:
                raise InvalidResponse("said that it failed", seen=repr(piece.finish))
            if piece.is_last or not piece.is_known or self._is_read(piece):
                yield from self._read(piece)

    def _is_read(self, piece: ResponseChunk) -> bool:
        if self._choice is None and piece.text:
            self._choice = piece.choice
        return self._choice in {None, piece.choice}

    def _read(self, piece: ResponseChunk) -> Iterator[str]:
        self._note(piece)
        has_come = self._text.has_come
        text = "" if piece.is_repeated and has_come else piece.text
        if text := self._text.add(text, is_whole=not has_come and (piece.is_last or piece.is_repeated)):
            yield text
        if piece.is_last:
            yield from self.close()

    def _note(self, piece: ResponseChunk) -> None:
        if piece.broken and not self.may_end:
            raise InvalidResponse("answered with something that is not JSON", seen=piece.broken)
        if not piece.is_known:
            self._has_unknown = True
            return
        if piece.finish:
            self._finish = piece.finish
        if piece.finish or not self._last_known.is_known:
            self._last_known = piece


class _Text:
    """Normalises the text of a reply; stores only its length."""

    def __init__(self, thinking: Thinking) -> None:
        self._length = 0
        self.has_come = False
        """Whether any text has arrived, reasoning included."""
        # JavaScript servers split strings within surrogate pairs; this decoder joins the halves.
        self._halves = codecs.getincrementaldecoder("utf-16-le")("replace")
        self._thoughts = ReasoningFilter(begins_inside=thinking == "hide_until_end_tag") if thinking != "show" else None

    @property
    def has_begun(self) -> bool:
        """Whether any visible text has arrived."""
        return self._length > 0

    @property
    def ended_unopened(self) -> bool:
        return self._thoughts is not None and self._thoughts.ended_unopened

    def add(self, text: str, *, is_whole: bool = False) -> str:
        """Return the visible part of ``text``, without leading white space at the start of the reply.

        Args:
            is_whole: whether ``text`` is the complete reply.
        """
        self.has_come |= bool(text)
        text = self._halves.decode(text.encode("utf-16-le", "surrogatepass"))
        if self._thoughts is None:
            return self._shown(text)
        return self._shown(self._thoughts.feed_whole(text) if is_whole else self._thoughts.feed(text))

    def end(self) -> str:
        """Return the text that was held back."""
        text = self._halves.decode(b"", True)
        return self._shown(self._thoughts.feed(text) + self._thoughts.end() if self._thoughts else text)

    def _shown(self, text: str) -> str:
        text = text.replace("\0", "\ufffd")
        if self._length == 0:
            text = text.lstrip()
        self._length += len(text)
        if self._length > MAX_ANSWER_CHARS:
            raise InvalidResponse(f"answered with more than {MAX_ANSWER_CHARS} characters", is_about_core=False)
        return text


class _Body(Protocol):
    def feed(self, portion: bytes) -> Iterator[ResponseChunk]: ...

    def end(self) -> Iterator[ResponseChunk]: ...


class _Reader:
    """Chooses the body parser by the first byte: servers label JSON as a stream, and streams as JSON or text."""

    def __init__(self, dialect: Dialect, content_type: str) -> None:
        self._dialect = dialect
        self._content_type = content_type
        self._start = bytearray()
        self._body: _Body | None = None

    def feed(self, portion: bytes) -> Iterator[ResponseChunk]:
        if self._body is not None:
            return self._body.feed(portion)
        self._start += portion
        # Only the blank beginning is limited here: a stream may be larger, also in one portion.
        begun = bytes(self._start).lstrip(_BLANK)
        _check_size(len(self._start) - len(begun), MAX_JSON_BYTES)
        first = begun[:1]
        if not first:
            return iter(())
        self._body = self._chosen(first)
        start, self._start = bytes(self._start), bytearray()
        return self._body.feed(start)

    def end(self) -> Iterator[ResponseChunk]:
        return (self._body or self._chosen(b"")).end()

    def _chosen(self, first: bytes) -> _Body:
        if first and first in _BEGINS_JSON:
            return _Json(self._dialect)
        if self._content_type == _EVENTS or (first and first in _BEGINS_EVENTS):
            return _Streamed(self._dialect)
        if self._content_type == _JSON:
            return _Json(self._dialect)
        raise InvalidResponse(f"answered {self._content_type}, which is neither JSON nor a stream of events")


class _Json:
    """A body that is one JSON document, or one JSON document per line (Ollama's own API)."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._body = bytearray()
        self._size = 0
        self._has_lines: bool | None = None
        """None until that is determined."""
        self._has_first_line = False

    def feed(self, portion: bytes) -> Iterator[ResponseChunk]:
        self._body += portion
        self._size += len(portion)
        if self._has_lines is None and (b"\n" in portion or self._has_first_line):
            self._look_for_lines()
        _check_size(self._size, MAX_STREAM_BYTES if self._has_lines else MAX_JSON_BYTES)
        if self._has_lines and b"\n" in portion:
            *lines, rest = self._body.split(b"\n")
            self._body = rest
            yield from self._pieces(lines)
        _check_size(len(self._body), MAX_JSON_BYTES)

    def end(self) -> Iterator[ResponseChunk]:
        if self._has_lines:
            yield from self._pieces([self._body])
            return
        text = self._body.decode("utf-8-sig", "replace")
        pieces = self._dialect.parse_response(_checked(_parsed(text), text))
        if not any(piece.is_known for piece in pieces):
            raise InvalidResponse("answered with JSON of another shape", seen=_short(text))
        # Of several choices, the first with text.
        piece = next((each for each in pieces if each.text), pieces[0])
        yield replace(piece, is_last=True, is_repeated=False)

    def _look_for_lines(self) -> None:
        first, end, rest = bytes(self._body).lstrip(_BLANK).partition(b"\n")
        self._has_first_line = bool(end)
        if rest.strip():
            try:
                self._has_lines = isinstance(json.loads(first), dict)
            except (ValueError, RecursionError):
                self._has_lines = False

    def _pieces(self, lines: list[bytearray]) -> Iterator[ResponseChunk]:
        for line in lines:
            yield from _pieces_of(self._dialect, line.decode("utf-8-sig", "replace"))


class _Streamed:
    """A body of server-sent events."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._events = EventStream(max_event_bytes=MAX_JSON_BYTES)
        self._size = 0

    def feed(self, portion: bytes) -> Iterator[ResponseChunk]:
        self._size += len(portion)
        _check_size(self._size, MAX_STREAM_BYTES)
        try:
            yield from self._pieces(self._events.feed(portion))
        except EventTooLong as error:
            raise _too_long(MAX_JSON_BYTES) from error

    def end(self) -> Iterator[ResponseChunk]:
        return self._pieces(self._events.end())

    def _pieces(self, events: Iterator[ServerEvent]) -> Iterator[ResponseChunk]:
        for event in events:
            if event.is_error:
                raise InvalidResponse("said that it failed", seen=_short(event.data))
            yield from _pieces_of(self._dialect, event.data)


def _pieces_of(dialect: Dialect, event: str) -> Iterator[ResponseChunk]:
    """Yield the chunks of one event; several if the empty lines between events are missing."""
    text = event.strip()
    if text.lower() == _DONE:
        yield ResponseChunk(is_last=True)
    elif not text.startswith("{"):
        # A keep-alive or another unknown line.
        yield UNKNOWN
    elif "\n" in text and not _is_json(text):
        for line in text.split("\n"):
            yield from _pieces_of(dialect, line)
    else:
        try:
            content = _parsed(text)
        except InvalidResponse as error:
            yield replace(UNKNOWN, broken=error.seen)
        else:
            yield from dialect.parse_chunk(_checked(content, text))


def _parsed(text: str) -> Any:
    try:
        # json accepts unpaired surrogates, orjson does not. Not strict: some servers leave line breaks unescaped in
        # strings.
        return json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise InvalidResponse("answered with something that is not JSON", seen=_short(text)) from error


def _is_json(text: str) -> bool:
    try:
        _parsed(text)
    except InvalidResponse:
        return False
    return True


def _checked(content: Any, text: str) -> Any:
    """Return the content. Raise InvalidResponse if it is an error object of the core."""
    if isinstance(content, dict):
        error = content.get("error") or content.get("error_message") or content.get("error_type")
        if error or content.get("object") == "error":
            raise InvalidResponse("said that it failed", seen=_short(text))
    return content


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise _too_long(limit)


def _too_long(limit: int) -> InvalidResponse:
    return InvalidResponse(f"answered with more than {limit} bytes", is_about_core=False)


def _short(seen: str) -> str:
    return repr(seen[:_MAX_SEEN])
