"""Child processes end with their parent, and their end is reported."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from daarion_appservice.demo.child_processes import Child, ChildExited, Children
from tests.parts.waiting import WAIT_S

SLEEPS = "import time; print('awake', flush=True); time.sleep(60)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"

Start = Callable[[str], Child]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts children that run some Python; they are gone when the test ends."""
    started: list[Child] = []

    def start_another(code: str) -> Child:
        child = Child("Sleeper", [sys.executable, "-c", code], tmp_path / f"log-{len(started)}")
        child.start()
        started.append(child)
        return child

    yield start_another
    for child in started:
        child.kill()


async def awake(child: Child) -> None:
    async with asyncio.timeout(WAIT_S):
        while child.last_lines() != ["awake"]:
            await asyncio.sleep(0.01)


async def test_child_ends_on_stop(start: Start) -> None:
    child = start(SLEEPS)
    await awake(child)

    await child.stop()

    assert child.exit_code == -15


async def test_a_child_that_will_not_end_is_killed(start: Start) -> None:
    child = start(IGNORES_SIGTERM)
    await awake(child)

    await child.stop(grace_s=0.2)

    assert child.exit_code == -9


async def test_unexpected_child_exit_is_reported(start: Start) -> None:
    children = Children()
    children.add(start(SLEEPS))
    children.check()
    dying = start("raise SystemExit('I had enough')")
    children.add(dying)
    await dying.ended()

    with pytest.raises(ChildExited, match=r"Sleeper ended \(exit code 1\)") as raised:
        children.check()

    assert raised.value.child.last_lines() == ["I had enough"]


async def test_the_last_words_are_those_since_the_last_start(start: Start) -> None:
    child = start("print('first')")
    await child.ended()
    child.start()
    await child.ended()

    assert child.last_lines() == ["first"]
    assert child.log.read_text() == "first\nfirst\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_child_dies_with_killed_parent(tmp_path: Path) -> None:
    parent_code = (
        "import pathlib, sys, time\n"
        "from daarion_appservice.demo.child_processes import Child\n"
        f"child = Child('Sleeper', [sys.executable, '-c', {SLEEPS!r}], pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "child.start()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", parent_code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    assert not psutil.wait_procs([child], timeout=5)[1]
