"""Splits lists of parameters, because each database accepts at most 32,766 parameters in one statement."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final, TypeVar

_MOST: Final = 10_000

T = TypeVar("T")


def parts(parameters: Collection[T], size: int = _MOST) -> Iterator[list[T]]:
    """Yield the parameters in lists of ``size``, by default as many as fit into one statement."""
    remaining = iter(parameters)
    while part := list(islice(remaining, size)):
        yield part
