"""The visible text of a reply: without reasoning, with joined surrogates, of bounded length."""

from __future__ import annotations

import codecs
from typing import Final

from .dialects import InvalidResponse
from .reasoning_filter import ReasoningFilter, Thinking

MAX_REPLY_CHARS: Final = 30_000
"""Maximum length of a reply: it becomes one message, and a Matrix event holds 65,536 bytes."""


class ResponseText:
    """Normalises the text of a reply; stores only its length."""

    def __init__(self, thinking: Thinking) -> None:
        self._length = 0
        self.has_input = False
        """Whether any text has arrived, reasoning included."""
        # JavaScript servers split strings within surrogate pairs; this decoder joins the halves.
        self._surrogate_decoder = codecs.getincrementaldecoder("utf-16-le")("replace")
        self._reasoning_filter = (
            ReasoningFilter(begins_inside=thinking == "hide_until_end_tag") if thinking != "show" else None
        )

    @property
    def has_begun(self) -> bool:
        """Whether any visible text has arrived."""
        return self._length > 0

    @property
    def has_unopened_end_tag(self) -> bool:
        return self._reasoning_filter is not None and self._reasoning_filter.has_unopened_end_tag

    def add(self, text: str, *, is_complete: bool = False) -> str:
        """Return the visible part of ``text``, without leading white space at the start of the reply.

        Args:
            is_complete: whether ``text`` is the complete reply.
        """
        self.has_input |= bool(text)
        text = self._surrogate_decoder.decode(text.encode("utf-16-le", "surrogatepass"))
        if self._reasoning_filter is None:
            return self._visible(text)
        return self._visible(
            self._reasoning_filter.feed_whole(text) if is_complete else self._reasoning_filter.feed(text)
        )

    def end(self) -> str:
        """Return the text that was held back."""
        text = self._surrogate_decoder.decode(b"", True)
        return self._visible(
            self._reasoning_filter.feed(text) + self._reasoning_filter.end() if self._reasoning_filter else text
        )

    def _visible(self, text: str) -> str:
        text = text.replace("\0", "\ufffd")
        if self._length == 0:
            text = text.lstrip()
        self._length += len(text)
        if self._length > MAX_REPLY_CHARS:
            raise InvalidResponse(f"sent more than {MAX_REPLY_CHARS} characters", is_core_fault=False)
        return text
