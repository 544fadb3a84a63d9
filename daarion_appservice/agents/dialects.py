"""How a question is put to the agents core, and what its answers mean: the city's own way, or OpenAI's.

invoke   POST <url>/agents/<id>/invoke      {"input", "context": {"kind", "user_id", "room", "history", …}}
           {"output": "…"}   or events   {"delta": "…"} … [DONE]

openai   POST <url>/chat/completions        {"model", "messages", "stream": true, "user"}
           {"choices": [{"message": {"content": "…"}}]}   or events   {"choices": [{"delta": {"content": "…"}}]} … [DONE]

Instead of an event with a piece there may be one with ``{"error": …}``. An event that holds no text where a piece would have it
brings none, whatever else it holds: servers send events for token counts, content filters, reasoning and keep-alive
(``tests/parts/model_servers.py`` has what each sends).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from ..config import AgentsCoreSettings
from .prompt import text_of
from .request import AgentRequest

JSON = dict[str, Any]

_MAX_ID: Final = 255
_COMPLETIONS: Final = "/chat/completions"
FAILED: Final = frozenset({"error", "abort"})
"""``finish_reason`` of OpenRouter and SGLang when the model's server broke down."""
_FINISHED_WITHOUT_TEXT: Final = {
    "tool_calls": "asked for a tool instead of answering",
    "function_call": "asked for a tool instead of answering",
    "content_filter": "filtered its answer out",
    "length": "came to its limit before it said anything",
}


class InvalidResponse(Exception):
    """What came is none; says what is wrong with it, as something that the agents core did.

    ``seen`` is more of it, for the log only. ``is_about_core``: whether other questions would fare no better.
    """

    def __init__(self, what: str, *, seen: str = "", is_about_core: bool = True) -> None:
        super().__init__(what)
        self.what = what
        self.seen = seen
        self.is_about_core = is_about_core


@dataclass(frozen=True, slots=True)
class ResponseChunk:
    """What one event of an answer says."""

    text: str = ""
    is_last: bool = False
    """Nothing comes after it."""
    finish: str = ""
    """Why the model ended, when it did. Text may still follow: some servers say ``stop`` in each event, or before the last."""
    is_repeated: bool = False
    """``text`` is the whole answer, which counts only if no piece of it came before."""
    is_known: bool = True
    """False for what is no event of an answer: it brings nothing, and is no answer either."""
    broken: str = ""
    """What came instead of JSON: text of the answer may be lost."""
    choice: int = 0
    """Which of several answers to the question this belongs to."""

    @property
    def missing(self) -> str:
        """What the core did when there is no text in the end."""
        return _FINISHED_WITHOUT_TEXT.get(self.finish, "")


UNKNOWN: Final = ResponseChunk(is_known=False)


class Dialect(Protocol):
    ends_with_done: bool
    """Whether a stream that ends without ``[DONE]`` broke off."""

    def url(self, base: str, question: AgentRequest) -> str:
        """Where to ask, percent-encoded. Raises InvalidResponse for an agent who cannot be named there."""
        ...

    def body(self, question: AgentRequest) -> JSON: ...

    def parse_response(self, content: Any) -> list[ResponseChunk]:
        """An answer that comes in one: a piece of each choice, at least one."""
        ...

    def parse_chunk(self, content: Any) -> list[ResponseChunk]:
        """One event of an answer: a piece of each choice, at least one."""
        ...


class Invoke:
    ends_with_done = True

    def url(self, base: str, question: AgentRequest) -> str:
        return f"{base}/agents/{_in_path(question.agent_id)}/invoke"

    def body(self, question: AgentRequest) -> JSON:
        context: JSON = {
            "kind": question.kind,
            "user_id": question.user_id,
            "room": question.room,
            "history": [asdict(said) for said in question.history],
        }
        if question.reply_to is not None:
            context["reply_to"] = asdict(question.reply_to)
        if question.attachments:
            context["attachments"] = [asdict(attachment) for attachment in question.attachments]
        return {"input": text_of(question), "context": context}

    def parse_response(self, content: Any) -> list[ResponseChunk]:
        return [_piece_of(content, "output")]

    def parse_chunk(self, content: Any) -> list[ResponseChunk]:
        return [_piece_of(content, "delta")]


