"""The counts of the fault tests."""

from __future__ import annotations

import pytest

from tests.parts.tally import tally


def spoken(*bodies: str) -> list[tuple[str, str]]:
    return [("@alice:x", body) for body in bodies]


@pytest.mark.parametrize(
    ("found", "lost", "doubled", "misordered"),
    [
        ("abcd", "", "", ""),
        ("abc", "d", "", ""),
        ("abccd", "", "c", ""),
        ("dabc", "", "", "a"),
        ("bcda", "", "", "a"),
        ("abxcd", "", "", ""),
        ("", "abcd", "", ""),
    ],
)
def test_tally_names_lost_doubled_and_misordered(found: str, lost: str, doubled: str, misordered: str) -> None:
    counted = tally(spoken(*"abcd"), spoken(*found))
    assert counted.lost == spoken(*lost)
    assert counted.doubled == spoken(*doubled)
    assert counted.misordered == spoken(*misordered)
    assert counted.is_clean == (not lost + doubled + misordered)
