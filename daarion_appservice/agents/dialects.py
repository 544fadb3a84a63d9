"""Request and response formats of the agents core: the city's own and OpenAI's.

    invoke   POST <url>/agents/<id>/invoke      {"input", "context": {"kind", "user_id", "room", "history", …}}
             {"output": "…"}   or events   {"delta": "…"} … [DONE]

    openai   POST <url>/chat/completions        {"model", "messages", "stream": true, "user"}
             {"choices": [{"message": {"content": "…"}}]}   or events   {"choices": [{"delta": {"content": "…"}}]} …
             [DONE]

An event with ``{"error": …}`` may replace one with a chunk. An event without text in the expected place has none, even
if it holds other fields: servers send events for token counts, content filters, reasoning and keep-alive
(``tests/parts/model_servers.py`` has what each sends).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from ..config import AgentsCoreSettings
from ..json_encoding import JSON
from .prompt import text_of
from .request import AgentRequest, Attachment

_MAX_ID: Final = 255
_COMPLETIONS: Final = "/chat/completions"
FAILED_FINISH_REASONS: Final = frozenset({"error", "abort"})
"""Values of ``finish_reason`` of OpenRouter and SGLang after a failure of the model server."""
_EMPTY_PROBLEMS: Final = {
    "tool_calls": "called a tool instead of replying",
    "function_call": "called a tool instead of replying",
    "content_filter": "filtered the reply out",
    "length": "reached its token limit before any text",
}


class InvalidResponse(Exception):
    """The response is unusable.

    Args:
        problem: the fault, as a verb phrase whose subject is the agents core.
        excerpt: an excerpt of the response, for the log only.
        is_core_fault: whether other requests would fail too.
    """

    def __init__(self, problem: str, *, excerpt: str = "", is_core_fault: bool = True) -> None:
        super().__init__(problem)
        self.problem = problem
        self.excerpt = excerpt
        self.is_core_fault = is_core_fault


@dataclass(frozen=True, slots=True)
class ResponseChunk:
    """The content of one event or of a whole response."""

    text: str = ""
    is_last: bool = False
    """Whether nothing follows."""
    finish_reason: str = ""
    """The finish reason, if there is one. Text may still follow: some servers send ``stop`` in each event, or before
    the last one.
    """
    is_repeated: bool = False
    """Whether ``text`` is the whole reply, which counts only if no chunk came before."""
    is_known: bool = True
    """False for an event that is not part of a reply."""
    invalid_json: str = ""
    """An excerpt of data that is not JSON: text of the reply may be lost."""
    choice: int = 0
    """Index of the choice that the chunk belongs to."""

    @property
    def empty_problem(self) -> str:
        """What the core did, as a verb phrase, if the reply has no text in the end."""
        return _EMPTY_PROBLEMS.get(self.finish_reason, "")


UNKNOWN: Final = ResponseChunk(is_known=False)


class Dialect(Protocol):
    """The request and response format of one kind of agents core."""

    ends_with_done: bool
    """Whether a stream that ends without ``[DONE]`` is incomplete."""

    def url(self, base: str, request: AgentRequest) -> str:
        """Return the percent-encoded URL of the request.

        Raises:
            InvalidResponse: the agent's id cannot be part of a URL.
        """
        ...

    def body(self, request: AgentRequest) -> JSON: ...

    def parse_response(self, content: Any) -> list[ResponseChunk]:
        """Parse a response that is one JSON document into a chunk for each choice, at least one."""
        ...

    def parse_chunk(self, content: Any) -> list[ResponseChunk]:
        """Parse one event of a stream into a chunk for each choice, at least one."""
        ...


class Invoke:
    """The city's own format."""

    ends_with_done = True

    def url(self, base: str, request: AgentRequest) -> str:
        return f"{base}/agents/{_path_segment(request.agent_id)}/invoke"

    def body(self, request: AgentRequest) -> JSON:
        context: JSON = {
            "kind": request.kind,
            "user_id": request.user_id,
            "room": request.room,
            "history": [asdict(exchange) for exchange in request.history],
        }
        if request.reply_to is not None:
            context["reply_to"] = asdict(request.reply_to)
        if request.attachments:
            context["attachments"] = [_attachment(each) for each in request.attachments]
        return {"input": text_of(request), "context": context}

    def parse_response(self, content: Any) -> list[ResponseChunk]:
        return [_invoke_chunk(content, "output")]

    def parse_chunk(self, content: Any) -> list[ResponseChunk]:
        return [_invoke_chunk(content, "delta")]


