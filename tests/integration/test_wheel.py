"""The wheel contains every file that the service needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from daarion_appservice.storage import migrate

SOURCE = Path(__file__).parents[2]
PACKAGE = SOURCE / "daarion_appservice"
MIGRATIONS = SOURCE / "alembic"


def run(*command: str, cwd: Path, **environ: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DAARION_", "PYTHON"))}
    done = subprocess.run(
        command, cwd=cwd, env=clean | environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing of it stays in the source tree."""
    copy, target = tmp_path_factory.mktemp("source") / "tree", tmp_path_factory.mktemp("wheel")
    no_caches = shutil.ignore_patterns("__pycache__", "*.pyc")
    for folder in (PACKAGE, MIGRATIONS):
        shutil.copytree(folder, copy / folder.name, ignore=no_caches)
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(SOURCE / name, copy / name)
    (copy / "version.cfg").write_text("[egg_info]\ntag_build = +7.gabc1234\n")
    run(
        *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(target), "."),
        cwd=copy,
        DIST_EXTRA_CONFIG=str(copy / "version.cfg"),
    )
    (built,) = target.glob("*.whl")
    return built


def test_wheel_has_every_module(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"daarion_appservice/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*.py")}
    assert modules <= names, "setup.cfg lists the packages one by one"
    assert "daarion_appservice/py.typed" in names


def test_wheel_has_migrations(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if "migrations/" in name}
    expected = [path for path in MIGRATIONS.rglob("*") if path.suffix in {".py", ".mako"}]
    assert names == {f"daarion_appservice/migrations/{path.relative_to(MIGRATIONS).as_posix()}" for path in expected}
    assert {"env.py", "script.py.mako", "0001_the_city.py"} <= {path.name for path in expected}


def test_wheel_has_pages(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if "/web_dist/" in name}
    built = [path for path in (PACKAGE / "web_dist").rglob("*") if path.is_file()]
    assert names == {f"daarion_appservice/{path.relative_to(PACKAGE).as_posix()}" for path in built}
    assert {"index.html", "index.html.br", "index.html.gz"} <= {path.name for path in built}, "`make web` builds them"


def test_wheel_has_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"daarion_appservice"}


def test_version_contains_commit(wheel: Path, tmp_path: Path) -> None:
    """As ``make wheel`` builds it, so that ``pip install --upgrade`` replaces an older build of the same version."""
    assert wheel.name == "daarion_appservice-0.1.0+7.gabc1234-py3-none-any.whl"
    installed = tmp_path / "installed"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(installed), str(wheel), cwd=tmp_path)
    paths = os.pathsep.join([str(installed), sysconfig.get_path("purelib")])
    output = run(sys.executable, "-P", "-m", "daarion_appservice", "--version", cwd=tmp_path, PYTHONPATH=paths)
    assert output == "daarion-appservice 0.1.0+7.gabc1234\n"


def test_installed_wheel_creates_database(wheel: Path, tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(
        sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(installed), str(wheel), cwd=elsewhere
    )
    paths = os.pathsep.join([str(installed), sysconfig.get_path("purelib")])

    def command(*arguments: str) -> str:
        return run(sys.executable, "-P", *arguments, cwd=elsewhere, PYTHONPATH=paths)

    used = command("-c", "import daarion_appservice; print(daarion_appservice.__file__)")
    assert Path(used.strip()).is_relative_to(installed), "not the source tree's"
    command("-m", "daarion_appservice", "config", "generate")
    made = command("-m", "daarion_appservice", "db", "upgrade", "-c", "config.yaml")
    assert made == f"Made the database {elsewhere / 'daarion.db'} at revision {migrate.head()}.\n"
    assert (elsewhere / "daarion.db").exists()
