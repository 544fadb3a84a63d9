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


class EventStream:
    """Decode bytes, in whatever portions they come, to events. Bytes that are not UTF-8 become U+FFFD."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        """What there is of the line that has not ended yet."""
        self._line_size = 0
        self._data: list[str] = []
        """The lines of the event that has not ended yet."""
        self._data_size = 0
        self._is_error = False
        self._is_first_line = True
        self._ended_with_cr = False

    @property
    def pending(self) -> int:
        """How much waits for the end of its event."""
        return self._line_size + self._data_size

    def feed(self, portion: bytes) -> Iterator[ServerEvent]:
        """The events that are whole now."""
        if portion and self._ended_with_cr:
            # What looked like a line's end was the first half of one.
            portion = portion.removeprefix(b"\n")
            self._ended_with_cr = False
        *ended, rest = _LINE_END.split(portion)
        if ended:
            ended[0] = b"".join((*self._line, ended[0]))
            self._line, self._line_size = [], 0
            self._ended_with_cr = portion.endswith(b"\r")
        if rest:
            self._line.append(rest)
            self._line_size += len(rest)
        for line in ended:
            event = self._end_line(line)
            if event is not None:
                yield event

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
            self._field(line.decode(errors="replace"))
            return None
        data, self._data, self._data_size = self._data, [], 0
        is_error, self._is_error = self._is_error, False
        return ServerEvent("\n".join(data), is_error) if data else None

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name in {"data", _ERROR}:
            self._data.append(value)
            self._data_size += len(value) + 1
        self._is_error |= name == _ERROR or (name == "event" and value.strip() == _ERROR)
