"""Tags around the reasoning in replies of models: ``<think>…</think>`` and its variants.

DeepSeek, Qwen and GLM write ``<think>``, Claude ``<thinking>``, EXAONE ``<thought>``, Mistral ``[THINK]``, Gemma 4
``<|channel>thought`` and ``<channel|>``, Command A ``<|START_THINKING|>``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, NamedTuple

_NAMES: Final = ("think", "thinking", "thought", "reasoning", "seed:think")
"""Names of tags in HTML syntax, which may have attributes."""
_OTHERS: Final = {
    "[think]": "[/think]",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|channel>thought": "<channel|>",
    "◁think▷": "◁/think▷",
}
_FENCE: Final = "```"
_MAX_ATTRIBUTES: Final = 200
"""Maximum number of characters. Longer text is not a tag; this bounds how long text is held back."""

# With ASCII: otherwise `ſ` matches `s` and `ı` matches `i`, and the matched tag is not among the names.
_FLAGS: Final = re.IGNORECASE | re.ASCII
# Without the first characters of the other tags and of a fence: otherwise, of a text like ``<think [think]>``, the inner
# tag would be found first if the stream is split after it.
_ATTRIBUTES: Final = rf"[ \t][^<>\n\[◁`]{{0,{_MAX_ATTRIBUTES}}}"
_TAG: Final = re.compile(
    "|".join(
        (
            f"(?P<fence>{_FENCE})",
            rf"<(?P<slash>/?)(?P<name>{'|'.join(_NAMES)})(?:{_ATTRIBUTES}|/)?>",
            f"(?P<start>{'|'.join(map(re.escape, _OTHERS))})",
            f"(?P<end>{'|'.join(map(re.escape, _OTHERS.values()))})",
        )
    ),
    _FLAGS,
)
_STARTS_OF: Final = {end: start for start, end in _OTHERS.items()}
_LITERALS: Final = (
    *(f"<{slash}{name}>" for name in _NAMES for slash in ("", "/")),
    *(f"<{name}/>" for name in _NAMES),
    *_OTHERS,
    *_STARTS_OF,
)
_LONGEST: Final = max(map(len, _LITERALS)) + _MAX_ATTRIBUTES + 1
_UNFINISHED: Final = re.compile(rf"</?(?:{'|'.join(_NAMES)}){_ATTRIBUTES}\Z", _FLAGS)


class TagKind(Enum):
    """Kinds of tags."""

    FENCE = "fence"
    START = "start"
    END = "end"
    EMPTY = "empty"
    """``<think/>``, an empty block."""


class Tag(NamedTuple):
    """A tag and its position in the text."""

    kind: TagKind
    name: str
    """The name of the element, which a start tag and its end tag have in common."""
    begin: int
    end: int


def next_tag(text: str, at: int) -> Tag | None:
    """Return the first tag or code fence at or after ``at``."""
    found = _TAG.search(text, at)
    if found is None:
        return None
    begin, end = found.span()
    if found["fence"]:
        return Tag(TagKind.FENCE, _FENCE, begin, end)
    if found["name"]:
        kind = TagKind.END if found["slash"] else TagKind.EMPTY if found[0].endswith("/>") else TagKind.START
        return Tag(kind, found["name"].lower(), begin, end)
    if found["start"]:
        return Tag(TagKind.START, found["start"].lower(), begin, end)
    return Tag(TagKind.END, _STARTS_OF[found["end"].lower()], begin, end)


def tags(text: str) -> Iterator[Tag]:
    at = 0
    while (tag := next_tag(text, at)) is not None:
        yield tag
        at = tag.end


def unfinished_from(text: str, at: int) -> int:
    """Return the index after ``at`` from which the text, which contains no tag, may be the beginning of one."""
    ticks = text[max(at, len(text) - len(_FENCE) + 1) :]
    return min(
        last_from(text, at, "<", lambda rest: _is_first_part(rest) or _UNFINISHED.match(rest) is not None),
        last_from(text, at, "[", _is_first_part),
        last_from(text, at, "◁", _is_first_part),
        len(text) - (len(ticks) - len(ticks.rstrip("`"))),
    )


def last_from(text: str, at: int, sign: str, may_go_on: Callable[[str], bool]) -> int:
    """Return the index of the last ``sign`` after ``at`` if a tag may begin there; else the end of the text."""
    found = text.rfind(sign, max(at, len(text) - _LONGEST))
    return found if found >= 0 and may_go_on(text[found:]) else len(text)


def _is_first_part(text: str) -> bool:
    return any(literal.startswith(text.lower()) for literal in _LITERALS)
