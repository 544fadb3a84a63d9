"""Replaces itself by another program, which the kernel kills when its parent dies (Linux).

    python -I -S die_with_parent.py <pid of the parent> <program> [argument ...]

This is a program of its own instead of a ``preexec_fn``, which would run between fork and exec of a process with
threads, where a lock held by one of them blocks the child forever. It is run by its path without imports of the
package, which takes a few milliseconds.
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
    if os.getppid() != parent:  # the parent died before the call of prctl
        sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main()
