"""One word, one thing: docs/glossary.md is short and names modules that exist, and no two classes have one name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
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


def test_a_public_class_name_is_given_once() -> None:
    modules: defaultdict[str, list[str]] = defaultdict(list)
    package = ROOT / "daarion_appservice"
    # The models of responses have the names of what they show, as `schemas.Room` of a `Room`.
    for file in set(package.rglob("*.py")) - set((package / "http" / "schemas").rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(str(file.relative_to(package)))
    assert len(modules) > 500
    assert {name: found for name, found in modules.items() if len(found) > 1} == {}
