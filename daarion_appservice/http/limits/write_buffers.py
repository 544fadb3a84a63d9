"""Selects the connections to abort when peers that do not read their responses fill too much memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class WriteBuffer(Generic[C]):
    """The write buffer of one connection."""

    size: int
    """In bytes."""
    client: str | None
    """The address that its response is counted for; None is counted only in the total."""
    connection: C


def buffers_to_abort(buffers: Iterable[WriteBuffer[C]], *, per_address: int, in_all: int) -> Iterator[WriteBuffer[C]]:
    """Yield the largest buffers until each address and the total are within their limits.

    Args:
        buffers: the buffers that are not empty.
        per_address: the limit of one address in bytes; 0 for no limit.
        in_all: the limit of the total in bytes; 0 for no limit.
    """
    largest_first = sorted(buffers, key=lambda each: each.size, reverse=True)
    total = sum(each.size for each in largest_first)
    by_client: Counter[str | None] = Counter()
    for each in largest_first:
        by_client[each.client] += each.size
    for each in largest_first:
        is_client_over = each.client is not None and 0 < per_address < by_client[each.client]
        if is_client_over or 0 < in_all < total:
            total -= each.size
            by_client[each.client] -= each.size
            yield each
