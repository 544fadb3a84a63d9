"""Encodes WebSocket frames (RFC 6455 §5.2) once, so that the same bytes go to thousands of sockets.

aiohttp writes header and payload of a frame without an await between them, so frames that other code of the same event loop
writes to the transport never end up inside one of aiohttp's.
"""

from __future__ import annotations

import struct

_TEXT = 0x81
_CLOSE = 0x88
_CONTINUATION = 0x80
_NOT_THE_LAST = 0x7F
_FRAGMENT_BYTES = 64 * 1024
_MASK_BYTES = 4

PING = b"\x89\x00"


def text_frame(text: bytes) -> bytes:
    """Return a text message in one frame, unmasked as a server sends it."""
    return _header(_TEXT, len(text)) + text


def fragments(text: bytes) -> list[bytes]:
    """Return a text message as frames of at most 64 KiB each (RFC 6455 §5.4).

    The sender may wait for a slow peer between two of them, and send control frames there.
    """
    parts = [text[begin : begin + _FRAGMENT_BYTES] for begin in range(0, len(text), _FRAGMENT_BYTES)] or [b""]
    last = len(parts) - 1
    return [
        _header((_TEXT if index == 0 else _CONTINUATION) & (0xFF if index == last else _NOT_THE_LAST), len(part)) + part
        for index, part in enumerate(parts)
    ]


def close_frame(code: int, reason: str) -> bytes:
    content = struct.pack(">H", code) + reason.encode()
    return _header(_CLOSE, len(content)) + content


def frame_size(content: object) -> int:
    """Return the bytes of a client's frame with this payload, header and mask included; 0 for content without a frame."""
    match content:
        case str():
            length = len(content) if content.isascii() else len(content.encode(errors="surrogatepass"))
        case bytes() | bytearray():
            length = len(content)
        case _:
            return 0
    return len(_header(_TEXT, length)) + _MASK_BYTES + length


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return struct.pack(">BB", first, length)
    if length < 1 << 16:
        return struct.pack(">BBH", first, 126, length)
    return struct.pack(">BBQ", first, 127, length)
