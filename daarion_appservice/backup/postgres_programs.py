"""PostgreSQL's programs pg_dump, pg_restore and psql.

A dump is one snapshot. A restore is one transaction: it replaces all tables, or none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from ..errors import ExitCode, StartError

_VARIABLES: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "application_name": "PGAPPNAME",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "sslmode": "PGSSLMODE",
    "ssl": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}
"""Environment variables of libpq for the parameters of ``database.url``. Command lines would show the password."""
_UNKNOWN_TO_OLDER_SERVERS: Final = b"SET transaction_timeout"
"""A line at the top of each script by PostgreSQL 17 and later, which servers before 17 refuse."""
_OPTIONS: Final = ("--no-owner", "--no-privileges")
"""The tables belong to the role that restores them."""


def dump(url: URL, target: Path) -> None:
    """Write a database to a file in the custom format of pg_dump.

    Raises:
        StartError: pg_dump is missing or fails.
    """
    # Not compressed: the archive is.
    _run(url, "pg_dump", "--format=custom", "--compress=0", *_OPTIONS, f"--file={target}")


def restore(url: URL, source: Path, *, drop: Iterable[str]) -> None:
    """Drop tables and restore a dump, in one transaction.

    Args:
        url: the database.
        source: a file in the custom format of pg_dump.
        drop: the names of the tables to drop before.

    Raises:
        StartError: pg_restore or psql is missing or fails; the database is unchanged.
    """
    script, statements = source.with_suffix(".sql"), source.with_suffix(".drop.sql")
    _run(url, "pg_restore", *_OPTIONS, f"--file={script}", str(source))
    names = ", ".join('"{}"'.format(name.replace('"', '""')) for name in drop)
    with statements.open("wb") as file:
        file.write(f"DROP TABLE {names} CASCADE;\n".encode() if names else b"")
        with script.open("rb") as restored:
            is_header = True
            for line in restored:
                is_header = is_header and not line.startswith(b"CREATE ")
                if not (is_header and line.startswith(_UNKNOWN_TO_OLDER_SERVERS)):
                    file.write(line)
    _run(
        url,
        "psql",
        *("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null"),
        f"--file={statements}",
    )


def _run(url: URL, program: str, *arguments: str) -> None:
    path = shutil.which(program)
    if path is None:
        raise StartError(
            f"{program} is not installed on this machine.",
            "Install PostgreSQL's client programs, of the server's version or a later one: on Debian and Ubuntu "
            "`apt install postgresql-client`.",
            ExitCode.FAILED,
        )
    done = subprocess.run(  # noqa: S603
        [path, *arguments], env=_environment(url), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        raise StartError(
            f"{program} failed: {done.stderr.decode(errors='replace').strip()}",
            "Its version must be the server's or a later one, and the role of database.url must own the tables.",
            ExitCode.DATABASE,
        )


def _environment(url: URL) -> dict[str, str]:
    """Return the environment of the programs: that of this process, and the database."""
    values: dict[str, str | int | None] = {"user": url.username, "password": url.password}
    values |= {"host": url.host, "port": url.port}
    for name, value in url.query.items():
        values[name] = value if isinstance(value, str) else ",".join(value)
    if "host" in url.query and "port" not in url.query:
        values |= _split_hosts(str(values["host"]))
    known = {_VARIABLES[name]: str(value) for name, value in values.items() if name in _VARIABLES and value is not None}
    return os.environ | known | {"PGDATABASE": url.database or ""}


def _split_hosts(hosts: str) -> dict[str, str]:
    """Split hosts with ports, ``a:5432,b:5433``, into a list of hosts and one of ports. Leave paths of sockets alone."""
    pairs = [each.rpartition(":") for each in hosts.split(",")]
    if not all(port.isdecimal() for _, _, port in pairs):
        return {"host": hosts}
    return {"host": ",".join(host for host, _, _ in pairs), "port": ",".join(port for _, _, port in pairs)}
