"""Recorded responses of hosted model servers: OpenAI, Azure, Anthropic, Mistral, Gemini, Venice and OpenRouter."""

from __future__ import annotations

import json

from tests.parts.model_servers.shapes import DONE, ERROR, JSON, SAFE, STOP, Shape, chunk, data, text, usage, whole

_OPENAI = "platform.openai.com: chat/streaming"
_AZURE = "openai/openai-python issue 1677, microsoft/autogen issue 6465"
_ANTHROPIC = "anthropics/anthropic-sdk-typescript issue 711, docs: OpenAI SDK compatibility"
_MISTRAL = "NousResearch/hermes-agent pull 4748, meilisearch/meilisearch pull 6327"
_OPENROUTER = "openrouter.ai/docs: streaming, errors"
_OTHERS = "sgl-project/sglang issue 3912, jakobdylanc/llmcord issue 84, NousResearch/hermes-agent issue 68451"

HOSTED: list[Shape] = [
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
]
