"""The GitHub workflow runs what setup.cfg promises: each Python version, and the lowest versions of the libraries."""

import configparser
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
JOBS: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github/workflows/tests.yml")["jobs"]


def _commands(job: str) -> list[str]:
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


def test_workflow_tests_each_python_of_setup_cfg() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    versions = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert JOBS["test"]["strategy"]["matrix"]["python"] == versions
    assert _commands("test") == [".ci/run"]


def test_workflow_tests_the_lowest_versions() -> None:
    assert _commands("lowest") == ["make lowest"]
    assert re.search(r"^lowest:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