class OpenAi:
    """Chat completions as served by OpenAI, Azure, vLLM, llama.cpp, Ollama, LM Studio, LiteLLM, LocalAI and Anthropic.

    Args:
        model: name of the model; if empty, the agent's id is sent as the name.
    """

    ends_with_done = False

    def __init__(self, model: str) -> None:
        self._model = model

    def url(self, base: str, _request: AgentRequest) -> str:
        """Append the path as OpenAI's clients do with ``base_url``; a URL without a path gets ``/v1``."""
        parts = urlsplit(base)
        path = parts.path.rstrip("/") or "/v1"
        return urlunsplit(parts._replace(path=path if path.endswith(_COMPLETIONS) else path + _COMPLETIONS))

    def body(self, request: AgentRequest) -> JSON:
        messages = [*(asdict(exchange) for exchange in request.history), {"role": "user", "content": _content(request)}]
        return {
            "model": self._model or request.agent_id,
            "messages": messages,
            "stream": True,
            "user": request.user_id,
        }

    def parse_response(self, content: Any) -> list[ResponseChunk]:
        return _openai_chunks(content, "message")

    def parse_chunk(self, content: Any) -> list[ResponseChunk]:
        return _openai_chunks(content, "delta")


def dialect_of(settings: AgentsCoreSettings) -> Dialect:
    return OpenAi(settings.model) if settings.kind == "openai" else Invoke()


def _content(request: AgentRequest) -> str | list[JSON]:
    """Return the content of the user's message: text, or a list of parts if there are images."""
    text = text_of(request)
    images = [
        {"type": "image_url", "image_url": {"url": attachment.data_url}}
        for attachment in request.attachments
        if attachment.data_url is not None
    ]
    return [{"type": "text", "text": text}, *images] if images else text


def _attachment(attachment: Attachment) -> JSON:
    """Return an attachment as the city's own format has it: without the key of an encrypted file, and so without its URI."""
    fields = asdict(attachment)
    if fields.pop("encrypted_file") is not None:
        fields["mxc"] = None
    return fields


def _invoke_chunk(content: Any, key: str) -> ResponseChunk:
    """Return a chunk of the ``invoke`` format."""
    text = content.get(key) if isinstance(content, dict) else None
    return ResponseChunk(text) if isinstance(text, str) else UNKNOWN


def _openai_chunks(content: Any, key: str) -> list[ResponseChunk]:
    if not isinstance(content, dict):
        return [UNKNOWN]
    choices = content.get("choices")
    choices = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    if not choices:
        return [_ollama_chunk(content)]
    return [_choice_chunk(choice, key) for choice in sorted(choices, key=_index)]


def _choice_chunk(choice: JSON, key: str) -> ResponseChunk:
    finish_reason = choice.get("finish_reason")
    finish_reason = finish_reason if isinstance(finish_reason, str) else ""
    message = choice.get(key)
    if isinstance(message, dict):
        return ResponseChunk(_message_text(message), finish_reason=finish_reason, choice=_index(choice))
    # Some servers send the whole message in an event, at the end or instead of chunks.
    repeated = _message_text(choice.get("message") or choice.get("delta"))
    # The field of the legacy completions API, which is streamed in chunks too.
    text = repeated or _text(choice.get("text"))
    return ResponseChunk(text, finish_reason=finish_reason, is_repeated=bool(repeated), choice=_index(choice))


def _index(choice: JSON) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _ollama_chunk(content: JSON) -> ResponseChunk:
    """Parse a line of Ollama's own ``/api/chat``, which has no ``choices``, or an event that is not part of a reply."""
    message = content.get("message")
    if not isinstance(message, dict):
        # Token counts, content filters, keep-alive.
        return ResponseChunk() if "choices" in content else UNKNOWN
    finish_reason = content.get("done_reason")
    return ResponseChunk(
        _message_text(message),
        is_last=content.get("done") is True,
        finish_reason=finish_reason if isinstance(finish_reason, str) else "",
    )


def _message_text(message: Any) -> str:
    """Return the text of a message or a delta, without reasoning, tool calls and other fields."""
    if not isinstance(message, dict):
        return ""
    # A refusal is the model's reply.
    return _text(message.get("content")) or _text(message.get("refusal"))


def _text(content: Any) -> str:
    """Return text, or the joined text of parts: ``[{"type": "text", "text": "…"}]`` (Mistral, Anthropic)."""
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


def _path_segment(agent_id: str) -> str:
    # A segment of dots would change the path, in any encoding (WHATWG URL).
    if not 0 < len(agent_id) <= _MAX_ID or not agent_id.isprintable() or agent_id in {".", ".."}:
        raise InvalidResponse(
            "cannot be requested for an agent with this id", excerpt=repr(agent_id), is_core_fault=False
        )
    return quote(agent_id, safe="")
