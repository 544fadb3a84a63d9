"""The harmony format of gpt-oss, as servers without a parser for it send it.

    <|channel|>analysis<|message|>reasoning<|end|><|start|>assistant<|channel|>final<|message|>the answer<|return|>

``commentary`` is the channel of tool calls. Servers that omit the special tokens send
``analysisReasoning…assistantfinalThe answer``, and some omit only ``<|message|>``. Sources:
cookbook.openai.com/articles/openai-harmony, ggml-org/llama.cpp pull 15181, ikawrakow/ik_llama.cpp discussion 869,
ml-explore/mlx-lm pull 1867, NVIDIA/TensorRT-LLM issue 9256.
"""

from __future__ import annotations

import re
from typing import Final

from .reasoning_tags import last_from

_TOKEN: Final = re.compile(r"<\|(start|channel|message|constrain|end|return|call)\|>")
_TOKENS: Final = tuple(f"<|{name}|>" for name in ("start", "channel", "message", "constrain", "end", "return", "call"))
_STARTS: Final = ("<|channel|>", "<|start|>")
_FINAL: Final = "final"
_MAX_HEADER: Final = 200
"""Characters between ``<|channel|>`` and ``<|message|>``: the name of the channel, and of a function in a tool call."""
_BARE_START: Final = "analysis"
_BARE_END: Final = "assistantfinal"


def begins_harmony(answer: str) -> bool | None:
    """Return whether a reply with this beginning is in harmony format; None if more of it is needed."""
    answer = answer.lstrip()
    if answer.startswith(_STARTS):
        return True
    return None if any(start.startswith(answer) for start in _STARTS) else False


def begins_bare_harmony(answer: str) -> bool | None:
    """Return the same for the format without special tokens.

    Prose does not begin with a lower-case word that is joined to a capitalised one.
    """
    answer = answer.lstrip()
    if not answer.startswith(_BARE_START):
        return None if _BARE_START.startswith(answer) else False
    following = answer[len(_BARE_START) : len(_BARE_START) + 1]
    return following.isupper() if following else None


class HarmonyFilter:
    """Removes all channels but ``final`` from a streamed reply."""

    def __init__(self) -> None:
        self._rest = ""
        """Text that may be the beginning of a token."""
        self._header: str | None = None
        """The header so far; None outside of a header."""
        self._is_shown = True
        self._in_role = False
        """Whether the text follows ``<|start|>``, where the author's role is."""

    def feed(self, text: str) -> str:
        self._rest += text
        shown: list[str] = []
        at = 0
        while (found := _TOKEN.search(self._rest, at)) is not None:
            shown.append(self._text(self._rest[at : found.start()]))
            self._token(found[1], shown)
            at = found.end()
        end = last_from(self._rest, at, "<", lambda rest: any(token.startswith(rest) for token in _TOKENS))
        shown.append(self._text(self._rest[at:end]))
        self._rest = self._rest[end:]
        return "".join(shown)

    def end(self) -> str:
        """Return the held-back text at the end of the reply."""
        shown = [self._text(self._rest)]
        self._end_header(shown)
        self._rest = ""
        return "".join(shown)

    def _token(self, name: str, shown: list[str]) -> None:
        in_role, self._in_role = self._in_role, name == "start"
        match name:
            case "channel":
                self._end_header(shown)
                self._header, self._is_shown = "", False
            case "start":
                self._end_header(shown)
                self._is_shown = False
            case "message" if self._header is not None:
                self._is_shown = _is_final(self._header)
                self._header = None
            case "message" if in_role:
                # A role without a channel.
                self._is_shown = True
            case "end" | "return" | "call":
                self._end_header(shown)
                self._is_shown = True

    def _text(self, text: str) -> str:
        if self._header is None:
            return text if self._is_shown else ""
        self._header = (self._header + text).lstrip()
        name, following = self._header[: len(_FINAL)], self._header[len(_FINAL) :]
        has_no_end = len(self._header) > _MAX_HEADER or (name == _FINAL and following[:1].isalnum())
        return self._without_message() if has_no_end else ""

    def _end_header(self, shown: list[str]) -> None:
        """End a header; if no ``<|message|>`` ended it, the header contains the beginning of the message."""
        if self._header is not None:
            shown.append(self._without_message())

    def _without_message(self) -> str:
        header, self._header = self._header or "", None
        self._is_shown = _is_final(header)
        return header.removeprefix(_FINAL) if self._is_shown else ""


class BareHarmonyFilter:
    """Removes the reasoning from a reply in the harmony format of a server that omits the special tokens.

    A reply without a final channel is shown unchanged.
    """

    def __init__(self) -> None:
        self._held: str | None = ""
        self._searched = 0

    def feed(self, text: str) -> str:
        if self._held is None:
            return text
        self._held += text
        found = self._held.find(_BARE_END, self._searched)
        if found < 0:
            self._searched = max(0, len(self._held) - len(_BARE_END) + 1)
            return ""
        shown, self._held = self._held[found + len(_BARE_END) :], None
        return shown

    def end(self) -> str:
        shown, self._held = self._held or "", None
        return shown


def _is_final(header: str) -> bool:
    return header.startswith(_FINAL)
