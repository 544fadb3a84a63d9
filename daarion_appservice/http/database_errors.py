"""Translates the errors of an unavailable database into ``Unavailable``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..errors import DatabaseUnavailable, Unavailable

DATABASE_UNAVAILABLE: Final = "the database does not respond; try again"


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Translate database errors raised in the block, for code outside of plain HTTP requests such as WebSockets.

    Raises:
        Unavailable: the database does not respond; the same request may succeed later. Other errors pass unchanged.
    """
    try:
        yield
    except DatabaseUnavailable as error:
        raise Unavailable("database_unavailable", DATABASE_UNAVAILABLE) from error
