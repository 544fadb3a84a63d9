"""Server-sent events, read as they come (WHATWG HTML, "Server-sent events").

Of the fields ``data`` is read, and ``event`` as far as it says ``error``. llama.cpp before September 2025 sends errors in a field
of its own, ``error: {…}`` (ggml-org/llama.cpp pull 16109), which is read as an event of that name.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_ERROR: Final = "error"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class ServerEvent(NamedTuple):
    """One event: its ``data``, and whether its name says that it is an error."""

    data: str
    is_error: bool = False


class EventTooLong(Exception):
    """The lines of one event have more bytes than an event may have."""


class EventStream:
    """Decode bytes, in whatever portions they come, to events. Bytes that are not UTF-8 become U+FFFD.

    Args:
        max_event_bytes: of the lines of data of one event and any other line together.
    """

    def __init__(self, *, max_event_bytes: int = 1 << 20) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []
        """What there is of the line that has not ended yet."""
        self._line_size = 0
        self._data: list[str] = []
        """The lines of the event that has not ended yet."""
        self._event_size = 0
        """Bytes of the lines of data that have ended, of the event that has not."""
        self._is_error = False
        self._is_first_line = True
        self._ended_with_cr = False

    @property
    def pending(self) -> int:
        """How many bytes wait for the end of their event."""
        return self._line_size + self._event_size

    def feed(self, portion: bytes) -> Iterator[ServerEvent]:
        """The events that are whole now. Raises EventTooLong."""
        if portion and self._ended_with_cr:
            # What looked like a line's end was the first half of one.
            portion = portion.removeprefix(b"\n")
            self._ended_with_cr = False
        *ended, rest = _LINE_END.split(portion)
        if ended:
            ended[0] = b"".join((*self._line, ended[0]))
            self._line, self._line_size = [], 0
            self._ended_with_cr = portion.endswith(b"\r")
        for line in ended:
            event = self._end_line(line)
            if event is not None:
                yield event
        if rest:
            self._line.append(rest)
            self._line_size += len(rest)
            self._check_size(self._line_size)

    def end(self) -> Iterator[ServerEvent]:
        """The last event, if it lacks nothing but the empty line behind it: many servers forget that one."""
        yield from self.feed(b"\n")
        yield from self.feed(b"\n")

    def _end_line(self, line: bytes) -> ServerEvent | None:
        """The event that ends with this line, if one does."""
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
