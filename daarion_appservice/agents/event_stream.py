"""Incremental parser of server-sent events (WHATWG HTML, "Server-sent events").

The fields ``data`` and ``event: error`` are read. llama.cpp before September 2025 sends errors in a field ``error:
{…}`` (ggml-org/llama.cpp pull 16109), which counts as an event of that name.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_ERROR: Final = "error"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class ServerEvent(NamedTuple):
    """One event: its ``data``, and whether its name is ``error``."""

    data: str
    is_error: bool = False


class EventTooLong(Exception):
    """The lines of one event exceed the maximum size."""


class EventStream:
    """Decode a byte stream, in chunks of any size, to events. Bytes that are not UTF-8 become U+FFFD.

    Args:
        max_event_bytes: maximum size of the data lines of one event plus any other line.
    """

    def __init__(self, *, max_event_bytes: int = 1 << 20) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []
        """Parts of the current line."""
        self._line_size = 0
        self._data: list[str] = []
        """The data lines of the current event."""
        self._event_size = 0
        """Size in bytes of the complete data lines of the current event."""
        self._is_error = False
        self._is_first_line = True
        self._ended_with_cr = False

    @property
    def pending(self) -> int:
        """Number of bytes that wait for the end of their event."""
        return self._line_size + self._event_size

    def feed(self, data: bytes) -> Iterator[ServerEvent]:
        """Yield the events that are complete now. Raise EventTooLong if one exceeds the limit."""
        if data and self._ended_with_cr:
            # Two chunks split a CR LF pair.
            data = data.removeprefix(b"\n")
            self._ended_with_cr = False
        *ended, rest = _LINE_END.split(data)
        if ended:
            ended[0] = b"".join((*self._line, ended[0]))
            self._line, self._line_size = [], 0
            self._ended_with_cr = data.endswith(b"\r")
        for line in ended:
            event = self._end_line(line)
            if event is not None:
                yield event
        if rest:
            self._line.append(rest)
            self._line_size += len(rest)
            self._check_size(self._line_size)

    def end(self) -> Iterator[ServerEvent]:
        """Yield the last event if only the empty line after it is missing: many servers omit it."""
        yield from self.feed(b"\n")
        yield from self.feed(b"\n")

    def _end_line(self, line: bytes) -> ServerEvent | None:
        """Return the event that ends with this line, if there is one."""
        if self._is_first_line:
            line = line.removeprefix(codecs.BOM_UTF8)
            self._is_first_line = False
        if line:
            self._check_size(len(line))
            self._field(line)
            return None
        data, self._data, self._event_size = self._data, [], 0
        is_error, self._is_error = self._is_error, False
        return ServerEvent("\n".join(data), is_error) if data else None

    def _field(self, line: bytes) -> None:
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if name in {"data", _ERROR}:
            self._data.append(value)
            self._event_size += len(line)
        self._is_error |= name == _ERROR or (name == "event" and value.strip() == _ERROR)

    def _check_size(self, line_size: int) -> None:
        if self._event_size + line_size > self._max_event_bytes:
            raise EventTooLong
