"""The comparison of two revisions reads the tables of the benchmarks and divides the medians."""

from __future__ import annotations

from benchmarks.compare import Table, ratios, tables

OUTPUT = """
reads, 9 s

| route | messages/s meanwhile | server | requests/s | core | kept up |
| --- | --- | --- | --- | --- | --- |
| `GET /city/rooms` | 0 | this service | 5,262 | 98% | yes |
| `GET /city/rooms` | 10 | FastAPI | {requests} | 50% | no |

more
"""


def _read(requests: str) -> Table:
    (table,) = tables(OUTPUT.format(requests=requests))
    return table


def test_tables_of_output_are_read() -> None:
    table = _read("1,000")
    assert table.columns == ["route", "messages/s meanwhile", "server", "requests/s", "core", "kept up"]
    assert [row[3] for row in table.rows] == ["5,262", "1,000"]
    assert table.labels == 3


def test_ratio_is_of_medians() -> None:
    ours = [_read(each) for each in ("3,000", "1,000", "2,000")]
    theirs = [_read(each) for each in ("500", "9,000", "1,000")]
    assert ratios(ours, theirs) == [
        ("`GET /city/rooms` · 0 · this service", "requests/s", 1.0),
        ("`GET /city/rooms` · 0 · this service", "core", 1.0),
        ("`GET /city/rooms` · 10 · FastAPI", "requests/s", 2.0),
        ("`GET /city/rooms` · 10 · FastAPI", "core", 1.0),
    ]


def test_missing_figure_has_no_ratio() -> None:
    assert [column for _, column, _ in ratios([_read("1")], [_read("")])].count("requests/s") == 1
