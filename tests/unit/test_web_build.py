"""The build of the pages: the choice of Node, and the files that are written."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path
from random import Random

import pytest

import web_build

PACKAGE = {
    "name": "pages",
    "scripts": {
        "build": "mkdir -p dist/assets dist/.vite && cp page.html dist/index.html && cp a.js a.png dist/assets"
    },
}
SCRIPT = "console.log('Добрий вечір');\n" * 50
UNPACK = (
    'process.stdout.write(require("node:zlib").brotliDecompressSync(require("node:fs").readFileSync(process.argv[1])))'
)


@pytest.mark.parametrize(
    ("says", "is_new_enough"),
    [
        ("v20.19.0", True),
        ("v20.18.9", False),
        ("v21.7.3", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v26.1.0", True),
        ("node is not installed", False),
    ],
)
def test_node_version_is_supported_by_vite(tmp_path: Path, says: str, is_new_enough: bool) -> None:
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho {says}\n")
    node.chmod(0o755)
    assert web_build._is_new_enough(str(node)) is is_new_enough


def test_older_node_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, says in (("node", "v20.19.0"), ("npm", "11.0.0")):
        command = tmp_path / name
        command.write_text(f"#!/bin/sh\necho {says}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(web_build, "_OWN", tmp_path / "nothing")
    assert web_build.find_node((20, 19)) == dict(os.environ)
    assert web_build.find_node((22, 12)) is None


def test_failing_node_is_refused(tmp_path: Path) -> None:
    assert not web_build._is_new_enough(None)
    assert not web_build._is_new_enough(str(tmp_path / "node"))


def test_build_compresses_and_replaces_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "web", tmp_path / "package" / "web_dist"
    (target / "assets").mkdir(parents=True)
    (target / "assets" / "older.js").write_text("")
    source.mkdir()
    (source / "package.json").write_text(json.dumps(PACKAGE))
    (source / "page.html").write_text("<p>місто</p>" * 50)
    (source / "a.js").write_text(SCRIPT)
    (source / "a.png").write_bytes(Random(1).randbytes(256))
    monkeypatch.setattr(web_build, "SOURCE", source)
    monkeypatch.setattr(web_build, "TARGET", target)

    assert web_build.main([]) == 0

    left = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    packed = {f"{name}{suffix}" for name in ("index.html", "assets/a.js") for suffix in ("", ".br", ".gz")}
    assert left == packed | {"assets/a.png"}
    assert gzip.decompress((target / "assets/a.js.gz").read_bytes()).decode() == SCRIPT
    assert unpacked(target / "assets/a.js.br") == SCRIPT
    assert [path.name for path in target.parent.iterdir()] == ["web_dist"]


def unpacked(path: Path) -> str:
    node = ["node", "-e", UNPACK, str(path)]
    return subprocess.run(
        node, env=web_build.node_environment(), capture_output=True, check=True, timeout=60
    ).stdout.decode()


def test_failed_build_keeps_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "web", tmp_path / "web_dist"
    target.mkdir()
    (target / "index.html").write_text("as it was")
    source.mkdir()
    (source / "package.json").write_text(json.dumps({"name": "pages", "scripts": {"build": "exit 7"}}))
    monkeypatch.setattr(web_build, "SOURCE", source)
    monkeypatch.setattr(web_build, "TARGET", target)
    assert web_build.main([]) == 1
    assert "Pages: " in capfd.readouterr().err
    assert (target / "index.html").read_text() == "as it was"
