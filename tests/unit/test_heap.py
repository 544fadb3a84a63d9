"""Freed memory is returned to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_USE_AND_FREE = """
from pathlib import Path
from daarion_appservice.ops.heap import bound_heap

def resident_kb():
    return int(next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS")).split()[1])

bound_heap()
warm = bytearray(8 << 20)
del warm  # by default glibc takes blocks up to this size from the heap from now on
before = resident_kb()
large = [(b"x" * (1 << 20), bytes(200_000)) for _ in range(64)]
kept = [pair[1] for pair in large[-1:]]
del large
print(resident_kb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_large_blocks_leave_resident_set() -> None:
    grown = subprocess.run([sys.executable, "-c", _USE_AND_FREE], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 4 * 1024
