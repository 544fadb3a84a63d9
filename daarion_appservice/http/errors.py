"""Translates errors of a database that does not answer: the same request succeeds later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from ..errors import Unavailable
from ..storage.availability import is_database_unavailable


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Outside of plain requests: what was asked for will do later, and is no fault of ours. Raises Unavailable then."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        if is_database_unavailable(error):
            raise Unavailable("database_away", "the city's database does not answer; try again") from error
        raise
