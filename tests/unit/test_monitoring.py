"""The dashboard and the alerts: their metrics exist, each alert has a runbook and tests, and promtool accepts them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from ruamel.yaml import YAML

from daarion_appservice.wiring import build_city
from docgen import metrics, pages

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "daarion.json").read_text())
ALERTS: dict[str, Any] = YAML(typ="safe").load(PROMETHEUS / "alerts.yaml")
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
RUNBOOK = (ROOT / "docs" / "how-to" / "alerts.md").read_text()

OF_PROMETHEUS = {"up", "ALERTS"}
OF_SCRAPE = {"job", "instance"}
"""Labels that Prometheus adds to each sample."""
_NAME = re.compile(r"\b(?:daarion|process)_[a-z_]+|\bup\b|\bALERTS\b")
_SELECTOR = re.compile(r"\b((?:daarion|process)_[a-z_]+)\{([^}]*)\}")
_SUFFIX = re.compile(r"_(bucket|count|sum)$")
_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> list[str]:
    """Every expression of the dashboard and of the alerts."""
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    annotations = [each["expr"] for each in DASHBOARD["annotations"]["list"] if "expr" in each]
    nested = [found for rule in RULES for found in re.findall(r'query "([^"]+)"', str(rule["annotations"]))]
    return queries + annotations + nested + [rule["expr"] for rule in RULES]


@pytest.fixture
async def registry() -> CollectorRegistry:
    """The metrics of a city that is built and does not run."""
    city = build_city(pages.settings())
    await city.close()
    return city.metrics


def labels_of(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Return the names of the labels of each metric, also of one without samples."""
    found: dict[str, set[str]] = {}
    for collector, names in registry._collector_to_names.items():
        if (own := getattr(collector, "_labelnames", None)) is not None:
            found |= {name: set(own) | {"le"} for name in names}
            continue
        for family in collector.collect():
            labels = {*getattr(family, "_labelnames", ()), *(each for one in family.samples for each in one.labels)}
            found |= {name: labels for name in names if name.removesuffix("_total") == family.name}
    return found


def test_expressions_use_only_exported_metrics(registry: CollectorRegistry) -> None:
    exported = set(metrics.exported(registry)) | OF_PROMETHEUS
    used = {_SUFFIX.sub("", name) for expression in expressions() for name in _NAME.findall(expression)}
    assert len(used) > 60
    assert {name for name in used if name not in exported} == set()


def test_expressions_use_only_labels_of_metrics(registry: CollectorRegistry) -> None:
    labels = labels_of(registry)
    wrong = {
        (name, label)
        for expression in expressions()
        for name, selector in _SELECTOR.findall(expression)
        for label in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", re.sub(r'"[^"]*"', '""', selector))
        if label not in labels[name] | OF_SCRAPE
    }
    assert wrong == set()


def test_dashboard_shows_every_area_of_metrics(registry: CollectorRegistry) -> None:
    """A metric that is in no panel is one that nobody sees; those of encryption have a panel of their own."""
    shown = {_SUFFIX.sub("", name) for expression in expressions() for name in _NAME.findall(expression)}
    hidden = {name for name in metrics.exported(registry) if name.startswith("daarion_")} - shown
    assert {name for name in hidden if not name.startswith("daarion_encryption_")} <= {
        "daarion_build_info",
        "daarion_homeserver_ping_last_timestamp_seconds",
        "daarion_transaction_size_bytes",
    }


def test_panels_have_places_and_descriptions() -> None:
    cells: Counter[tuple[int, int]] = Counter()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells.update(
            (place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])
        )
    assert cells.most_common(1)[0][1] == 1, "panels overlap"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}, panel["title"]


def test_each_alert_has_severity_summary_and_runbook() -> None:
    assert 15 <= len(RULES) <= 25
    sections = re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)
    assert sections == [rule["alert"] for rule in RULES], "the sections are in the order of the alerts"
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert len(rule["annotations"]["summary"]) > 20, rule["alert"]
        assert rule["annotations"]["runbook_url"] == f"docs/how-to/alerts.md#{rule['alert'].lower()}"


def test_each_runbook_says_meaning_and_commands() -> None:
    for section in RUNBOOK.split("\n## ")[1:]:
        assert "**Meaning:**" in section, section
        assert ("**Look at:**" in section and "**Type:**" in section) or "look at, and type" in section, section


def test_each_alert_is_tested_to_fire_and_not_to() -> None:
    tests = YAML(typ="safe").load(PROMETHEUS / "alerts_test.yaml")["tests"]
    fires, quiet = (
        {
            rule_test["alertname"]
            for test in tests
            for rule_test in test["alert_rule_test"]
            if bool(rule_test["exp_alerts"]) is is_firing
        }
        for is_firing in (True, False)
    )
    assert fires == quiet == {rule["alert"] for rule in RULES}


@_promtool
@pytest.mark.parametrize("arguments", [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]])
def test_promtool_accepts_alerts_and_their_tests(arguments: list[str]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@_promtool
def test_promtool_finds_no_fault_in_exposition(registry: CollectorRegistry) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
