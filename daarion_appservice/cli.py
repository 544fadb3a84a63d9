"""The command line. What each command does stands in ``commands``, one function a command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from . import __version__
from .commands import agents, config, events, registration, rooms, service
from .commands.terminal import fail, say
from .errors import CityError, ExitCode, StartError

# Without rich's boxes help is plain text that every terminal and log can show; its tracebacks would print secrets.
app = typer.Typer(
    name="daarion-appservice",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("run")(service.run)
app.command("demo")(service.demo)
app.add_typer(config.app, name="config")
app.add_typer(registration.app, name="registration")
app.add_typer(service.db, name="db")
app.add_typer(agents.app, name="agent")
app.add_typer(rooms.app, name="room")
app.add_typer(events.app, name="events")


def main() -> None:
    """The console script: expected errors become two sentences and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A log or terminal that knows no Cyrillic gets "?" in place of an error.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        app(prog_name="daarion-appservice")
    except StartError as error:
        fail(error.what, error.help, error.exit_code)
    except CityError as error:
        fail(error.detail, "", ExitCode.FAILED)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"daarion-appservice {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """The city's door to Matrix."""


if __name__ == "__main__":
    main()
