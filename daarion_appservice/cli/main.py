"""The command line. The commands are in the other modules of ``cli``.

A group's module is imported when one of its commands is called: importing all of them takes more than a second.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from .. import __version__
from ..config import environment_file
from ..errors import CityError, ExitCode, StartError, TaskFailedRepeatedly
from ..ops.heap import bound_heap
from . import service
from .backup import backup, restore
from .doctor import doctor
from .terminal import CONFIG_VARIABLE, fail, print_line

_COLLECT_AFTER: Final = (10_000, 20, 100)
"""Thresholds of Python's garbage collector, which finds reference cycles; this program creates few. With the default
thresholds it traverses all objects after every 70,000 new ones: with 10,000 open sockets that took up to 0.7 s, in
which no request was served, and a fifth of every start, where all new objects are modules.
"""

GROUPS: Final = {
    "config": "Generate, check and upgrade config.yaml.",
    "registration": "Generate and check the registration file for Synapse.",
    "db": "Migrate the database.",
    "agent": "Manage the agents and their tokens.",
    "token": "List the tokens of agents.",
    "room": "Manage the rooms.",
    "person": "Export and erase the data of persons.",
    "message": "List and retry messages that are not on Matrix.",
    "dead-letter": "List and retry Matrix events that could not be processed.",
    "events": "Another name of dead-letter.",
    "outbox": "List and retry messages that the homeserver rejected, like message.",
    "encryption": "Manage the keys of encrypted chats.",
}
ALIASES: Final = frozenset({"events", "outbox"})
"""Groups whose commands other groups have as well; help and documentation leave them out."""
_MODULES: Final = {
    "agent": "agents",
    "dead-letter": "dead_letters",
    "events": "dead_letters",
    "message": "messages",
    "person": "people",
    "room": "rooms",
    "token": "tokens",
}
"""Modules of groups whose name differs from the group's."""


def commands_of(group: str) -> dict[str, Any]:
    """Import the module of a group and return the group's commands by name."""
    module = import_module(f".{_MODULES.get(group, group)}", __package__)
    return dict(get_group(module.app).commands)


def _group(name: str) -> type[TyperGroup]:
    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # before the list of commands is needed
            self.commands = commands_of(name)
            return super().parse_args(ctx, args)

    return Group


# Without rich's boxes, help is plain text that every terminal and log can show; its tracebacks would print secrets.
app = typer.Typer(
    name="daarion-appservice",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(service.run)
app.command("demo")(service.demo)
app.command("doctor")(doctor)
app.command("backup")(backup)
app.command("restore")(restore)
for _name, _what in GROUPS.items():
    app.add_typer(typer.Typer(cls=_group(_name), help=_what, no_args_is_help=True), name=_name, hidden=_name in ALIASES)


def main() -> None:
    """Run the command line. Expected errors become two sentences and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A log or terminal without Cyrillic gets "?" in place of an error.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    gc.set_threshold(*_COLLECT_AFTER)
    bound_heap()
    try:
        app(prog_name="daarion-appservice")
    except StartError as error:
        fail(error.what, error.help, error.exit_code)
    except TaskFailedRepeatedly as error:
        fail(str(error), error.help, ExitCode.FAILED)
    except CityError as error:
        fail(error.detail, "", ExitCode.FAILED)
    except UnicodeEncodeError:
        # File names may hold any bytes; all other arguments are texts for the database and Matrix.
        wrong = next((argument for argument in sys.argv if not _is_text(argument)), None)
        if wrong is None:
            raise
        fail(f"The argument {wrong!r} is not in UTF-8.", "Set the terminal to UTF-8.", ExitCode.USAGE)


def _is_text(argument: str) -> bool:
    """Return whether an argument was valid UTF-8: Python decodes other bytes to surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def _build() -> str:
    """Return the version with the commit that the installed wheel was built from, if that is known."""
    try:
        return metadata.version("daarion-appservice")
    except metadata.PackageNotFoundError:
        return __version__


def _show_version(wanted: bool) -> None:
    if wanted:
        print_line(f"daarion-appservice {_build()}")
        raise typer.Exit


def _read_environment(file: Path | None) -> None:
    if file is not None:
        os.environ.update(environment_file.read(file))


def _set_config(file: Path | None) -> None:
    # Commands read the variable; a group's module is not imported yet.
    if file is not None:
        os.environ[CONFIG_VARIABLE] = str(file)


@app.callback()
def _options(
    *,
    _env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file",
            metavar="FILE",
            envvar="DAARION_ENV_FILE",
            callback=_read_environment,
            is_eager=True,
            help="A file with environment variables in the format of systemd, like /etc/default/daarion-appservice.",
        ),
    ] = None,
    _config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            callback=_set_config,
            help="The configuration file, for every command; each also takes its own --config after its name.",
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Connect the city with Matrix: run the service, and manage its configuration, database, agents and rooms."""


if __name__ == "__main__":
    main()
