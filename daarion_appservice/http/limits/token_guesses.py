"""Limits the wrong tokens of an address, so that tokens cannot be guessed."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import jwt

from ...errors import Unauthenticated
from .rates import Rate, RateLimiter

_MAX_TOKENS: Final = 10_000


class TokenGuesses:
    """Counts the different wrong tokens of each address.

    A client that repeats a wrong token is not guessing, nor is one whose token has expired: pages that stay open overnight
    send such tokens.
    """

    def __init__(self, rates: RateLimiter) -> None:
        self._rates = rates
        self._recent: OrderedDict[int, None] = OrderedDict()
        """Hashes of the last wrong tokens with their keys."""

    def check(self, key: str) -> None:
        """Check the limit before a token is looked up; no I/O.

        Args:
            key: the key of the address.

        Raises:
            TooManyRequests: the address sent too many different wrong tokens.
        """
        self._rates.check(Rate.WRONG_TOKENS, key)

    async def count(self, key: str, token: str, error: Unauthenticated) -> None:
        """Count a wrong token.

        Args:
            key: the key of the address.
            error: why it is wrong.

        Raises:
            TooManyRequests: the address sent too many different wrong tokens.
        """
        if _may_be_guessed(error) and self._is_new(key, token):
            await self._rates.count(Rate.WRONG_TOKENS, key)

    def _is_new(self, key: str, token: str) -> bool:
        entry = hash((token, key))
        is_new = entry not in self._recent
        self._recent[entry] = None
        self._recent.move_to_end(entry)
        if len(self._recent) > _MAX_TOKENS:
            self._recent.popitem(last=False)
        return is_new


def _may_be_guessed(error: Unauthenticated) -> bool:
    return error.code == "token_invalid" and not isinstance(error.__cause__, jwt.ExpiredSignatureError)
