"""The files of the demo, all in one directory, created once and used again by the next start.

config.yaml  registration.yaml  city.db     of the service
synapse/                                    of the homeserver
logs/                                       output of each process
credentials.json                            accounts, addresses and tokens, for people and programs
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from .. import private_file
from ..config import Settings
from ..config import editing as config_edit
from ..config import loading as config_file
from ..config.pickle_key import new_pickle_key
from ..errors import ExitCode, StartError
from ..matrix.client import registration_file
from .ports import HOST
from .sample_data import ADMIN, AGENTS, PEOPLE, render_sample_agents

SERVER_NAME: Final = "city.localhost"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the demo's processes."""

    city: int
    matrix: int
    homeserver: int
    agents: int | None = None
    """Port of the agents core; None without agents."""


@dataclass(frozen=True, slots=True)
class MatrixUser:
    """A person's account on the homeserver."""

    user_id: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The content of credentials.json, which other programs read."""

    homeserver_url: str
    server_name: str
    city_url: str
    matrix_url: str
    matrix_users: list[MatrixUser]
    jwt_secret: str = field(repr=False)
    admin_token: str = field(repr=False)
    internal_token: str = field(repr=False)
    agent_tokens: dict[str, str] = field(repr=False)
    """Tokens by slug."""

    @classmethod
    def fresh(cls) -> Credentials:
        """Return credentials with random secrets; `at` adds the addresses."""
        return cls(
            homeserver_url="",
            server_name=SERVER_NAME,
            city_url="",
            matrix_url="",
            matrix_users=[MatrixUser(f"@{name}:{SERVER_NAME}", secrets.token_urlsafe(12)) for name in PEOPLE],
            jwt_secret=secrets.token_hex(32),
            admin_token=secrets.token_urlsafe(32),
            internal_token=secrets.token_urlsafe(32),
            agent_tokens={},
        )

    @classmethod
    def read(cls, path: Path) -> Credentials:
        try:
            values = json.loads(path.read_text())
            users = [MatrixUser(**user) for user in values.pop("matrix_users")]
            return cls(**values, matrix_users=users)
        except (OSError, ValueError, TypeError, KeyError):
            raise StartError(
                f"{path} cannot be read as what the demo wrote", f"Start afresh: rm -r {path.parent}", ExitCode.CONFIG
            ) from None

    def at(self, ports: Ports) -> Credentials:
        return replace(
            self,
            homeserver_url=f"http://localhost:{ports.homeserver}",
            city_url=f"http://localhost:{ports.city}",
            matrix_url=f"http://localhost:{ports.matrix}",
        )

    def write(self, path: Path) -> None:
        write = private_file.replace if path.exists() else private_file.create
        write(path, json.dumps(asdict(self), indent=2) + "\n", ExitCode.CONFIG)


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """The files of one demo."""

    directory: Path

    @property
    def config(self) -> Path:
        return self.directory / "config.yaml"

    @property
    def registration(self) -> Path:
        return self.directory / "registration.yaml"

    @property
    def synapse(self) -> Path:
        return self.directory / "synapse"

    @property
    def credentials(self) -> Path:
        return self.directory / "credentials.json"

    @property
    def unfinished(self) -> Path:
        """The credentials before all of them work, so that a program can wait for the finished file."""
        return self.directory / "credentials.unfinished.json"

    def log(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Create the directory and lock it against a second demo with other ports."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise StartError(
                f"Another demo is running on {self.directory}", "End that, or use --data DIR", ExitCode.FAILED
            ) from None
        finally:
            os.close(lock)

    def prepare(self, ports: Ports, agents_core: str = "") -> Credentials:
        """Create missing files and update the ports; everything else stays unchanged.

        Args:
            ports: the ports of the processes.
            agents_core: the URL of an agents core; empty: that of the sample agents, if there are any.
        """
        if self.credentials.exists():
            credentials = Credentials.read(self.credentials).at(ports)
        else:
            unfinished = Credentials.read(self.unfinished) if self.unfinished.exists() else Credentials.fresh()
            credentials = unfinished.at(ports)
        self.save(credentials)
        if not self.config.exists():
            private_file.create(self.config, _FIRST_CONFIG + render_sample_agents(AGENTS), ExitCode.CONFIG)
        config_edit.set_values(self.config, _config_values(ports, credentials, agents_core))
        self._add_pickle_key()
        registration_file.generate(self._settings(), self.config, force=True)
        return credentials

    def _add_pickle_key(self) -> None:
        """Write ``encryption.pickle_key`` if the configuration has none, as that of an older version."""
        if not self._settings().encryption.pickle_key.get_secret_value():
            config_edit.set_values(self.config, {"encryption.pickle_key": new_pickle_key()})

    def _settings(self) -> Settings:
        # Without the environment: settings of this machine must not change the demo.
        return config_file.load(self.config, environ={})

    def save(self, credentials: Credentials) -> None:
        credentials.write(self.credentials if self.credentials.exists() else self.unfinished)

    def finish(self) -> None:
        """Rename the credentials to their final name, as all of them work now."""
        if not self.credentials.exists():
            self.unfinished.rename(self.credentials)


def _config_values(ports: Ports, credentials: Credentials, agents_core: str) -> dict[str, str | float]:
    return {
        "homeserver.address": f"http://{HOST}:{ports.homeserver}",
        "appservice.address": f"http://{HOST}:{ports.matrix}",
        "matrix.port": ports.matrix,
        "api.port": ports.city,
        "api.admin_token": credentials.admin_token,
        # For the city listener only: /internal, on loopback, needs no token in the demo.
        "api.service_token": credentials.internal_token,
        "api.jwt.secret": credentials.jwt_secret,
        "web.homeserver_url": credentials.homeserver_url,
        "agents_core.url": agents_core or (f"http://{HOST}:{ports.agents}" if ports.agents else ""),
    }


_FIRST_CONFIG: Final = f"""\
# Written by `daarion-appservice demo` the first time; later starts change only ports and secrets.

homeserver:
  domain: {SERVER_NAME}

database:
  url: sqlite:///city.db

city:
  federate: false
  admins: ["@{ADMIN}:{SERVER_NAME}"]

# Any user of this machine may sign in by name; the token is valid for a month.
sign_in:
  name: true
  matrix: true
  token_lifetime_s: 2592000

web:
  frame_ancestors: ["https://app.element.io", "http://localhost:*"]
  embed_ancestors: ["http://localhost:*"]

"""
