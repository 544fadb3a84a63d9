"""The reasoning that a model writes into its answer, between ``<think>`` and ``</think>`` or other tags of that kind.

A server with a reasoning parser sends it in a field of its own (``reasoning_content``), which is never read. Without one it
stands in the text: DeepSeek, Qwen and GLM write ``<think>``, Claude ``<thinking>``, EXAONE ``<thought>``, Mistral ``[THINK]``.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Thinking = Literal["hide", "hide_until_end_tag", "show"]

_ENDS: Final = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "◁think▷": "◁/think▷",
}
_FENCE: Final = "```"
_TOKENS: Final = (*_ENDS, *_ENDS.values(), _FENCE)
_LONGEST: Final = max(map(len, _TOKENS))
# With ASCII: otherwise `ſ` matches `s` and `ı` matches `i`, and the tag that was found is not among the keys of _ENDS.
_FLAGS: Final = re.IGNORECASE | re.ASCII
_PATTERNS: Final = {tag: re.compile(re.escape(tag), _FLAGS) for tag in _TOKENS}
_ANY_START: Final = re.compile("|".join(map(re.escape, (*_ENDS, _FENCE))), _FLAGS)
_ANY_END: Final = re.compile("|".join(map(re.escape, _ENDS.values())), _FLAGS)


class ThoughtFilter:
    """Takes the reasoning out of a text that comes in pieces. Each piece is returned as soon as it cannot be part of a tag.

    Tags in code (behind a backtick, or in a fenced block) are text. A block of reasoning that is not closed is left out where the
    answer begins with it, and is text elsewhere: the answer may speak of the tag. An end tag alone on its line, or before a line
    end, that nothing opened ends reasoning that the model's prompt began (vLLM and llama.cpp with DeepSeek's template): what
    came before it is left out while nothing of it was returned.

    Args:
        begins_inside: the answer begins within a block whose start tag is part of the prompt; without an end tag all of it
            is text.
    """

    def __init__(self, *, begins_inside: bool = False) -> None:
        self._rest = ""
        """What may be the beginning of a tag, or follows a tag that was opened."""
        self._inside: str | None = _ENDS["<think>"] if begins_inside else None
        """The end tag of the block that is open."""
        self._opened = ""
        """The start tag of that block; empty when the prompt holds it."""
        self._is_prompted = begins_inside
        self._held: list[str] = []
        """What that block holds so far."""
        self._in_fence = False
        self._last = ""
        """The last character that was returned, once anything but whitespace was."""

    def feed(self, text: str) -> str:
        self._rest += text
        shown: list[str] = []
        at = 0
        # Positions, not slices: a megabyte of tags would be copied once for each of them.
        while (after := self._step(at, shown)) is not None:
            at = after
        self._rest = self._rest[self._kept_from(at) :]
        return "".join(shown)

    def end(self) -> str:
        """There is no more; returns what was held back and is text."""
        if self._inside is None:
            shown = self._rest
        elif self._is_prompted or self._last:
            shown = "".join((self._opened, *self._held, self._rest))
        else:
            shown = ""
        self._rest, self._held, self._inside = "", [], None
        return shown

    def _step(self, at: int, shown: list[str]) -> int | None:
        """Consume up to the next tag behind ``at``; returns where to go on, None when more text is needed."""
        return self._skip(at) if self._inside is not None else self._take(at, shown)

    def _skip(self, at: int) -> int | None:
        """Look for the end of the block that is open."""
        found = (_ANY_END if self._is_prompted else _PATTERNS[self._inside or ""]).search(self._rest, at)
        if found is None:
            self._held.append(self._rest[at : self._kept_from(at)])
            return None
        self._inside, self._opened, self._held, self._is_prompted = None, "", [], False
        return found.end()

    def _take(self, at: int, shown: list[str]) -> int | None:
        """Return what stands before the next tag."""
        at = self._behind_prompted(at)
        found = (_PATTERNS[_FENCE] if self._in_fence else _ANY_START).search(self._rest, at)
        if found is None:
            self._show(self._rest[at : self._kept_from(at)], shown)
            return None
        self._show(self._rest[at : found.start()], shown)
        tag = found[0].lower()
        if tag == _FENCE:
            self._in_fence = not self._in_fence
        if tag == _FENCE or self._last == "`":
            self._show(found[0], shown)
        else:
            self._inside, self._opened = _ENDS[tag], found[0]
        return found.end()

    def _behind_prompted(self, at: int) -> int:
        """Where the text begins when reasoning ends in it that nothing in the answer opened."""
        if self._last or self._in_fence or (end := _ANY_END.search(self._rest, at)) is None:
            return at
        start = _ANY_START.search(self._rest, at, end.start())
        is_alone = (
            self._rest[end.start() - 1 : end.start()] in {"", "\n"} or self._rest[end.end() : end.end() + 1] == "\n"
        )
        return end.end() if is_alone and start is None else at

    def _kept_from(self, at: int) -> int:
        """From where on the text behind ``at`` may be the beginning of a tag."""
        longest = min(len(self._rest) - at, _LONGEST - 1)
        ending = self._rest[len(self._rest) - longest :].lower() if longest > 0 else ""
        sizes = (size for size in range(longest, 0, -1) if any(tag.startswith(ending[-size:]) for tag in _TOKENS))
        return len(self._rest) - next(sizes, 0)

    def _show(self, text: str, shown: list[str]) -> None:
        if text:
            shown.append(text)
            if self._last or text.strip():
                self._last = text[-1]
