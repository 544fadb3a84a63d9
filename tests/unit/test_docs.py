"""Documentation: the index, links, modules, dependencies, and files for deployment."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

import pytest
from aiohttp import web

from daarion_appservice.errors import ExitCode

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BUNDLER = {"vite", "@vitejs/plugin-react"}
"""Dependencies in package.json: `npm ci --omit=dev` installs what the build of a package needs."""
_OF_PAGES = "## For the pages"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "synapse_module" / "README.md"])


def text(name: str) -> str:
    return (DOCS / name).read_text()


def in_first_column(page: str) -> set[str]:
    """What stands in backticks in the first column of the page's tables."""
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("|")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


# --- the index and the drawings -----------------------------------------------------------------------


def test_index_links_every_page() -> None:
    index = text("README.md")
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_journeys_name_existing_modules() -> None:
    page = text("explanation/architecture.md")
    table = page.partition("## Four journeys")[2].partition("\n### ")[0]
    modules = [module for name in re.findall(r"`([^`]+)`", table) for module in expand(name)]
    assert len(modules) > 30
    assert [module for module in modules if not (ROOT / "daarion_appservice" / f"{module}.py").exists()] == []


def expand(name: str) -> list[str]:
    """The paths that ``a/{b,c}`` abbreviates."""
    before, brace, rest = name.partition("{")
    return [before + each for each in rest.rstrip("}").split(",")] if brace else [name]


def app_of(listener: object) -> web.Application:
    runner = vars(listener)["_runner"]
    assert isinstance(runner, web.AppRunner)
    return runner.app


# --- docs/explanation/dependencies.md -----------------------------------------------------------------


def test_every_dependency_is_explained_and_no_other() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    named = {re.split(r"[ <>=!~;]", line)[0] for each in lists for line in each.split("\n") if line.strip()}
    named |= set(json.loads((ROOT / "tests/parts/js_sdk/package.json").read_text())["dependencies"])
    assert in_first_column(text("explanation/dependencies.md").partition(_OF_PAGES)[0]) == named


def test_docs_list_exactly_the_page_dependencies() -> None:
    package = json.loads((ROOT / "web" / "package.json").read_text())
    for_run, _, for_build = (
        text("explanation/dependencies.md").partition(_OF_PAGES)[2].partition("| library of the build |")
    )
    assert in_first_column(for_run) == set(package["dependencies"]) - BUNDLER
    assert in_first_column(for_build) == set(package["devDependencies"]) | BUNDLER


# --- all pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, section = link.partition("#")
        if "://" in link:
            continue
        target = page.parent / name if name else page
        if not target.exists() or (section and section not in sections(target)):
            dead.append(link)
    assert dead == []


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and others make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- deploy/ ------------------------------------------------------------------------------------------


def test_systemd_unit_has_exit_codes() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "deploy/daarion-appservice.service")
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert "daarion-appservice run -c" in unit["Service"]["ExecStart"]
    prevented = {ExitCode(int(code)) for code in unit["Service"]["RestartPreventExitStatus"].split()}
    assert prevented == {ExitCode.USAGE, ExitCode.CONFIG, ExitCode.REGISTRATION}


def test_systemd_unit_watches_event_loop() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(ROOT / "deploy/daarion-appservice.service")
    assert (unit["Service"]["Type"], unit["Service"]["NotifyAccess"]) == ("notify", "main")
    assert int(unit["Service"]["WatchdogSec"]) >= 20, "a busy machine is not a blocked event loop"
    assert unit["Service"]["Restart"] == "on-failure", "which includes the watchdog"
