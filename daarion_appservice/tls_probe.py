"""Probe which protocol a TCP address speaks: TLS, or HTTP without TLS.

A client that speaks the wrong one of the two gets no error that says so: a connection that hangs or is closed, or a status
400. Only a probe tells these from a server that is down. It sends a TLS handshake, or a request for ``/`` without any token.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

_TIMEOUT_S: Final = 2.0
_REQUEST: Final = "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
_STATUS_LINE: Final = b"HTTP/"


async def speaks_tls(host: str, port: int) -> bool:
    """Return whether a TLS handshake at ``host``:``port`` is answered as one within 2 seconds, with any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        # A TLS alert: the server speaks TLS, but wants another version of it or a client certificate.
        return "ALERT" in (error.reason or "")
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def speaks_http(host: str, port: int) -> bool:
    """Return whether an HTTP request without TLS to ``host``:``port`` is answered within 2 seconds, with any status."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_REQUEST.format(host=host).encode())
                return await reader.readexactly(len(_STATUS_LINE)) == _STATUS_LINE
            finally:
                writer.transport.abort()
    except (OSError, EOFError, TimeoutError):
        return False


async def is_open(host: str, port: int) -> bool:
    """Return whether ``host``:``port`` accepts a TCP connection within 2 seconds."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
