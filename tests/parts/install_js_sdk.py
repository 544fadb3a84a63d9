"""Installs matrix-js-sdk for the tests, and a Node where there is none: ``python -m tests.parts.install_js_sdk``."""

from __future__ import annotations

import subprocess
import sys

from tests.parts.js_process import DIRECTORY, OLDEST_NODE
from web_build import install_packages, node_environment


def main() -> int:
    try:
        install_packages(DIRECTORY, node_environment(OLDEST_NODE))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"matrix-js-sdk: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
