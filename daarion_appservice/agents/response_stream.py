"""Parses the core's response into text chunks, and checks it for every known kind of error.

bytes ─► response_body: JSON or events ─► dialects: ResponseChunk ─► response_text ─► text of the reply
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .dialects import FAILED_FINISH_REASONS, UNKNOWN, Dialect, InvalidResponse, ResponseChunk
from .reasoning_filter import Thinking
from .response_body import ResponseBody
from .response_text import ResponseText


class ResponseParser:
    """Parser of one response. Call ``feed`` for each data, then ``end``; both yield the new text.

    Args:
        content_type: media type of the Content-Type header; the first byte of the body takes precedence.
        thinking: whether reasoning that the model writes into its reply is part of the text.

    Raises:
        InvalidResponse: from ``feed`` and ``end``, if the response is unusable.
    """

    def __init__(self, dialect: Dialect, content_type: str, thinking: Thinking = "hide") -> None:
        self._body = ResponseBody(dialect, content_type)
        self._text = ResponseText(thinking)
        self._ends_with_done = dialect.ends_with_done
        self._last_known = UNKNOWN
        self._finish_reason = ""
        self._has_unknown = False
        self._choice: int | None = None
        """The choice that is read: the first that had text. Other choices are ignored."""
        self.is_complete = False
        """Whether the response is complete, so that no more bytes are needed."""

    @property
    def may_end(self) -> bool:
        """Whether the core sent a finish reason, so that nothing is lost if the body ends here."""
        return bool(self._finish_reason)

    @property
    def has_unopened_end_tag(self) -> bool:
        """Whether the reply began with reasoning that had an end tag but no start tag."""
        return self._text.has_unopened_end_tag

    def feed(self, data: bytes) -> Iterator[str]:
        return self._text_of(self._body.feed(data))

    def end(self) -> Iterator[str]:
        """Yield the remaining text at the end of the body."""
        yield from self._text_of(self._body.end())
        if self.is_complete:
            return
        if self.may_end or (self._text.has_begun and not self._ends_with_done):
            yield from self.close()
        elif self._has_unknown and not self._last_known.is_known:
            raise InvalidResponse("sent JSON in an unknown format")
        else:
            raise InvalidResponse("ended its response before it was complete")

    def close(self) -> Iterator[str]:
        """Yield the remaining text and mark the response as complete."""
        if rest := self._text.end():
            yield rest
        if not self._text.has_begun:
            problem = self._last_known.empty_problem if self._last_known.is_known else ""
            raise InvalidResponse(problem or "sent an empty reply", is_core_fault=False)
        self.is_complete = True

    def _text_of(self, chunks: Iterable[ResponseChunk]) -> Iterator[str]:
        for chunk in chunks:
            if self.is_complete:
                return
            if chunk.finish_reason in FAILED_FINISH_REASONS:
                raise InvalidResponse("reported an error", excerpt=repr(chunk.finish_reason))
            if chunk.is_last or not chunk.is_known or self._is_of_choice(chunk):
                yield from self._text_of_chunk(chunk)

    def _is_of_choice(self, chunk: ResponseChunk) -> bool:
        if self._choice is None and chunk.text:
            self._choice = chunk.choice
        return self._choice in {None, chunk.choice}

    def _text_of_chunk(self, chunk: ResponseChunk) -> Iterator[str]:
        self._check_chunk(chunk)
        has_input = self._text.has_input
        text = "" if chunk.is_repeated and has_input else chunk.text
        if text := self._text.add(text, is_complete=not has_input and (chunk.is_last or chunk.is_repeated)):
            yield text
        if chunk.is_last:
            yield from self.close()

    def _check_chunk(self, chunk: ResponseChunk) -> None:
        if chunk.invalid_json and not self.may_end:
            raise InvalidResponse("sent data that is not JSON", excerpt=chunk.invalid_json)
        if not chunk.is_known:
            self._has_unknown = True
            return
        if chunk.finish_reason:
            self._finish_reason = chunk.finish_reason
        if chunk.finish_reason or not self._last_known.is_known:
            self._last_known = chunk
