"""Finds a Chromium for the tests, and gets one where there is none: ``python -m tests.parts.install_browser``.

From Debian's packages where we may install them (with the headless shell, if it has one), else from npm's
``@sparticuz/chromium`` into the virtual environment. Does nothing when one is there, or when ALLOW_NO_BROWSER=1 says that
tests may go without.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from web_build import node_environment

NONE_FOUND: Final = (
    "no Chromium: `make browser` gets one, CHROMIUM=/path/to/it names one, ALLOW_NO_BROWSER=1 skips tests in a browser"
)

_HEADLESS: Final = "chromium-headless-shell"
"""Chromium without its windows and settings: a page costs half the CPU time."""

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OWN: Final = Path(sys.prefix) / "chromium"
"""In the virtual environment, so that both are removed together."""
_OWN_COMMAND: Final = _OWN / "chromium.sh"

_UNPACK: Final = 'import chromium from "@sparticuz/chromium"; console.log(await chromium.executablePath());'
_COMMAND: Final = """#!/bin/sh
# Its own libraries last: a machine that has them has newer ones.
LD_LIBRARY_PATH="$LD_LIBRARY_PATH:{folder}/al2023/lib" exec {folder}/chromium "$@"
"""


@functools.cache
def find_browser(*, is_complete: bool) -> str | None:
    """Return the command of a Chromium that works; the headless shell if there is one, unless it must be complete."""
    return next((command for command in _candidates(is_complete=is_complete) if _works(command)), None)


def may_do_without() -> bool:
    return os.environ.get("ALLOW_NO_BROWSER") == "1"


def _candidates(*, is_complete: bool) -> Iterator[str]:
    if named := os.environ.get("CHROMIUM"):
        yield named
        return
    yield from filter(None, map(shutil.which, _NAMES if is_complete else (_HEADLESS, *_NAMES)))
    if _OWN_COMMAND.exists():
        yield str(_OWN_COMMAND)


def _works(command: str) -> bool:
    """Ubuntu's chromium-browser, for one, may be a script that only says where else to get it."""
    try:
        answer = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return "Chrom" in answer.stdout


def main() -> int:
    if find_browser(is_complete=True) or may_do_without():
        return 0
    for get in (_from_debian, _from_npm):
        try:
            get()
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{get.__name__.removeprefix('_from_')}: {error}", file=sys.stderr)  # noqa: T201
        find_browser.cache_clear()
        if find_browser(is_complete=True):
            return 0
    print(NONE_FOUND, file=sys.stderr)  # noqa: T201
    return 1


def _from_debian() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    quietly = {"DEBIAN_FRONTEND": "noninteractive"}
    apt_get = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    _run([*apt_get, "update"], quietly)
    install = [*apt_get, "install", "-y", "--no-install-recommends"]
    try:
        _run([*install, "chromium", _HEADLESS], quietly)
    except subprocess.SubprocessError:  # an older release has no such package
        _run([*install, "chromium"], quietly)


def _from_npm() -> None:
    node = node_environment()
    _OWN.mkdir(exist_ok=True)
    _run(
        ["npm", "install", "--prefix", str(_OWN), "--ignore-scripts", "--no-audit", "--no-fund", "@sparticuz/chromium"],
        node,
    )
    (_OWN / "unpack.mjs").write_text(_UNPACK)
    # It unpacks into the temporary folder, and libraries for poor machines only where it takes itself to be on one.
    _run(["node", str(_OWN / "unpack.mjs")], node | {"TMPDIR": str(_OWN), "AWS_EXECUTION_ENV": "nodejs22.x"})
    _OWN_COMMAND.write_text(_COMMAND.format(folder=_OWN))
    _OWN_COMMAND.chmod(0o755)


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    subprocess.run(command, env=os.environ | environment, stdout=subprocess.DEVNULL, check=True, timeout=600)


if __name__ == "__main__":
    sys.exit(main())
