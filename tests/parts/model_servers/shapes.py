"""The shape of a recorded response of a model server, and functions that build its body."""

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
    """A part of the expected error message, for a response without a reply."""

    @property
    def id(self) -> str:
        return f"{self.server}: {self.name}"


def data(*contents: Any, end: str = "\n\n", space: str = " ") -> bytes:
    """Return server-sent events with ``contents`` as JSON."""
    return "".join(f"data:{space}{json.dumps(content, ensure_ascii=False)}{end}" for content in contents).encode()


def chunk(delta: Any = ..., finish: Any = None, **more: Any) -> dict[str, Any]:
    """Return a chunk of a streamed response; without ``delta`` unless it is given."""
    choice = {"index": 0, "finish_reason": finish} | ({} if delta is ... else {"delta": delta}) | more
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def text(content: Any, finish: Any = None) -> dict[str, Any]:
    return chunk({"content": content}, finish)


def usage(**more: Any) -> dict[str, Any]:
    """Return a chunk with token counts and without choices."""
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 9}} | more


def whole(message: Any, finish: Any = "stop", **more: Any) -> bytes:
    """Return a complete response that is not streamed."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]} | more).encode()


def lines(*contents: Any) -> bytes:
    return "".join(f"{json.dumps(content)}\n" for content in contents).encode()


DONE = b"data: [DONE]\n\n"
SAFE = {"hate": {"filtered": False, "severity": "safe"}}
ERROR = {"error": {"message": "The server had an error", "type": "server_error", "code": None}}
STOP = chunk({}, "stop")
