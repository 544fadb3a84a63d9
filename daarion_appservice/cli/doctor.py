"""The command ``doctor``: checks of the installation and of everything around it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import DEFAULT_CONFIG, ConfigPath, print_line

if TYPE_CHECKING:
    from ..doctor.runner import CheckResult


def doctor(
    config: ConfigPath = DEFAULT_CONFIG,
    synapse_registration: Annotated[
        Path | None,
        typer.Option(
            "--synapse-registration",
            metavar="FILE",
            help="Synapse's copy of the registration file, to compare with the configuration.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text; see docs/how-to/troubleshooting.md.")
    ] = False,
) -> None:
    """Check the installation and everything around it, and say what to do; the service may run or not.

    The exit code is 0 if all checks pass, 1 if there are warnings, and 2 if a check fails. Some checks act as users of the
    service on the homeserver; they register only users that the service registers itself.
    """
    # Imported here: the checks import the whole service.
    from ..doctor import report  # noqa: PLC0415
    from ..doctor.catalogue import group_titles  # noqa: PLC0415
    from ..ops import logs  # noqa: PLC0415

    with logs.silenced():
        results = asyncio.run(_examine(config, synapse_registration))
    groups = group_titles()
    if as_json:
        typer.echo(json.dumps(report.as_json(results, groups), ensure_ascii=False, indent=2))
    else:
        for line, style in report.as_lines(results, groups):
            print_line(line, style)
    raise typer.Exit(report.exit_code(results))


async def _examine(config: Path, synapse_registration: Path | None) -> list[CheckResult]:
    from ..doctor.catalogue import CHECKS  # noqa: PLC0415
    from ..doctor.installation import Installation  # noqa: PLC0415
    from ..doctor.runner import run_checks  # noqa: PLC0415

    async with Installation(config, synapse_registration) as installation:
        return await run_checks(CHECKS, installation)
