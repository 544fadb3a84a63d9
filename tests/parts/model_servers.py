"""Recorded responses of servers with OpenAI's chat completions, streamed and complete.

Each shape was seen in a server's source or in a report about it (``source``); ids, times and long values are shortened.
``message_prompt`` is the answer's text, and None when the server says that there is none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

EVENTS = "text/event-stream"
JSON = "application/json"
LINES = "application/x-ndjson"


@dataclass(frozen=True)
class Shape:
    server: str
    name: str
    source: str
    body: bytes
    reply_text: str | None
    content_type: str = EVENTS
    error: str = ""
    """Of what is no answer: what is said of it."""

    @property
    def id(self) -> str:
        return f"{self.server}: {self.name}"


def data(*contents: Any, end: str = "\n\n", space: str = " ") -> bytes:
    """Events of JSON."""
    return "".join(f"data:{space}{json.dumps(content, ensure_ascii=False)}{end}" for content in contents).encode()


def chunk(delta: Any = ..., finish: Any = None, **more: Any) -> dict[str, Any]:
    """One event of a stream; no ``delta`` unless given."""
    choice = {"index": 0, "finish_reason": finish} | ({} if delta is ... else {"delta": delta}) | more
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def text(content: Any, finish: Any = None) -> dict[str, Any]:
    return chunk({"content": content}, finish)


def usage(**more: Any) -> dict[str, Any]:
    """Counts of tokens, with no choices."""
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 9}} | more


def whole(message: Any, finish: Any = "stop", **more: Any) -> bytes:
    """An answer in one."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]} | more).encode()


def lines(*contents: Any) -> bytes:
    return "".join(f"{json.dumps(content)}\n" for content in contents).encode()


DONE = b"data: [DONE]\n\n"
SAFE = {"hate": {"filtered": False, "severity": "safe"}}
ERROR = {"error": {"message": "The server had an error", "type": "server_error", "code": None}}
STOP = chunk({}, "stop")

_OPENAI = "platform.openai.com: chat/streaming"
_AZURE = "openai/openai-python issue 1677, microsoft/autogen issue 6465"
_VLLM = "vllm-project/vllm serving_chat.py"
_LLAMA = "ggml-org/llama.cpp pull 16109"
_OLLAMA = "ollama/ollama issue 4357 and docs/api/errors.mdx"
_LM = "lmstudio.ai/docs: OpenAI compatibility"
_LITELLM = "BerriAI/litellm issues 376, 8193, 12417 and pull 37322"
_LOCALAI = "mudler/LocalAI issues 340, 1194, 1886"
_ANTHROPIC = "anthropics/anthropic-sdk-typescript issue 711, docs: OpenAI SDK compatibility"
_MISTRAL = "NousResearch/hermes-agent pull 4748, meilisearch/meilisearch pull 6327"
_OPENROUTER = "openrouter.ai/docs: streaming, errors"
_OTHERS = "sgl-project/sglang issue 3912, jakobdylanc/llmcord issue 84, NousResearch/hermes-agent issue 68451"

