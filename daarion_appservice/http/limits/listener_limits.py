"""The limits of a listener: numbers of TCP connections and responses, and bytes in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """The limits of one listener. 0: no limit."""

    connections: int = 0
    connections_per_address: int = 0
    responses_per_address: int = 0
    """Responses in progress, or not yet read by the peer."""
    unread_bytes_per_address: int = 0
    """Bytes of responses in the write buffers of the transports."""
    unread_bytes: int = 0
    request_bytes_per_address: int = 0
    request_bytes: int = 0
