"""``run``, ``demo``, ``db …``: the service itself, and its database."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from ..app import run as run_service
from ..config import file as config_file
from ..ops import logs
from ..ops.demo.house import run_demo
from ..storage import migrate
from .city import with_database
from .terminal import DEFAULT_CONFIG, ConfigPath, say, warn

DEFAULT_DATA = Path(".demo")

_COLLECT_AFTER: Final = (10_000, 20, 100)
"""How seldom Python looks for garbage that refers to itself, of which there is little here. By its defaults it walks all that
there is whenever 70,000 objects were added: with 10,000 sockets open that took up to 0.7 s, in which nobody was served."""

db = typer.Typer(help="The database.", no_args_is_help=True)


def run(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the service until Ctrl-C or SIGTERM."""
    settings = config_file.load(config)
    for caution in config_file.cautions(config, settings):
        warn(caution)
    logs.set_up(settings.logging)
    gc.set_threshold(*_COLLECT_AFTER)
    uvloop.run(run_service(settings))


def demo(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Where everything lies.")] = DEFAULT_DATA,
    port: Annotated[int, typer.Option("--port", help="The city listener's port.")] = 7001,
    matrix_port: Annotated[int, typer.Option("--matrix-port", help="The matrix listener's port.")] = 7025,
    homeserver_port: Annotated[int, typer.Option("--homeserver-port", help="Synapse's port.")] = 8008,
    agents: Annotated[bool, typer.Option("--agents/--no-agents", help="Whether the sample agents live.")] = True,
) -> None:
    """A whole city on this machine: Synapse, this service and five agents, until Ctrl-C."""
    raise typer.Exit(run_demo(data, port=port, matrix_port=matrix_port, homeserver_port=homeserver_port, agents=agents))


@db.command("upgrade")
def upgrade(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Bring the database to what this version expects; `run` does so by itself."""
    before, now = with_database(config, migrate.upgrade)
    say(
        f"The database is at {now}." if before == now else f"The database went from {before or 'nothing'} to {now}.",
        "green",
    )


@db.command("current")
def current(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show the database's revision, and the one that this version expects."""
    found = with_database(config, migrate.current)
    say(f"The database is at {found or 'nothing'}; this version expects {migrate.head()}.")
