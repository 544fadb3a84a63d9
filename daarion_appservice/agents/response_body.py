"""Parses the body of the core's response, one JSON document, JSON lines or server-sent events, into chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Protocol

from .dialects import UNKNOWN, Dialect, InvalidResponse, ResponseChunk
from .event_stream import EventStream, EventTooLong, ServerEvent

MAX_JSON_BYTES: Final = 1024 * 1024
"""Maximum size of a JSON response, and of one event of a stream."""
MAX_STREAM_BYTES: Final = 8 * 1024 * 1024
"""Maximum size of a stream: OpenAI's events are a hundred times as long as the few characters that each carries."""

_DONE: Final = "[done]"
_MAX_EXCERPT_CHARS: Final = 300
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
_BEGINS_JSON: Final = b"{["
_BEGINS_EVENTS: Final = b":deir"
"""First characters of an SSE comment and of ``data``, ``event``, ``error``, ``id`` and ``retry``; no JSON value that
can be a response begins with one.
"""


class _BodyParser(Protocol):
    def feed(self, data: bytes) -> Iterator[ResponseChunk]: ...

    def end(self) -> Iterator[ResponseChunk]: ...


class ResponseBody:
    """Chooses the body parser by the first byte: servers label JSON as a stream, and streams as JSON or text."""

    def __init__(self, dialect: Dialect, content_type: str) -> None:
        self._dialect = dialect
        self._content_type = content_type
        self._beginning = bytearray()
        self._parser: _BodyParser | None = None

    def feed(self, data: bytes) -> Iterator[ResponseChunk]:
        if self._parser is not None:
            return self._parser.feed(data)
        self._beginning += data
        # Only the blank beginning is limited here: a stream may be larger, also if it arrives at once.
        rest = bytes(self._beginning).lstrip(_BLANK)
        _check_size(len(self._beginning) - len(rest), MAX_JSON_BYTES)
        first = rest[:1]
        if not first:
            return iter(())
        self._parser = self._choose_parser(first)
        start, self._beginning = bytes(self._beginning), bytearray()
        return self._parser.feed(start)

    def end(self) -> Iterator[ResponseChunk]:
        return (self._parser or self._choose_parser(b"")).end()

    def _choose_parser(self, first: bytes) -> _BodyParser:
        if first and first in _BEGINS_JSON:
            return _JsonBody(self._dialect)
        if self._content_type == _EVENTS or (first and first in _BEGINS_EVENTS):
            return _EventStreamBody(self._dialect)
        if self._content_type == _JSON:
            return _JsonBody(self._dialect)
        raise InvalidResponse(f"sent {self._content_type}, which is neither JSON nor a stream of events")


class _JsonBody:
    """A body that is one JSON document, or one JSON document per line (Ollama's own API)."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._body = bytearray()
        self._size = 0
        self._has_lines: bool | None = None
        """None until that is determined."""
        self._has_first_line = False

    def feed(self, data: bytes) -> Iterator[ResponseChunk]:
        self._body += data
        self._size += len(data)
        if self._has_lines is None and (b"\n" in data or self._has_first_line):
            self._detect_lines()
        _check_size(self._size, MAX_STREAM_BYTES if self._has_lines else MAX_JSON_BYTES)
        if self._has_lines and b"\n" in data:
            *lines, rest = self._body.split(b"\n")
            self._body = rest
            yield from self._chunks(lines)
        _check_size(len(self._body), MAX_JSON_BYTES)

    def end(self) -> Iterator[ResponseChunk]:
        if self._has_lines:
            yield from self._chunks([self._body])
            return
        text = self._body.decode("utf-8-sig", "replace")
        chunks = self._dialect.parse_response(_check_not_error(_parse_json(text), text))
        if not any(chunk.is_known for chunk in chunks):
            raise InvalidResponse("sent JSON in an unknown format", excerpt=_excerpt(text))
        # Of several choices, the first with text.
        chunk = next((each for each in chunks if each.text), chunks[0])
        yield replace(chunk, is_last=True, is_repeated=False)

    def _detect_lines(self) -> None:
        first, end, rest = bytes(self._body).lstrip(_BLANK).partition(b"\n")
        self._has_first_line = bool(end)
        if rest.strip():
            try:
                self._has_lines = isinstance(json.loads(first), dict)
            except (ValueError, RecursionError):
                self._has_lines = False

    def _chunks(self, lines: list[bytearray]) -> Iterator[ResponseChunk]:
        for line in lines:
            yield from _chunks_of(self._dialect, line.decode("utf-8-sig", "replace"))


class _EventStreamBody:
    """A body of server-sent events."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._events = EventStream(max_event_bytes=MAX_JSON_BYTES)
        self._size = 0

    def feed(self, data: bytes) -> Iterator[ResponseChunk]:
        self._size += len(data)
        _check_size(self._size, MAX_STREAM_BYTES)
        try:
            yield from self._chunks(self._events.feed(data))
        except EventTooLong as error:
            raise _too_long(MAX_JSON_BYTES) from error

    def end(self) -> Iterator[ResponseChunk]:
        return self._chunks(self._events.end())

    def _chunks(self, events: Iterator[ServerEvent]) -> Iterator[ResponseChunk]:
        for event in events:
            if event.is_error:
                raise InvalidResponse("reported an error", excerpt=_excerpt(event.data))
            yield from _chunks_of(self._dialect, event.data)


def _chunks_of(dialect: Dialect, event: str) -> Iterator[ResponseChunk]:
    """Yield the chunks of one event; several if the empty lines between events are missing."""
    text = event.strip()
    if text.lower() == _DONE:
        yield ResponseChunk(is_last=True)
    elif not text.startswith("{"):
        # A keep-alive or another unknown line.
        yield UNKNOWN
    elif "\n" in text and not _is_json(text):
        for line in text.split("\n"):
            yield from _chunks_of(dialect, line)
    else:
        try:
            content = _parse_json(text)
        except InvalidResponse as error:
            yield replace(UNKNOWN, invalid_json=error.excerpt)
        else:
            yield from dialect.parse_chunk(_check_not_error(content, text))


def _parse_json(text: str) -> Any:
    try:
        # json accepts unpaired surrogates, orjson does not. Not strict: some servers leave line breaks unescaped in
        # strings.
        return json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise InvalidResponse("sent data that is not JSON", excerpt=_excerpt(text)) from error


def _is_json(text: str) -> bool:
    try:
        _parse_json(text)
    except InvalidResponse:
        return False
    return True


def _check_not_error(content: Any, text: str) -> Any:
    """Return the content. Raise InvalidResponse if it is an error object of the core."""
    if isinstance(content, dict):
        error = content.get("error") or content.get("error_message") or content.get("error_type")
        if error or content.get("object") == "error":
            raise InvalidResponse("reported an error", excerpt=_excerpt(text))
    return content


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise _too_long(limit)


def _too_long(limit: int) -> InvalidResponse:
    return InvalidResponse(f"sent more than {limit} bytes", is_core_fault=False)


def _excerpt(text: str) -> str:
    return repr(text[:_MAX_EXCERPT_CHARS])
