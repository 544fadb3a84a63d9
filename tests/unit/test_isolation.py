"""A unit of work that raises something unexpected fails alone; what concerns the whole task is raised."""

from __future__ import annotations

import pytest

from daarion_appservice.errors import DatabaseError, HomeserverUnavailable
from daarion_appservice.realtime.isolation import UNITS_FAILED, isolated


def failed(task: str) -> float:
    samples = [sample for metric in UNITS_FAILED.collect() for sample in metric.samples]
    return sum(each.value for each in samples if each.name.endswith("_total") and each.labels == {"task": task})


@pytest.mark.parametrize("error", [TypeError("poison"), KeyError("event_id"), RecursionError(), UnicodeError()])
def test_unexpected_unit_error_is_counted(error: Exception) -> None:
    before, done = failed("sweep"), []
    for unit in ("!bad", "!good"):
        with isolated("sweep", unit):
            if unit == "!bad":
                raise error
            done.append(unit)
    assert (done, failed("sweep") - before) == (["!good"], 1)


@pytest.mark.parametrize("error", [HomeserverUnavailable("away"), DatabaseError("away")])
def test_error_of_the_whole_task_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)), isolated("sweep", "!room"):
        raise error
