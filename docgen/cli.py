"""Generates ``docs/reference/cli.md`` from the commands of ``daarion_appservice.cli``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from typer.main import get_command

from daarion_appservice.cli.main import GROUPS, app, commands_of

from .markdown import code, header, table

_PROGRAM: Final = "daarion-appservice"


def page() -> str:
    return header("Command line", "the help texts of daarion_appservice/cli", "cli") + "".join(_sections())


def _sections() -> Iterator[str]:
    root: Any = get_command(app)
    yield _parameters(root)
    for name, command in root.commands.items():
        if command.hidden:
            continue
        yield f"\n## {name}\n\n{command.help}\n"
        if name in GROUPS:
            for inner, each in commands_of(name).items():
                yield f"\n### {name} {inner}\n\n{each.help}\n\n{_usage(f'{name} {inner}', each)}{_parameters(each)}"
        else:
            yield f"\n{_usage(name, command)}{_parameters(command)}"


def _usage(name: str, command: Any) -> str:
    arguments = [_argument(each) for each in command.params if each.param_type_name == "argument"]
    return f"    {' '.join([_PROGRAM, name, *arguments])}\n"


def _argument(parameter: Any) -> str:
    name = parameter.name.strip("_").upper() + ("…" if parameter.nargs != 1 else "")
    return name if parameter.required else f"[{name}]"


def _parameters(command: Any) -> str:
    return table(
        ("parameter", "default", "meaning"),
        (
            (_name(each), _default(each), (each.help or "").replace("<", "&lt;"))
            for each in command.params
            if each.name != "help"
        ),
    )


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return code(_argument(parameter))
    return ", ".join(map(code, [*parameter.opts, *parameter.secondary_opts]))


def _default(parameter: Any) -> str:
    return "" if parameter.default in (None, False, ()) or callable(parameter.default) else code(str(parameter.default))
