"""Removes the reasoning that a model writes into its reply, between ``<think>`` and ``</think>`` or in another form.

A server with a reasoning parser sends it in a separate field (``reasoning_content``), which is never read. Without one
the text contains it: in tags (``reasoning_tags``), or in the channels of gpt-oss (``harmony``).
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from .harmony import BareHarmonyFilter, HarmonyFilter, begins_bare_harmony, begins_harmony
from .reasoning_tags import Tag, TagKind, next_tag, tags, unfinished_from

Thinking = Literal["hide", "hide_until_end_tag", "show"]

_TICK: Final = "`"


class _Filter(Protocol):
    def feed(self, text: str) -> str: ...

    def end(self) -> str: ...


class ReasoningFilter:
    """Removes the reasoning from a streamed reply. The total result does not depend on how the stream is split.

    Args:
        begins_inside: whether the reply begins within a block whose start tag is part of the prompt; without an end
            tag, the whole reply is text.
    """

    def __init__(self, *, begins_inside: bool = False) -> None:
        self._tags = TagFilter(begins_inside=begins_inside)
        self._start = ""
        """The beginning of the reply, until its format is known."""
        self._filter: _Filter | None = None

    @property
    def has_unopened_end_tag(self) -> bool:
        """Whether the first tag of the reply is an end tag, so that the prompt contains the start tag."""
        return self._tags.has_unopened_end_tag

    def feed(self, text: str) -> str:
        if self._filter is not None:
            return self._filter.feed(text)
        self._start += text
        self._filter = self._chosen()
        return self._take_start() if self._filter is not None else ""

    def feed_whole(self, text: str) -> str:
        """Feed a complete reply, in which an end tag without a start tag can be detected in advance."""
        if _ends_what_prompt_opened(text):
            self._tags = TagFilter(begins_inside=True)
        return self.feed(text)

    def end(self) -> str:
        """Return the held-back text at the end of the reply."""
        if self._filter is None:
            self._filter = self._tags
        return self._take_start() + self._filter.end()

    def _chosen(self) -> _Filter | None:
        """Return the filter for the format; None if more of the reply is needed."""
        is_harmony, is_bare = begins_harmony(self._start), begins_bare_harmony(self._start)
        if is_harmony:
            return HarmonyFilter()
        if is_bare:
            return BareHarmonyFilter()
        return self._tags if is_harmony is is_bare is False else None

    def _take_start(self) -> str:
        start, self._start = self._start, ""
        return self._filter.feed(start) if self._filter is not None else ""


class TagFilter:
    """Removes tagged reasoning. Text is returned as soon as it cannot be part of a tag.

    Tags in code (beside a backtick, or in a fenced block) are text. An unclosed block of reasoning is removed at the
    beginning of the reply and is text elsewhere: the reply may mention the tag. Blocks may be nested; if an inner block
    is not closed (the reasoning mentions the tag), the text after the last end tag is the reply. An end tag outside of
    all blocks is text: the text before it may have been returned already.
    """

    def __init__(self, *, begins_inside: bool = False) -> None:
        self._rest = ""
        """Text that may be the beginning of a tag."""
        self._before = ""
        """The character before ``_rest``."""
        self._in_fence = False
        self._has_text = False
        """Whether text other than white space was returned."""
        self._block: _Block | None = _Block("", is_prompted=True) if begins_inside else None
        self._has_tag = False
        self.has_unopened_end_tag = False

    def feed(self, text: str) -> str:
        self._rest += text
        return self._read(is_end=False)

    def end(self) -> str:
        """Return the held-back text at the end of the reply."""
        shown = self._read(is_end=True)
        if self._block is not None:
            shown += self._block.text_at_end(is_first=not self._has_text)
            self._block = None
        return shown

    def _read(self, *, is_end: bool) -> str:
        shown: list[str] = []
        at = 0
        # Positions instead of slices: a megabyte of tags would be copied once for each tag.
        while (tag := next_tag(self._rest, at)) is not None:
            after = self._rest[tag.end : tag.end + 1]
            if tag.kind is TagKind.END and not after and not is_end:
                # The next character decides whether the tag is in code.
                self._text(self._rest[at : tag.begin], shown)
                self._rest = self._rest[tag.begin :]
                return "".join(shown)
            self._text(self._rest[at : tag.begin], shown)
            self._tag(tag, self._rest[tag.begin : tag.end], after, shown)
            at = tag.end
        end = len(self._rest) if is_end else unfinished_from(self._rest, at)
        self._text(self._rest[at:end], shown)
        self._rest = self._rest[end:]
        return "".join(shown)

    def _tag(self, tag: Tag, written: str, after: str, shown: list[str]) -> None:
        before, self._before = self._before, written[-1]
        if self._block is not None:
            # An end tag may follow code; only one between two backticks is code itself.
            is_code = before == _TICK and (tag.kind is not TagKind.END or after == _TICK)
            self._tag_in_block(self._block, tag, written, is_code=is_code)
            return
        if tag.kind is TagKind.FENCE:
            self._in_fence = not self._in_fence
            self._text(written, shown)
        elif self._in_fence or _is_mentioned(tag, before, after):
            self._text(written, shown)
        else:
            self._tag_in_text(tag, written, shown)

    def _tag_in_block(self, block: _Block, tag: Tag, written: str, *, is_code: bool) -> None:
        if is_code:
            block.hold(written)
        elif block.tag(tag, written):
            self._block = None
            self._note(tag)

    def _tag_in_text(self, tag: Tag, written: str, shown: list[str]) -> None:
        self._note(tag)
        if tag.kind is TagKind.START:
            self._block = _Block(tag.name, written)
        elif tag.kind is TagKind.END:
            self._text(written, shown)

    def _note(self, tag: Tag) -> None:
        self.has_unopened_end_tag |= tag.kind is TagKind.END and not self._has_tag
        self._has_tag = True

    def _text(self, text: str, shown: list[str]) -> None:
        if not text:
            return
        self._before = text[-1]
        if self._block is not None:
            self._block.hold(text)
            return
        shown.append(text)
        self._has_text = self._has_text or not text.isspace()


class _Block:
    """A block of reasoning whose end has not arrived.

    Args:
        name: name of the start tag; empty if the prompt contains the start tag, which may have any name.
    """

    def __init__(self, name: str, opened: str = "", *, is_prompted: bool = False) -> None:
        self._name = name
        self._held = [opened]
        self._is_prompted = is_prompted
        self._is_blank = True
        self._depth = 1
        self._answer_from: int | None = None
        """Index in ``_held`` of the text after the last end tag."""

    def hold(self, text: str) -> None:
        self._held.append(text)
        self._is_blank = self._is_blank and text.isspace()

    def tag(self, tag: Tag, written: str) -> bool:
        """Process a tag; return whether it ends the block."""
        is_of_block = tag.name == self._name or (self._is_prompted and tag.kind is not TagKind.FENCE)
        if is_of_block and tag.kind is TagKind.START and not (self._is_prompted and self._is_blank):
            # A start tag in both the prompt and the reply opens one block.
            self._depth += 1
        elif is_of_block and tag.kind is TagKind.END:
            self._depth -= 1
        self.hold(written)
        if is_of_block and tag.kind is TagKind.END:
            self._answer_from = len(self._held)
        return self._depth == 0

    def text_at_end(self, *, is_first: bool) -> str:
        """Return the text in the block if the reply ends within it."""
        if self._answer_from is not None:
            return "".join(self._held[self._answer_from :])
        return "" if is_first and not self._is_prompted else "".join(self._held)


def _ends_what_prompt_opened(text: str) -> bool:
    """Return whether the first tag outside of code is an end tag."""
    in_fence = False
    for tag in tags(text):
        if tag.kind is TagKind.FENCE:
            in_fence = not in_fence
        elif not in_fence and not _is_mentioned(tag, text[tag.begin - 1 : tag.begin], text[tag.end : tag.end + 1]):
            return tag.kind is TagKind.END
    return False


def _is_mentioned(tag: Tag, before: str, after: str) -> bool:
    """Return whether the text only mentions a tag: in code, or an end tag between spaces."""
    if tag.kind is TagKind.END:
        return _TICK in {before, after} or before == after == " "
    return before == _TICK
