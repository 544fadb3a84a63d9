"""The session of one client on a WebSocket: what each kind of WebSocket implements, and parsing of client events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import orjson
from pydantic import ValidationError

from ...errors import InvalidInput
from ..auth.authenticator import CityAuthenticator
from ..auth.principals import Principal
from ..routing import B
from ..validation import check_text
from .socket_writer import SocketWriter


class WebSocketSession(ABC):
    """The session of one client on a WebSocket.

    Args:
        authenticator: authenticates the tokens that the client sends.
        principal: the client's principal when it connected.
        since: the sequence number after which the client asks for a replay; None for a new client.
    """

    def __init__(self, authenticator: CityAuthenticator, principal: Principal, since: int | None) -> None:
        self._authenticator = authenticator
        self.principal = principal
        self.since = since

    def check_token(self) -> None:
        """Raise TokenEnded if the client's token has expired or was revoked."""
        self._authenticator.tokens.check_still_valid(self.principal)

    @abstractmethod
    async def handle_event(self, event: dict[str, Any]) -> None:
        """Handle an event of the client.

        Raises:
            CityError: the event is invalid or refused.
        """

    @abstractmethod
    async def start(self, writer: SocketWriter) -> None:
        """Send the missed events, then the live ones."""

    @property
    def must_authenticate(self) -> bool:
        """Whether the first event of the client must be ``auth``."""
        return False

    async def principal_changed(self) -> None:
        """Handle a change of ``principal``, after the client sent another token."""
        return

    @abstractmethod
    def stop(self) -> None:
        """Stop sending events. Idempotent."""


def parse_event(text: str) -> dict[str, Any]:
    """Parse a text message of a client.

    Raises:
        InvalidInput: the text is not a JSON object, or contains text that cannot be stored.
    """
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("not_json", "an event must be a JSON object") from error
    if not isinstance(content, dict):
        raise InvalidInput("not_json", "an event must be a JSON object")
    check_text(content)
    return content


def read_event(model: type[B], event: dict[str, Any]) -> B:
    """Validate an event of a client.

    Raises:
        InvalidInput: the event does not match ``model``.
    """
    try:
        return model.model_validate(event)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput("invalid", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def unknown_event(event: dict[str, Any]) -> InvalidInput:
    return InvalidInput("no_such_event", f"unknown event {event.get('event')!r}")
