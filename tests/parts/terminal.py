"""Commands of the command line, run in this process with a configuration and a database of their own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from daarion_appservice.city.types import Agent, Room
from daarion_appservice.cli.main import main
from daarion_appservice.errors import ExitCode
from daarion_appservice.storage.agents import TokenRow
from daarion_appservice.storage.database import Database, Transaction

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Terminal:
    """A terminal in a directory with a configuration; the service need not run."""

    directory: Path
    database_url: str
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def type(self, *arguments: str) -> Ended:
        self.monkeypatch.setattr(sys, "argv", ["daarion-appservice", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self.capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    def run(self, *arguments: str) -> str:
        """Run a command that succeeds; return its output."""
        ended = self.type(*arguments)
        assert (ended.code, ended.err) == (0, ""), ended
        return ended.out

    def run_refused(self, *arguments: str, code: ExitCode = ExitCode.FAILED) -> str:
        """Run a command that fails; return its error output."""
        ended = self.type(*arguments)
        assert (ended.code, ended.out) == (code, ""), ended
        assert "Traceback" not in ended.err
        return ended.err

    def valid_tokens(self) -> list[TokenRow]:
        """Return the tokens of agents that are not revoked."""
        tokens = self.with_database(lambda tx: tx.agents.tokens_changed_since(-1))
        return [each.token for each in tokens if not each.is_revoked]

    def with_database(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` in a transaction of the database."""

        async def do() -> T:
            database = Database(self.database_url)
            try:
                async with database.transaction() as tx:
                    return await work(tx)
            finally:
                await database.close()

        return asyncio.run(do())

    def agents(self) -> list[Agent]:
        return self.with_database(lambda tx: tx.agents.all())

    def rooms(self) -> list[Room]:
        return self.with_database(lambda tx: tx.rooms.all())
