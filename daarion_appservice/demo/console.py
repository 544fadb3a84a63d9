"""Output of the demo: a check mark for each step of the start, then how to sign in.

On a terminal it has a spinner and colours, elsewhere plain lines. No line is wrapped: addresses and commands must be
copied whole.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from .child_processes import ChildExited
from .files import Credentials, DemoFiles

_WIDTH: Final = 78


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """The reader of a pipe has ended (`demo | head`): go on without output, where rich would end the process."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class DemoConsole:
    """The demo's output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _Console(highlight=False, soft_wrap=True)
        self._tick = "+" if self._console.options.ascii_only else "✓"

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show that a step has begun, then that it is done."""
        started = time.monotonic()
        with self._console.status(f"{escape(name)} …") if self._console.is_terminal else nullcontext():
            yield
        self.print_line(f"[green]{self._tick}[/green] {escape(name)} [dim]{time.monotonic() - started:.1f} s[/dim]")

    def print_line(self, markup: str = "") -> None:
        # The terminal may be gone (SIGHUP); that must not prevent the end of the children.
        with suppress(OSError):
            self._console.print(markup, overflow="ignore", crop=False)

    def print_summary(self, credentials: Credentials, files: DemoFiles) -> None:
        self._rule("The city is open")
        self._row("City", f"{credentials.city_url}   [dim](in a browser; a name is enough)[/dim]")
        self._row("Homeserver", f"{credentials.homeserver_url}   [dim](in Element: Edit the homeserver)[/dim]")
        self._row("Matrix side", credentials.matrix_url)
        self.print_line()
        for user in credentials.matrix_users:
            self._row("Sign in as", f"{escape(user.user_id):<30} [dim]password[/dim] {escape(user.password)}")
        self.print_line()
        for line in check_commands(credentials, files.credentials):
            self.print_line(escape(line))
        self.print_line()
        self._row("Secrets", escape(str(_shortest(files.credentials))))
        self._row("Logs", escape(str(_shortest(files.log("*")))))
        self._row("To stop", "Ctrl-C")
        self._rule("")

    def print_exit(self, exited: ChildExited) -> None:
        self.print_line(f"[red]{escape(str(exited))}; the last lines of its log:[/red]")
        for line in exited.child.last_lines():
            self.print_line(f"    {escape(line)}")
        self.print_line(f"The whole log: {escape(str(exited.child.log))}")

    def _row(self, label: str, markup: str) -> None:
        self.print_line(f"  [bold]{label:<13}[/bold]{markup}")

    def _rule(self, title: str) -> None:
        line = "-" if self._console.options.ascii_only else "─"
        self.print_line(f"[green]{f'{line * 2} {title} ' if title else '':{line}<{_WIDTH}}[/green]")


def _shortest(path: Path) -> Path:
    """Return the shortest form of a path, relative to the working directory."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def check_commands(credentials: Credentials, path: Path) -> list[str]:
    """Return three commands that show the presence of a user, of an agent, and of several users.

    The second one authenticates, so that it works also without ``api.anonymous_read``.

    Args:
        path: credentials.json, from which the command reads the token; absolute, for a terminal in any directory.
    """
    user = credentials.matrix_users[0].user_id
    presence = f"{credentials.matrix_url}/internal/matrix/presence"
    token = f"$(jq -r .admin_token {shlex.quote(str(path))})"
    return [
        f"curl -s '{presence}/{user}' | jq '.'",
        f"curl -s -H \"Authorization: Bearer {token}\" '{credentials.city_url}/api/v1/agents/daarwizz/presence' | jq '.'",
        f"curl -s '{presence}/bulk?user_ids={user}' | jq '.'",
    ]
