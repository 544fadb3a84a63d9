"""A file of environment variables in the format of systemd's ``EnvironmentFile=`` (systemd.exec(5))."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ..errors import ExitCode, StartError

_ASSIGNMENT: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def read(file: Path) -> dict[str, str]:
    """Return the variables that the file sets. A value may be quoted; a backslash at the end of a line continues it.

    Raises:
        StartError: the file cannot be read, or a line is not an assignment; the message does not repeat the line, which
            may contain a secret.
    """
    try:
        text = file.read_text()
    except FileNotFoundError:
        raise StartError(
            f"There is no environment file {file}.",
            "If the service has none either, leave --env-file and DAARION_ENV_FILE out.",
            ExitCode.CONFIG,
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StartError(
            f"The environment file {file} cannot be read: {reason}",
            "Run this as a user who may read it, like: sudo -u daarion daarion-appservice --env-file …",
            ExitCode.CONFIG,
        ) from None
    variables = {}
    for number, line in enumerate(text.replace("\\\n", "").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        assignment = _ASSIGNMENT.fullmatch(line)
        if assignment is None:
            raise StartError(
                f"The environment file {file} has a line that sets nothing: line {number}.",
                "Write NAME=value.",
                ExitCode.CONFIG,
            )
        variables[assignment[1]] = _unquoted(assignment[2].strip())
    return variables


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        inner = value[1:-1]
        return inner if value[0] == "'" else re.sub(r'\\(["\\$`])', r"\1", inner)
    return value
