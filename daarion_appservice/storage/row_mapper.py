"""Conversion between rows and frozen dataclasses whose fields have the names of the columns, or are mapped to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar, get_args, get_type_hints

from sqlalchemy.engine import Row

T = TypeVar("T")
_SAME_NAMES: Final[Mapping[str, str]] = MappingProxyType({})


class RowMapper(Generic[T]):
    """Builds objects of one dataclass from rows.

    Enumerations are converted by their values; text, numbers and ``NewType`` are taken as they are.

    Args:
        record: the dataclass.
        columns: the columns of fields whose column has another name; names that no field has are ignored.
        computed: for each field that is not a column, or needs a conversion, a function of the row.
    """

    def __init__(
        self, record: type[T], columns: Mapping[str, str] = _SAME_NAMES, /, **computed: Callable[[Row[Any]], Any]
    ) -> None:
        hints = get_type_hints(record)
        names = [field.name for field in fields(record)]  # type: ignore[arg-type] # `T` is a dataclass
        self._record = record
        self._columns = {name: columns.get(name, name) for name in names if name not in computed}
        self._readers = [computed.get(name) or _reader(columns.get(name, name), hints[name]) for name in names]

    def __call__(self, row: Row[Any]) -> T:
        return self._record(*[read(row) for read in self._readers])

    def values(self, record: T) -> dict[str, Any]:
        """Return the columns of an object without the computed fields."""
        return {column: getattr(record, name) for name, column in self._columns.items()}


def _reader(column: str, hint: Any) -> Callable[[Row[Any]], Any]:
    value = attrgetter(column)
    types = [each for each in (hint, *get_args(hint)) if isinstance(each, type) and issubclass(each, Enum)]
    if not types:
        return value
    kind = types[0]

    def read(row: Row[Any]) -> Any:
        stored = value(row)
        return None if stored is None else kind(stored)

    return read
