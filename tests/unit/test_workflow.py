"""The GitHub workflows: the tests of what setup.cfg promises, and the packages of a release."""

import configparser
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
JOBS: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github/workflows/tests.yml")["jobs"]
PACKAGE: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github/workflows/package.yml")


def _commands(job: str, jobs: dict[str, Any] = JOBS) -> list[str]:
    return [step["run"] for step in jobs[job]["steps"] if "run" in step]


def test_workflow_tests_each_python_of_setup_cfg() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    versions = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert JOBS["test"]["strategy"]["matrix"]["python"] == versions
    assert _commands("test") == [".ci/run"]


def test_workflow_tests_the_lowest_versions() -> None:
    assert _commands("lowest") == ["make lowest"]
    assert re.search(r"^lowest:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_workflow_runs_the_tests_of_alerts() -> None:
    _, *promtool = _commands("alerts")
    assert [command.split()[:3] for command in promtool] == [
        ["promtool", "check", "rules"],
        ["promtool", "test", "rules"],
    ]
    assert all((ROOT / command.split()[3]).exists() for command in promtool)


def test_package_workflow_builds_wheel_as_the_docs_do() -> None:
    commands = _commands("wheel", PACKAGE["jobs"])
    assert commands[0].startswith("make wheel ")
    assert "-c constraints.txt" in commands[1], "the versions that were tested"
    checkout = PACKAGE["jobs"]["wheel"]["steps"][0]
    assert checkout["with"]["fetch-depth"] == 0, "the version counts the commits"


def test_package_workflow_has_known_build_arguments() -> None:
    builds = [
        step["with"]["build-args"] for step in PACKAGE["jobs"]["image"]["steps"] if "build-args" in step.get("with", {})
    ]
    assert len(builds) == 2
    assert all(build.startswith("BUILD_TAG=") for build in builds)
    assert "ARG BUILD_TAG" in (ROOT / "Dockerfile").read_text("utf-8")
    assert re.search(r"^build-tag:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_release_waits_for_every_package() -> None:
    jobs = PACKAGE["jobs"]
    assert set(jobs["release"]["needs"]) == set(jobs) - {"release"}
    assert jobs["release"]["if"] == "github.ref_type == 'tag'"


def test_only_the_jobs_that_publish_may_write() -> None:
    assert PACKAGE["permissions"] == {"contents": "read"}
    granted = {name: job["permissions"] for name, job in PACKAGE["jobs"].items() if "permissions" in job}
    assert granted == {"image": {"contents": "read", "packages": "write"}, "release": {"contents": "write"}}


def test_dockerfile_copies_what_dockerignore_admits() -> None:
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert {name.split("/")[0] for line in copies for name in line.split()} <= admitted
