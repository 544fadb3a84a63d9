"""Reads how many bytes the peer of a TCP connection has acknowledged, from Linux's ``tcp_info`` (tcp(7), linux/tcp.h)."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

_BYTES_ACKED: Final = struct.Struct("@120xQ")
"""``tcpi_bytes_acked``, since Linux 4.1."""
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)


def bytes_acknowledged(transport: asyncio.Transport) -> int | None:
    """Return the bytes acknowledged since the connection opened; None if it is closed or the system does not report them."""
    connected = transport.get_extra_info("socket")
    if connected is None or _TCP_INFO is None:
        return None
    try:
        info: bytes = connected.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.size)
    except OSError:
        return None
    return int(_BYTES_ACKED.unpack(info)[0]) if len(info) == _BYTES_ACKED.size else None
