"""Limits the responses of one address that are in progress or not yet read by the peer."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from ...errors import TooManyRequests
from .metrics import count_hit

_RETRY_AFTER_S: Final = 5.0


class OpenResponses:
    """The open responses by client address.

    Args:
        per_address: the limit of one address; 0 for no limit.
    """

    def __init__(self, per_address: int) -> None:
        self._per_address = per_address
        self._open: dict[str, set[Hashable]] = {}

    def add(self, client: str, connection: Hashable) -> None:
        self._open.setdefault(client, set()).add(connection)

    def discard(self, client: str | None, connection: Hashable) -> None:
        """Remove the response of a connection: the peer has read it, or the connection is closed. Idempotent."""
        if client is not None and (responses := self._open.get(client)):
            responses.discard(connection)
            if not responses:
                del self._open[client]

    def check(self, client: str | None) -> None:
        """Check the limit, counting the response of the request in progress.

        Raises:
            TooManyRequests: the address has more open responses than allowed.
        """
        if client is not None and 0 < self._per_address < len(self._open.get(client, ())):
            count_hit("responses_per_address")
            raise TooManyRequests(
                f"too many open responses: at most {self._per_address} for one address", retry_after_s=_RETRY_AFTER_S
            )
