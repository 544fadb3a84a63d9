"""How a question is put to the agents core, and what its answers mean: the city's own way, or OpenAI's.

invoke   POST <url>/agents/<id>/invoke    {"input", "context": {"kind", "user_id", "room", "history"}}
           {"output": "…"}   or events   {"delta": "…"} … [DONE]
openai   POST <url>/v1/chat/completions   {"model", "messages", "stream": true, "user"}
           {"choices": [{"message": {"content": "…"}}]}   or events   {"choices": [{"delta": {"content": "…"}}]} … [DONE]

Instead of an event with a piece there may be one with ``{"error": …}``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from ..config import AgentsCoreSettings
from .question import Question

JSON = dict[str, Any]

_MAX_ID: Final = 255


class NotAnAnswer(Exception):
    """What came is none; says what is wrong with it, as something that the agents core did.

    ``seen`` is more of it, for the log only. ``is_about_core``: whether other questions would fare no better.
    """

    def __init__(self, what: str, *, seen: str = "", is_about_core: bool = True) -> None:
        super().__init__(what)
        self.what = what
        self.seen = seen
        self.is_about_core = is_about_core


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event of an answer says."""

    text: str = ""
    is_last: bool = False


class Dialect(Protocol):
    """Raises NotAnAnswer, or whatever looking into JSON of another shape raises: KeyError, IndexError, TypeError."""

    def path(self, question: Question) -> str:
        """Behind the core's address, percent-encoded. Raises NotAnAnswer for an agent who cannot be named there."""
        ...

    def body(self, question: Question) -> JSON: ...

    def whole(self, content: Any) -> str:
        """The text of an answer that comes in one."""
        ...

    def piece(self, content: Any) -> Piece: ...


class Invoke:
    def path(self, question: Question) -> str:
        return f"/agents/{_in_path(question.agent_id)}/invoke"

    def body(self, question: Question) -> JSON:
        context = {
            "kind": question.kind,
            "user_id": question.user_id,
            "room": question.room,
            "history": [asdict(said) for said in question.history],
        }
        return {"input": question.input, "context": context}

    def whole(self, content: Any) -> str:
        return _text(content["output"])

    def piece(self, content: Any) -> Piece:
        return Piece(_text(content["delta"]))


class OpenAi:
    """``model``: the one to ask for; empty: each agent is one of its own."""

    def __init__(self, model: str) -> None:
        self._model = model

    def path(self, _question: Question) -> str:
        return "/v1/chat/completions"

    def body(self, question: Question) -> JSON:
        messages = [*(asdict(said) for said in question.history), {"role": "user", "content": question.input}]
        return {
            "model": self._model or question.agent_id,
            "messages": messages,
            "stream": True,
            "user": question.user_id,
        }

    def whole(self, content: Any) -> str:
        return _text(content["choices"][0]["message"]["content"])

    def piece(self, content: Any) -> Piece:
        choices = content["choices"]
        if not choices:
            return Piece()  # it tells how many tokens were used
        choice = choices[0]
        text = choice["delta"].get("content")
        return Piece("" if text is None else _text(text), is_last=choice.get("finish_reason") is not None)


def dialect_of(settings: AgentsCoreSettings) -> Dialect:
    return OpenAi(settings.model) if settings.kind == "openai" else Invoke()


def _in_path(agent_id: str) -> str:
    # A segment of dots would lead elsewhere, however it is encoded (WHATWG URL).
    if not 0 < len(agent_id) <= _MAX_ID or not agent_id.isprintable() or agent_id in {".", ".."}:
        raise NotAnAnswer("cannot be asked for an agent with such an id", seen=repr(agent_id), is_about_core=False)
    return quote(agent_id, safe="")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
