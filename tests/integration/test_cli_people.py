"""The commands ``person …`` on a database without a running service."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path

from tests.parts.terminal import Terminal


def test_person_export_prints_lines_of_json(terminal: Terminal) -> None:
    terminal.run("agent", "add", "scribe", "--name", "Писар")
    first, agent, last = map(json.loads, terminal.run("person", "export", "agent:scribe").splitlines())
    assert first["matrix_user_ids"] == ["@agent_scribe:city.localhost"]
    assert (agent["type"], agent["display_name"]) == ("agent", "Писар")
    assert last == {"type": "end", "records": 1}


def test_person_export_writes_private_file(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("agent", "add", "scribe")
    file = tmp_path / "scribe.ndjson"
    ended = terminal.type("person", "export", "agent:scribe", "--output", str(file))
    assert (ended.out, "Wrote 1 records" in ended.err) == ("", True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text().splitlines()) == 3
    assert "cannot be created" in terminal.run_refused("person", "export", "agent:scribe", "--output", str(file))


def test_person_export_refuses_unknown_person(terminal: Terminal) -> None:
    assert "no data of u_9" in terminal.run_refused("person", "export", "u_9")
    assert "not an id of a person" in terminal.run_refused("person", "export", "agent:???")


def test_person_erase_stores_one_erasure(terminal: Terminal) -> None:
    terminal.run("agent", "add", "scribe")
    assert json.loads(terminal.run("person", "erase", "agent:scribe", "--dry-run", "--json")) == {"agents": 1}
    assert json.loads(terminal.run("person", "erasures", "--json")) == []
    first = json.loads(terminal.run("person", "erase", "agent:scribe", "--yes", "--json"))
    assert (first["state"], first["subjects"]) == ("city", ["agent:scribe"])
    assert "is stored" in terminal.run("person", "erase", "agent:scribe", "--yes")
    assert json.loads(terminal.run("person", "erasures", "--json")) == [first]
    assert terminal.run("person", "erasures").splitlines()[1].split("\t")[:2] == [first["id"], "city"]


def test_person_erase_asks_first(terminal: Terminal) -> None:
    terminal.run("agent", "add", "scribe")
    terminal.monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    ended = terminal.type("person", "erase", "agent:scribe")
    assert (ended.code, "[y/N]" in ended.err) == (1, True)
    assert json.loads(terminal.run("person", "erasures", "--json")) == []
