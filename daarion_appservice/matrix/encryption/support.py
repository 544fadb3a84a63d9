"""Whether the service encrypts: by its configuration, and by what the homeserver lets application services do."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import structlog

from ...encryption.primitives import PickleKey
from ...errors import HomeserverRefused
from ..client.refusals import is_key_clash, is_transient, is_unregistered

_UNSUPPORTED: Final = frozenset(
    {"M_UNKNOWN", "M_UNRECOGNIZED", "M_NOT_FOUND", "M_MISSING_PARAM", "M_FORBIDDEN", "M_UNKNOWN_DEVICE"}
)
"""The errcodes of a homeserver that takes no keys of a ghost: Synapse before 1.141 wants a ``device_id`` of a token."""

UNREADABLE: Final = "unreadable"
"""The ``client_id`` of an agent's notice that it cannot read an encrypted chat, by which it is sent only once. No other
message is ever sent in clear into a chat that is or was encrypted."""

log = structlog.get_logger()


class SupportState(StrEnum):
    """The state of encryption."""

    OFF = "off"
    """The configuration turns it off."""
    UNKNOWN = "unknown"
    """No ghost has uploaded keys since the start."""
    READY = "ready"
    REFUSED = "refused"
    """The homeserver refused the keys of a ghost."""


class EncryptionSupport:
    """The state of encryption in this process; the homeserver is asked again at each start.

    Args:
        key: the key for the pickles; None turns encryption off.
    """

    def __init__(self, key: PickleKey | None) -> None:
        self._key = key
        self._state = SupportState.OFF if key is None else SupportState.UNKNOWN
        self.refusal: str | None = None
        """The homeserver's reason in the state `SupportState.REFUSED`."""

    @property
    def state(self) -> SupportState:
        """The state now."""
        return self._state

    @property
    def is_active(self) -> bool:
        """Whether ghosts have keys, read encrypted chats and encrypt there."""
        return self._state in {SupportState.UNKNOWN, SupportState.READY}

    @property
    def key(self) -> PickleKey:
        """The key for the pickles, while encryption `is_active`."""
        assert self._key is not None
        return self._key

    def mark_ready(self) -> None:
        """Record that the homeserver accepted the keys of a ghost."""
        self._state = SupportState.READY

    def reconsider(self) -> None:
        """Ask the homeserver again: it may be another version since it returned."""
        if self._state is SupportState.REFUSED:
            self._state, self.refusal = SupportState.UNKNOWN, None

    def record_refusal(self, error: HomeserverRefused) -> bool:
        """Turn encryption off if a refusal means that the homeserver takes no keys of ghosts.

        Returns:
            False if the refusal concerns one ghost or may pass.
        """
        if is_transient(error) or is_unregistered(error) or is_key_clash(error) or error.errcode not in _UNSUPPORTED:
            return False
        if self._state is SupportState.UNKNOWN:
            self._state, self.refusal = SupportState.REFUSED, str(error)
            log.warning(
                "encryption_unsupported",
                error=str(error),
                help="this homeserver takes no device keys of application services (Synapse 1.141 and later do): agents "
                "cannot read encrypted chats and say so there",
            )
        return self._state is SupportState.REFUSED
