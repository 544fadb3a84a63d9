"""Becomes another program, one that the kernel kills when its parent dies (Linux).

    python -I -S die_with_parent.py <pid of the parent> <program> [argument ...]

A program of its own, and not a ``preexec_fn``: that would run between fork and exec of a process with threads, where a
lock held by one of them hangs the child for ever. Run by its path, with nothing imported: it costs a few milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked to be told
        sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main()
