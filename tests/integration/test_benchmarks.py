"""The benchmarks still run, and their peers still do what they stand for; figures so small mean nothing and are not looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import fanout, heartbeats, report, store


async def test_everybody_is_told_of_every_change(tmp_path: Path) -> None:
    plan = fanout.Plan(sockets=(10,), lone_changes=2, churn_s=0.2, rounds=1, catch_up_s=60.0)
    rows = await fanout.measure(plan, tmp_path)
    assert {row["who"] for row in rows} == {"city", "city_batch", "seeds", "socketio", "floor"}
    assert [row["who"] for row in rows if row["undelivered"] or row["fell_behind"]] == []
    assert report.render("fanout", rows).count("\n") == len(rows) + 1


async def test_every_way_in_takes_heartbeats(tmp_path: Path) -> None:
    plan = heartbeats.Plan(subjects=(100,), sockets=10, window_s=0.1, rounds=1)
    rows = await heartbeats.measure(plan, tmp_path)
    assert {row["way"] for row in rows if row["who"] == "city"} == {"bulk", "singles", "frames"}
    assert all(row["per_s"] > 0 for row in rows)
    assert report.render("heartbeats", rows).count("\n") == len(rows) + 1


async def test_the_stores_are_measured_alone(tmp_path: Path) -> None:
    rows = await store.measure(store.Plan(subjects=(100,), beats=100), tmp_path)
    assert [row["store"] for row in rows] == ["machine", "memory", "redis"]
    assert report.render("store", rows).count("\n") == len(rows) + 1


def test_the_page_has_a_place_for_every_table() -> None:
    page = report.PAGE.read_text()
    for section in ("heartbeats", "store", "fanout", "ghosts"):
        once = report.replaced(page, section, "a table")
        assert "\na table\n" in once
        assert report.replaced(once, section, "a table") == once
    with pytest.raises(ValueError, match="no place"):
        report.replaced(page, "something else", "a table")
