"""Web Push subscriptions of citizens (RFC 8030): URLs of push services, and the keys of the browsers behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .types import CitizenId

MAX_SUBSCRIPTIONS: Final = 10
"""Subscriptions of one citizen; a further one replaces the oldest."""
MAX_FAILURES: Final = 10
"""Failed pushes in sequence after which a subscription is deleted."""


@dataclass(frozen=True, slots=True)
class PushSubscription:
    """One browser of a citizen."""

    citizen: CitizenId
    endpoint: str
    """The URL of the browser at its push service."""
    p256dh: str
    """The browser's public key, an uncompressed point of P-256 in base64url."""
    auth: str
    """The browser's authentication secret, 16 bytes in base64url."""
    language: str
    """The language of the notifications, ``uk`` or ``en``."""
    updated_at_ms: int
    """The last time that the browser sent the subscription, in milliseconds since 1970."""
    failures: int = 0
    """Failed pushes since the last one that was accepted."""
