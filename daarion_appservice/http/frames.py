"""WebSocket frames made by hand (RFC 6455 §5.2), so that one and the same frame goes to thousands of sockets.

aiohttp writes header and text of a frame without a pause between them, so frames that are written to its transport from
elsewhere in the same loop never stand within one of its own.
"""

from __future__ import annotations

import struct

_TEXT = 0x81
_CLOSE = 0x88

PING = b"\x89\x00"


def text_frame(text: bytes) -> bytes:
    """A whole text message in one frame, as a server sends it: not masked."""
    return _header(_TEXT, len(text)) + text


def close_frame(code: int, reason: str) -> bytes:
    content = struct.pack(">H", code) + reason.encode()
    return _header(_CLOSE, len(content)) + content


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return struct.pack(">BB", first, length)
    if length < 1 << 16:
        return struct.pack(">BBH", first, 126, length)
    return struct.pack(">BBQ", first, 127, length)
