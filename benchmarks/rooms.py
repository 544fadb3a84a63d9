"""Measure rooms: transactions, delivery, reads and encrypted chats; write the tables of docs/reference/benchmarks.md.

Usage: ``python -m benchmarks.rooms [--quick] [--only transactions|delivery|reads|encryption]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from . import command, rooms_delivery, rooms_encryption, rooms_reads, rooms_transactions

Rows = list[dict[str, Any]]

_LIBRARIES: Final = (
    "aiohttp", "uvloop", "sqlalchemy", "asyncpg", "mautrix", "matrix-synapse", "matrix-nio", "vodozemac", "fastapi", "uvicorn",
)  # fmt: skip


async def _transactions(directory: Path, quick: bool) -> Rows:
    return await rooms_transactions.measure(rooms_transactions.QUICK if quick else rooms_transactions.Plan(), directory)


async def _delivery(directory: Path, quick: bool) -> Rows:
    return await rooms_delivery.measure(rooms_delivery.QUICK if quick else rooms_delivery.Plan(), directory)


async def _reads(directory: Path, quick: bool) -> Rows:
    return await rooms_reads.measure(rooms_reads.QUICK if quick else rooms_reads.Plan(), directory)


async def _encryption(directory: Path, quick: bool) -> Rows:
    return await rooms_encryption.measure(rooms_encryption.QUICK if quick else rooms_encryption.Plan(), directory)


def main() -> None:
    parts = {
        "transactions": {"transactions": _transactions},
        "delivery": {"delivery": _delivery},
        "reads": {"reads": _reads},
        "encryption": {"encryption": _encryption},
    }
    command.main("rooms", parts, _LIBRARIES)


if __name__ == "__main__":
    main()
