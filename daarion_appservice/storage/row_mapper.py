"""Conversion between rows and frozen dataclasses whose fields have the names of the columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from sqlalchemy.engine import Row

T = TypeVar("T")


class RowMapper(Generic[T]):
    """Builds objects of one dataclass from rows.

    Enumerations are converted by their values; text, numbers and ``NewType`` are taken as they are.

    Args:
        record: the dataclass.
        computed: for each field that is no column, or needs a conversion, a function of the row.
    """

    def __init__(self, record: type[T], **computed: Callable[[Row[Any]], Any]) -> None:
        hints = get_type_hints(record)
        names = [field.name for field in fields(record)]  # type: ignore[arg-type] # `T` is a dataclass
        self._record = record
        self._columns = tuple(name for name in names if name not in computed)
        self._readers = [computed.get(name) or _reader(name, hints[name]) for name in names]

    def __call__(self, row: Row[Any]) -> T:
        return self._record(*[read(row) for read in self._readers])

    def values(self, record: T) -> dict[str, Any]:
        """Return the columns of an object without the computed fields."""
        return {name: getattr(record, name) for name in self._columns}


def _reader(name: str, hint: Any) -> Callable[[Row[Any]], Any]:
    value = attrgetter(name)
    types = [each for each in (hint, *get_args(hint)) if isinstance(each, type) and issubclass(each, Enum)]
    if not types:
        return value
    kind = types[0]

    def read(row: Row[Any]) -> Any:
        stored = value(row)
        return None if stored is None else kind(stored)

    return read
