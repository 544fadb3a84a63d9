"""The commands ``run`` and ``demo``: the service itself, alone or with a homeserver and agents.

They import the service only when they run it, so that ``--help`` does not wait for the imports.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import DEFAULT_CONFIG, ConfigPath, warn

DEFAULT_DATA = Path(".demo")


def run(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the service until Ctrl-C or SIGTERM."""
    from ..config import loading as config_file  # noqa: PLC0415

    settings = config_file.load(config)
    for caution in config_file.cautions(config, settings):
        warn(caution)

    import uvloop  # noqa: PLC0415

    from ..app import run as run_service  # noqa: PLC0415
    from ..http.limits.file_descriptors import raise_limit  # noqa: PLC0415
    from ..ops import logs  # noqa: PLC0415

    logs.set_up(settings.logging)
    raise_limit()
    uvloop.run(run_service(settings))


def demo(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="The directory for all data of the demo.")
    ] = DEFAULT_DATA,
    port: Annotated[int, typer.Option("--port", help="The port of the city listener.")] = 7001,
    matrix_port: Annotated[int, typer.Option("--matrix-port", help="The port of the matrix listener.")] = 7025,
    homeserver_port: Annotated[int, typer.Option("--homeserver-port", help="The port of Synapse.")] = 8008,
    agents: Annotated[bool, typer.Option("--agents/--no-agents", help="Whether to run the sample agents.")] = True,
    agents_core: Annotated[
        str, typer.Option("--agents-core", metavar="URL", help="The URL of an agents core. [default: the demo's own]")
    ] = "",
) -> None:
    """Run Synapse, this service and five sample agents on this machine until Ctrl-C."""
    from ..demo.runner import run_demo  # noqa: PLC0415

    raise typer.Exit(
        run_demo(
            data,
            port=port,
            matrix_port=matrix_port,
            homeserver_port=homeserver_port,
            agents=agents,
            agents_core=agents_core,
        )
    )
