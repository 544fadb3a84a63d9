"""Recorded responses of model servers that people host themselves, from vLLM and llama.cpp to Ollama and LiteLLM."""

from __future__ import annotations

import json

from tests.parts.model_servers.shapes import (
    DONE,
    ERROR,
    JSON,
    LINES,
    STOP,
    Shape,
    chunk,
    data,
    lines,
    text,
    usage,
    whole,
)

_VLLM = "vllm-project/vllm serving_chat.py"
_LLAMA = "ggml-org/llama.cpp pull 16109"
_OLLAMA = "ollama/ollama issue 4357 and docs/api/errors.mdx"
_LM = "lmstudio.ai/docs: OpenAI compatibility"
_LITELLM = "BerriAI/litellm issues 376, 8193, 12417 and pull 37322"
_LOCALAI = "mudler/LocalAI issues 340, 1194, 1886"
_OTHERS = "sgl-project/sglang issue 3912, jakobdylanc/llmcord issue 84, NousResearch/hermes-agent issue 68451"

SELF_HOSTED: list[Shape] = [
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
        "SGLang",
        "nulls",
        _OTHERS,
        data(chunk({"role": None, "content": "Так", "tool_calls": None}, "") | {"usage": None}, STOP) + DONE,
        "Так",
    ),
]
