"""Translates the homeserver's errors of a client's request into errors of the city."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ...errors import (
    CityError,
    HomeserverRateLimited,
    HomeserverRefused,
    HomeserverUnavailable,
    TooManyRequests,
    Unavailable,
)

RETRY_S: Final = 5.0
"""``Retry-After`` when the homeserver does not respond, in seconds."""


@contextmanager
def translate_homeserver_errors(
    refusal: Callable[[HomeserverRefused], CityError], *, unavailable: str, rate_limited: str
) -> Iterator[None]:
    """Translate errors of the homeserver that are raised in the block.

    Args:
        refusal: returns the error for a refusal that is no rate limit.
        unavailable: the text for a homeserver that does not respond.
        rate_limited: the text for a rate limit of the homeserver.

    Raises:
        CityError: the translated error.
    """
    try:
        yield
    except HomeserverUnavailable as error:
        raise Unavailable("homeserver_unavailable", unavailable, retry_after_s=RETRY_S) from error
    except HomeserverRateLimited as error:
        raise TooManyRequests(rate_limited, retry_after_s=error.retry_after_ms / 1000) from error
    except HomeserverRefused as error:
        raise refusal(error) from error
