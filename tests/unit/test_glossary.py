"""docs/glossary.md: at most 40 terms in alphabetical order, and each names modules that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in (ROOT / "docs" / "glossary.md").read_text().splitlines()
    if line.startswith("| ") and "---" not in line
][1:]


def test_glossary_is_short_and_sorted() -> None:
    terms = [row[0] for row in ROWS]
    assert 20 <= len(terms) <= 40
    assert terms == sorted(terms, key=str.lower)


def test_glossary_names_existing_modules() -> None:
    paths = [path for row in ROWS for path in re.findall(r"`([^`]+)`", row[2])]
    assert len(paths) >= len(ROWS)
    assert [path for path in paths if not (ROOT / "daarion_appservice" / path).exists()] == []