class OpenAi:
    """Chat completions, as OpenAI, Azure, vLLM, llama.cpp, Ollama, LM Studio, LiteLLM, LocalAI and Anthropic answer them.

    Args:
        model: the one to ask for; empty: each agent is one of its own.
    """

    ends_with_done = False

    def __init__(self, model: str) -> None:
        self._model = model

    def url(self, base: str, _question: AgentRequest) -> str:
        """As OpenAI's own clients do with ``base_url``; an address without a path gets ``/v1``."""
        parts = urlsplit(base)
        path = parts.path.rstrip("/") or "/v1"
        return urlunsplit(parts._replace(path=path if path.endswith(_COMPLETIONS) else path + _COMPLETIONS))

    def body(self, question: AgentRequest) -> JSON:
        messages = [*(asdict(said) for said in question.history), {"role": "user", "content": _content(question)}]
        return {
            "model": self._model or question.agent_id,
            "messages": messages,
            "stream": True,
            "user": question.user_id,
        }

    def parse_response(self, content: Any) -> list[ResponseChunk]:
        return _openai_pieces(content, "message")

    def parse_chunk(self, content: Any) -> list[ResponseChunk]:
        return _openai_pieces(content, "delta")


def dialect_of(settings: AgentsCoreSettings) -> Dialect:
    return OpenAi(settings.model) if settings.kind == "openai" else Invoke()


def _content(question: AgentRequest) -> str | list[JSON]:
    """What the user says: text, or parts where there are images."""
    text = text_of(question)
    images = [
        {"type": "image_url", "image_url": {"url": attachment.data_url}}
        for attachment in question.attachments
        if attachment.data_url is not None
    ]
    return [{"type": "text", "text": text}, *images] if images else text


def _piece_of(content: Any, key: str) -> ResponseChunk:
    """Of the city's own dialect."""
    text = content.get(key) if isinstance(content, dict) else None
    return ResponseChunk(text) if isinstance(text, str) else UNKNOWN


def _openai_pieces(content: Any, key: str) -> list[ResponseChunk]:
    if not isinstance(content, dict):
        return [UNKNOWN]
    choices = content.get("choices")
    choices = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    if not choices:
        return [_ollama(content)]
    return [_of_choice(choice, key) for choice in sorted(choices, key=_index)]


def _of_choice(choice: JSON, key: str) -> ResponseChunk:
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else ""
    message = choice.get(key)
    if isinstance(message, dict):
        return ResponseChunk(_message_text(message), finish=finish, choice=_index(choice))
    # Some put the whole message into an event, at the end or instead of pieces.
    repeated = _message_text(choice.get("message") or choice.get("delta"))
    # The field of the older completions, which comes in pieces, too.
    text = repeated or _text(choice.get("text"))
    return ResponseChunk(text, finish=finish, is_repeated=bool(repeated), choice=_index(choice))


def _index(choice: JSON) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _ollama(content: JSON) -> ResponseChunk:
    """A line of Ollama's own ``/api/chat``, which has no ``choices``; or an event that is none of an answer's."""
    message = content.get("message")
    if not isinstance(message, dict):
        # Token counts, content filters, keep-alive.
        return ResponseChunk() if "choices" in content else UNKNOWN
    finish = content.get("done_reason")
    return ResponseChunk(
        _message_text(message), is_last=content.get("done") is True, finish=finish if isinstance(finish, str) else ""
    )


def _message_text(message: Any) -> str:
    """What a message or a delta says. Reasoning, tool calls and whatever else it holds are not said."""
    if not isinstance(message, dict):
        return ""
    # A refusal is what the model answers.
    return _text(message.get("content")) or _text(message.get("refusal"))


def _text(content: Any) -> str:
    """Text, or the text of parts: ``[{"type": "text", "text": "…"}]`` (Mistral, Anthropic)."""
    match content:
        case str():
            return content
        case list():
            return "".join(_text(part) for part in content if not isinstance(part, list))
        case {"type": "text" | "output_text" | "input_text" | "text_delta", "text": str(text)}:
            return text
        case {"text": str(text)} if "type" not in content:
            return text
        case {"type": "refusal", "refusal": str(text)}:
            return text
    return ""


def _in_path(agent_id: str) -> str:
    # A segment of dots would lead elsewhere, however it is encoded (WHATWG URL).
    if not 0 < len(agent_id) <= _MAX_ID or not agent_id.isprintable() or agent_id in {".", ".."}:
        raise InvalidResponse("cannot be asked for an agent with such an id", seen=repr(agent_id), is_about_core=False)
    return quote(agent_id, safe="")
