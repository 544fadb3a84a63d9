"""Write the generated files into the repository at the current directory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from . import pages


def main() -> None:
    root = Path.cwd()
    for name, text in asyncio.run(pages.generate()).items():
        (root / name).write_text(text)
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
