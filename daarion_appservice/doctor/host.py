"""Checks of the machine: Python, open files, disk space."""

from __future__ import annotations

import resource
import sys
from typing import Final

from ..storage.disk_space import DiskSpace
from .checks import check
from .findings import Finding, failed, passed, skipped, warning
from .installation import Installation
from .service import service_metrics

_OLDEST_PYTHON: Final = (3, 11)
_FIXED_PYTHON: Final = (3, 11, 4)
"""Before this version, ``except*`` re-raises an ExceptionGroup (python/cpython#103590): errors at the start of a program may be
printed as tracebacks."""
_FEW_FILES: Final = 4096
"""Open files of fewer connections than a city of a thousand people has, with their agents."""

_MUCH_USED: Final = 0.8
_RAISE_LIMIT: Final = "Raise the limit: LimitNOFILE=65536 in the systemd unit, --ulimit nofile=65536 in Docker."


@check(symptoms=("The service does not start and prints a traceback.",))
async def python_version(_installation: Installation) -> Finding:
    """The version of Python is supported.

    Warns before 3.11.4, fails before 3.11.
    """
    return judge_python(sys.version_info[:3])


def judge_python(version: tuple[int, ...]) -> Finding:
    """Judge a version of Python, as major, minor and micro."""
    name = ".".join(map(str, version))
    if version < _OLDEST_PYTHON:
        return failed(f"Python {name} is too old.", "Install Python 3.11 or later, and the service again with it.")
    if version < _FIXED_PYTHON:
        return warning(
            f"Python {name} prints some errors as tracebacks (python/cpython#103590).",
            "Use Python 3.11.4 or later if the system offers one.",
        )
    return passed(f"Python {name}")


@check(needs=("config",), symptoms=("Browsers and agents cannot connect while many others are connected.",))
async def open_files(installation: Installation) -> Finding:
    """A process may open enough files: each connection is one.

    Asks the running service for its limit and its open files, and warns if more than 80 % of the limit are used. If it does
    not run, looks at the hard limit of the doctor, to which the service raises its own; a unit or container has a limit of its
    own. Warns of a limit below 4,096.
    """
    metrics = await service_metrics(installation)
    if {"process_max_fds", "process_open_fds"} <= set(metrics):
        return judge_open_files(int(metrics["process_max_fds"]), int(metrics["process_open_fds"]))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judge_open_files(hard if hard != resource.RLIM_INFINITY else sys.maxsize)


def judge_open_files(limit: int, used: int = 0) -> Finding:
    """Judge the number of files that a process may open, and how many it has open."""
    if limit < _FEW_FILES:
        return warning(f"A process may open {limit} files, and so have fewer connections.", _RAISE_LIMIT)
    if used > limit * _MUCH_USED:
        return warning(f"The service has {used} of {limit} files open.", _RAISE_LIMIT)
    return passed("Not limited" if limit == sys.maxsize else f"{limit} files")


@check(
    needs=("config",),
    symptoms=("Messages are not accepted, and the log says that the disk is full.",),
)
async def disk_space(installation: Installation) -> Finding:
    """The file system of the SQLite database has free space.

    Warns below 1 GiB and fails below 64 MiB. The disk of a PostgreSQL cannot be seen from here.
    """
    if (file := installation.database_file) is None:
        return skipped("The database is a PostgreSQL, whose disk cannot be seen from here.")
    return judge_disk(DiskSpace.of(file))


def judge_disk(disk: DiskSpace) -> Finding:
    """Judge the file system of the database."""
    if disk.problem is not None:
        return failed(
            f"{disk.problem}.",
            "Make room there, or let the user of the service read and write that directory: the database takes no writes.",
        )
    if disk.is_low:
        return warning(f"{disk.described}.", "Make room there before the disk is full.")
    return passed(f"{disk.described}.")


CHECKS: Final = (python_version, open_files, disk_space)