SHAPES: list[Shape] = [
    Shape(
        "OpenAI",
        "stream",
        _OPENAI,
        data(chunk({"role": "assistant", "content": "", "refusal": None}), text("Добрий "), text("вечір"), STOP) + DONE,
        "Добрий вечір",
    ),
    Shape(
        "OpenAI",
        "usage at the end",
        _OPENAI,
        data(text("Так", None), text(None, "stop"), usage()) + DONE,
        "Так",
    ),
    Shape("OpenAI", "obfuscation field", _OPENAI, data(text("Так") | {"obfuscation": "x7"}, STOP) + DONE, "Так"),
    Shape("OpenAI", "in one", _OPENAI, whole({"role": "assistant", "content": "Так", "refusal": None}), "Так", JSON),
    Shape(
        "OpenAI",
        "refusal in one",
        _OPENAI,
        whole({"role": "assistant", "content": None, "refusal": "Не можу"}),
        "Не можу",
        JSON,
    ),
    Shape(
        "OpenAI",
        "refusal",
        _OPENAI,
        data(chunk({"role": "assistant", "refusal": ""}), chunk({"refusal": "Не "}), chunk({"refusal": "можу"}), STOP)
        + DONE,
        "Не можу",
    ),
    Shape(
        "OpenAI",
        "tool calls only",
        _OPENAI,
        data(
            chunk({"role": "assistant", "content": None, "tool_calls": [{"index": 0, "function": {"name": "f"}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
            chunk({}, "tool_calls"),
        )
        + DONE,
        None,
        error="called a tool",
    ),
    Shape(
        "OpenAI",
        "text and a tool call",
        _OPENAI,
        data(text("Гляну."), chunk({"tool_calls": [{"index": 0}]}), chunk({}, "tool_calls")) + DONE,
        "Гляну.",
    ),
    Shape("OpenAI", "error in the middle", _OPENAI, data(text("До"), ERROR), None, error="reported an error"),
    Shape("OpenAI", "error in one with 200", _OPENAI, json.dumps(ERROR).encode(), None, JSON, "reported an error"),
    Shape("OpenAI", "cut by the limit", _OPENAI, data(text("Добр"), chunk({}, "length")) + DONE, "Добр"),
    Shape(
        "OpenAI",
        "nothing but reasoning within the limit",
        _OPENAI,
        whole({"role": "assistant", "content": ""}, "length"),
        None,
        JSON,
        "reached its token limit",
    ),
    Shape(
        "Azure",
        "stream",
        _AZURE,
        data(
            {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [SAFE]},
            chunk({"role": "assistant", "content": ""}, content_filter_results={}),
            chunk({"content": "Добрий "}, content_filter_results=SAFE),
            chunk({"content": "вечір"}, content_filter_results=SAFE),
            chunk({}, "stop", content_filter_results={}),
        )
        + DONE,
        "Добрий вечір",
    ),
    Shape(
        "Azure",
        "asynchronous filter",
        _AZURE,
        data(
            {"id": "", "choices": [], "prompt_annotations": [{"prompt_index": 0}], "usage": None},
            chunk({"role": "assistant"}),
            text("Добрий "),
            chunk(content_filter_results=SAFE, content_filter_offsets={"check_offset": 44}),
            text("вечір"),
            STOP,
            chunk(content_filter_results=SAFE, content_filter_offsets={"check_offset": 44}),
        )
        + DONE,
        "Добрий вечір",
    ),
    Shape(
        "Azure", "delta is null", _AZURE, data(text("Добрий "), chunk(None), text("вечір"), STOP) + DONE, "Добрий вечір"
    ),
    Shape(
        "Azure",
        "filtered",
        _AZURE,
        data(chunk({}, "content_filter", content_filter_results={"hate": {"filtered": True}})) + DONE,
        None,
        error="filtered the reply out",
    ),
    Shape("Azure", "filtered in the middle", _AZURE, data(text("Добр"), chunk({}, "content_filter")) + DONE, "Добр"),
    Shape(
        "Azure",
        "in one",
        _AZURE,
        whole({"role": "assistant", "content": "Так"}, prompt_filter_results=[{"prompt_index": 0}]),
        "Так",
        JSON,
    ),
    Shape(
        "vLLM",
        "last text with the end",
        _VLLM,
        data(chunk({"role": "assistant", "content": ""}), text("Добрий "), text("вечір", "length"), usage()) + DONE,
        "Добрий вечір",
    ),
    Shape(
        "vLLM",
        "reasoning",
        _VLLM,
        data(
            chunk({"role": "assistant", "content": "", "reasoning_content": None}),
            chunk({"reasoning_content": "Хм"}),
            chunk({"reasoning": "Хм"}),
            text("Так"),
            chunk({"content": ""}, "stop", stop_reason=None),
        )
        + DONE,
        "Так",
    ),
    Shape(
        "vLLM",
        "reasoning in one",
        _VLLM,
        whole({"role": "assistant", "content": "\n\nТак", "reasoning_content": "Хм", "tool_calls": []}),
        "Так",
        JSON,
    ),
    Shape(
        "vLLM",
        "error in the middle",
        _VLLM,
        data(text("До"), {"error": {"object": "error", "message": "out of memory", "code": 500}}) + DONE,
        None,
        error="reported an error",
    ),
    Shape(
        "vLLM",
        "error of older versions",
        _VLLM,
        data({"object": "error", "message": "the prompt is too long", "type": "BadRequestError", "code": 400}) + DONE,
        None,
        error="reported an error",
    ),
    Shape(
        "llama.cpp",
        "stream",
        "ggml-org/llama.cpp tools/server",
        data(
            chunk({"role": "assistant", "content": None}),
            text("Добрий "),
            text("вечір"),
            chunk({}, "stop") | {"timings": {"prompt_n": 1}},
        )
        + DONE,
        "Добрий вечір",
    ),
    Shape(
        "llama.cpp",
        "pings",
        "coddy-project/coddy-agent pull 106",
        b": ping\n\n" + data(text("Так"), STOP) + b"data: \n\n" + DONE,
        "Так",
    ),
    Shape(
        "llama.cpp",
        "error in a field of its own",
        _LLAMA,
        data(text("До")) + b'error: {"code":400,"message":"the request exceeds the available context size"}\n\n' + DONE,
        None,
        error="reported an error",
    ),
    Shape(
        "llama.cpp",
        "error",
        _LLAMA,
        data({"error": {"code": 500, "message": "context"}}),
        None,
        error="reported an error",
    ),
    Shape(
        "llama.cpp",
        "JSON in a stream",
        "lemonade-sdk/lemonade pull 2975",
        json.dumps(ERROR).encode(),
        None,
        error="reported an error",
    ),
    Shape(
        "Ollama",
        "finish_reason is empty",
        _OLLAMA,
        data(
            chunk({"role": "assistant", "content": "Добрий "}, ""),
            chunk({"role": "assistant", "content": "вечір"}, ""),
            chunk({"role": "assistant", "content": ""}, "stop"),
        )
        + DONE,
        "Добрий вечір",
    ),
    Shape(
        "Ollama",
        "role first, finish_reason is empty",
        _OLLAMA,
        data(chunk({"role": "assistant"}, ""), text("Так", ""), text("", "stop")) + DONE,
        "Так",
    ),
    Shape(
        "Ollama",
        "reasoning",
        "ollama/ollama openai.go",
        data(chunk({"role": "assistant", "content": "", "reasoning": "Хм"}), text("Так"), text("", "stop")) + DONE,
        "Так",
    ),
    Shape(
        "Ollama",
        "its own API",
        "ollama/ollama docs/api.md",
        lines(
            {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "Хм"}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "Добрий "}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "вечір"}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
        ),
        "Добрий вечір",
        LINES,
    ),
    Shape(
        "Ollama",
        "its own API in one",
        "ollama/ollama docs/api.md",
        lines({"model": "m", "message": {"role": "assistant", "content": "Так"}, "done": True, "done_reason": "stop"}),
        "Так",
        JSON,
    ),
    Shape(
        "Ollama",
        "error of its own API",
        _OLLAMA,
        lines(
            {"message": {"role": "assistant", "content": "До"}, "done": False}, {"error": "an error was encountered"}
        ),
        None,
        LINES,
        "reported an error",
    ),
    Shape(
        "LM Studio",
        "CRLF, no space",
        _LM,
        data(text("Добрий "), text("вечір"), STOP, end="\r\n\r\n", space="") + b"data:[DONE]\r\n\r\n",
        "Добрий вечір",
    ),
    Shape(
        "LM Studio",
        "error",
        _LM,
        b"event: error\n" + data({"error": {"message": "Model unloaded."}}),
        None,
        error="reported an error",
    ),
    Shape(
        "LM Studio",
        "error in words",
        _LM,
        data(text("До")) + b"event: error\ndata: Model unloaded.\n\n",
        None,
        error="reported an error",
    ),
    Shape(
        "LM Studio",
        "reasoning in the text",
        _LM,
        data(text("<thi"), text("nk>\nХм"), text("</th"), text("ink>"), text("\n\nТак"), STOP) + DONE,
        "Так",
    ),
    Shape(
        "LiteLLM", "pings before the answer", _LITELLM, b": ping\n\n: ping\n\n" + data(text("Так"), STOP) + DONE, "Так"
    ),
    Shape(
        "LiteLLM",
        "each event says stop",
        _LITELLM,
        data(text("Добрий ", "stop"), text("вечір", "stop")) + DONE,
        "Добрий вечір",
    ),
    Shape(
        "LiteLLM",
        "index is 1",
        _LITELLM,
        data(chunk({"content": "Так"}) | {"choices": [{"index": 1, "delta": {"content": "Так"}}]}) + DONE,
        "Так",
    ),
    Shape(
        "LiteLLM",
        "no finish_reason",
        _LITELLM,
        data(text("Так"), {"choices": [{"index": 0, "delta": {}}]}) + DONE,
        "Так",
    ),
    Shape(
        "LiteLLM",
        "thinking blocks",
        _LITELLM,
        data(chunk({"thinking_blocks": [{"type": "thinking", "thinking": "Хм"}], "content": ""}), text("Так"), STOP)
        + DONE,
        "Так",
    ),
    Shape(
        "LocalAI",
        "no [DONE]",
        _LOCALAI,
        data(
            {"choices": [{"delta": {"role": "assistant"}}]},
            {"choices": [{"delta": {"content": "Так"}}]},
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        ),
        "Так",
    ),
    Shape(
        "LocalAI", "events with names", _LOCALAI, b"event: data\n\n" + b"event: data\n" + data(text("Так"), STOP), "Так"
    ),
    Shape(
        "LocalAI",
        "finish_reason before delta, empty",
        _LOCALAI,
        data(
            {"choices": [{"index": 0, "finish_reason": "", "delta": {"content": "Так"}}], "usage": {"total_tokens": 0}},
            STOP,
        )
        + DONE,
        "Так",
    ),
    Shape(
        "Anthropic",
        "stream",
        _ANTHROPIC,
        data(chunk({"role": "assistant", "content": "Добрий "}), text("вечір"), chunk({}, "stop"), usage()) + DONE,
        "Добрий вечір",
    ),
    Shape(
        "Anthropic",
        "usage in a choice after the end",
        "mozilla-ai/any-llm pull 1392",
        data(text("Так"), STOP, chunk({}) | {"usage": {"total_tokens": 18}}) + DONE,
        "Так",
    ),
    Shape(
        "Anthropic",
        "error",
        _ANTHROPIC,
        data({"error": {"code": "api_error", "message": "Internal server error", "param": None}}),
        None,
        error="reported an error",
    ),
    Shape(
        "Anthropic",
        "ping",
        "anthropics/anthropic-sdk-typescript issue 749",
        b"event: ping\n" + data({"type": "ping"}, text("Так"), {"type": "ping"}, STOP) + DONE,
        "Так",
    ),
    Shape(
        "Mistral",
        "parts",
        _MISTRAL,
        data(
            text([{"type": "thinking", "thinking": [{"type": "text", "text": "Хм"}]}]),
            text([{"type": "text", "text": "Добрий "}]),
            text([{"type": "reference", "reference_ids": [1]}, {"type": "text", "text": "вечір"}]),
            text("", "stop"),
        )
        + DONE,
        "Добрий вечір",
    ),
    Shape(
        "Mistral",
        "parts in one",
        _MISTRAL,
        whole(
            {"role": "assistant", "content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Так"}]}
        ),
        "Так",
        JSON,
    ),
    Shape(
        "OpenRouter", "comments", _OPENROUTER, b": OPENROUTER PROCESSING\n\n" + data(text("Так"), STOP) + DONE, "Так"
    ),
    Shape(
        "OpenRouter",
        "error with an end",
        _OPENROUTER,
        data(text("До"), chunk({"content": ""}, "error") | {"error": {"code": "server_error", "message": "gone"}}),
        None,
        error="reported an error",
    ),
    Shape(
        "OpenRouter",
        "end by error",
        _OPENROUTER,
        data(text("До"), chunk({"content": ""}, "error")) + DONE,
        None,
        error="reported an error",
    ),
    Shape(
        "SGLang",
        "nulls",
        _OTHERS,
        data(chunk({"role": None, "content": "Так", "tool_calls": None}, "") | {"usage": None}, STOP) + DONE,
        "Так",
    ),
    Shape(
        "Gemini",
        "finish_reason is null to the end",
        _OTHERS,
        data(text("Добрий "), text("вечір")) + DONE,
        "Добрий вечір",
    ),
    Shape("Gemini", "no end at all", _OTHERS, data(text("Добрий "), text("вечір")), "Добрий вечір"),
    Shape(
        "Venice",
        "error in flat fields",
        _OTHERS,
        data({"error_type": "context_length_exceeded", "error_message": "too long"}),
        None,
        error="reported an error",
    ),
    Shape(
        "gateways",
        "keep-alive that is no JSON",
        _OTHERS,
        b"data: ping\n\n" + data(text("Так")) + b"data: [PING]\n\n" + data(STOP) + DONE,
        "Так",
    ),
    Shape(
        "gateways",
        "no empty lines",
        _OTHERS,
        data(text("Добрий "), text("вечір"), STOP, end="\n") + b"data: [DONE]\n",
        "Добрий вечір",
    ),
    Shape(
        "gateways", "error is null", _OTHERS, data(text("Так") | {"error": None}, STOP | {"error": {}}) + DONE, "Так"
    ),
    Shape("gateways", "a stream as text", _OTHERS, data(text("Так"), STOP) + DONE, "Так", "text/plain"),
    Shape("gateways", "a stream as JSON", _OTHERS, data(text("Так"), STOP) + DONE, "Так", JSON),
    Shape("gateways", "JSON as a stream", _OTHERS, whole({"role": "assistant", "content": "Так"}), "Так", EVENTS),
    Shape(
        "gateways",
        "JSON of no type",
        _OTHERS,
        whole({"role": "assistant", "content": "Так"}),
        "Так",
        "application/octet-stream",
    ),
    Shape(
        "gateways",
        "JSON over lines",
        _OTHERS,
        json.dumps(json.loads(whole({"content": "Так"})), indent=2).encode(),
        "Так",
        JSON,
    ),
    Shape("gateways", "chunks in lines", _OTHERS, lines(text("Добрий "), text("вечір"), STOP), "Добрий вечір", JSON),
    Shape(
        "gateways",
        "the whole message at the end",
        _OTHERS,
        data(text("Так"), chunk(finish="stop", message={"content": "Так"})) + DONE,
        "Так",
    ),
    Shape(
        "gateways",
        "the whole message only",
        _OTHERS,
        data(chunk(finish="stop", message={"content": "Так"})) + DONE,
        "Так",
    ),
    Shape(
        "gateways",
        "no choices at all",
        _OTHERS,
        data({"object": "ping"}, {"choices": None}, text("Так"), STOP) + DONE,
        "Так",
    ),
    Shape(
        "gateways", "a byte that is no UTF-8", _OTHERS, data(text("Так!")).replace(b"!", b"\xd0") + DONE, "Так\ufffd"
    ),
    Shape("gateways", "nothing but an error page", _OTHERS, b"<html>", None, "text/html", "text/html"),
    Shape("gateways", "another shape", _OTHERS, b'{"detail":"not found"}', None, JSON, "an unknown format"),
]
