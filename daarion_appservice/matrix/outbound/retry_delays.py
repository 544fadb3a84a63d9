"""The retry delays of outbox entries by the cause of the failure, and how many attempts an entry has."""

from __future__ import annotations

from typing import Final

MAX_ATTEMPTS: Final = 8
FIRST_MS: Final = 500
"""The base of the delays that double: see `attempt_delay_ms`."""
UNLINKED_MS: Final = 1_000
"""The delay of an entry whose room is not linked yet."""
BROKEN_LINK_MS: Final = 1_000
"""The delay until the reconciler has corrected the link of the room."""
UNAVAILABLE_MS: Final = 1_000
"""The delay after an entry that got no response; while the homeserver counts as lost, lanes wait in any case."""
REFUSED_MS: Final = 10_000
"""The delay after the homeserver refused the service's token, or also another request for the room."""
MIN_RATE_LIMITED_MS: Final = 1_000
"""The minimum delay after a 429 response, which `rate_limited: false` in the registration prevents."""
UNEXPECTED_ERROR_MS: Final = 10_000
"""The delay of a room after an unexpected error."""


def attempt_delay_ms(attempts: int) -> int | None:
    """Return the delay (ms) after an attempt that failed; None if the entry is given up.

    The first retry is immediate, the second comes after ``FIRST_MS``, and each further one after about twice the previous
    delay: an entry is given up after a minute. Attempts during an outage do not count.

    Args:
        attempts: the number of attempts of the entry that failed, at least 1.
    """
    return FIRST_MS * (2 ** (attempts - 1) - 1) if attempts < MAX_ATTEMPTS else None
