"""Rows as dataclasses, without a database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, NewType, cast

from sqlalchemy.engine import Row

from daarion_appservice.storage.row_mapper import RowMapper

RecordId = NewType("RecordId", str)


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Record:
    id: RecordId
    color: Color
    other: Color | None
    size: int | None = None
    tags: tuple[str, ...] = ()


record = RowMapper(Record, tags=lambda row: tuple(row.tags.split()))


def row(**columns: Any) -> Row[Any]:
    return cast("Row[Any]", SimpleNamespace(**columns))


def test_row_maps_to_record_with_computed_fields() -> None:
    found = record(row(id="1", color="red", other="red", size=3, tags="a b"))
    assert found == Record(RecordId("1"), Color.RED, Color.RED, 3, ("a", "b"))
    assert isinstance(found.other, Color)


def test_null_stays_none() -> None:
    assert record(row(id="1", color="red", other=None, size=None, tags="")) == Record(RecordId("1"), Color.RED, None)


def test_values_leave_out_computed_fields() -> None:
    values = record.values(Record(RecordId("1"), Color.RED, None, 3, ("a",)))
    assert values == {"id": "1", "color": Color.RED, "other": None, "size": 3}


def test_field_takes_column_of_another_name() -> None:
    renamed = RowMapper(Record, {"color": "paint", "absent": "x"}, tags=lambda _: ())
    found = renamed(row(id="1", paint="red", other=None, size=3))
    assert found == Record(RecordId("1"), Color.RED, None, 3)
    assert renamed.values(found) == {"id": "1", "paint": Color.RED, "other": None, "size": 3}
