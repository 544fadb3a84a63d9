"""What a real process reports to systemd."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daarion_appservice.config import editing as config_edit
from daarion_appservice.demo.child_processes import Child, python
from daarion_appservice.errors import ExitCode
from tests.parts.ports import HOST, free_port
from tests.parts.waiting import WAIT_S


@pytest.fixture
def notify_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(WAIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", bound.getsockname())
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        yield bound


@pytest.fixture
def service(tmp_path: Path, notify_socket: socket.socket) -> Iterator[Child]:
    """The service without a homeserver."""
    config = tmp_path / "config.yaml"
    config_edit.generate(config)
    tokens = {"appservice.as_token": "a" * 32, "appservice.hs_token": "b" * 32}
    ports = {"api.port": free_port(), "matrix.port": free_port()}
    config_edit.set_values(config, {**tokens, **ports, "homeserver.address": f"http://{HOST}:{free_port()}"})
    child = Child("city", python("daarion_appservice", "run", "-c", str(config)), tmp_path / "city.log")
    child.start()
    yield child
    child.kill()


def until(notify_socket: socket.socket, prefix: str) -> str:
    """Return the next datagram with this prefix."""
    while not (state := notify_socket.recv(4096).decode()).startswith(prefix):
        pass
    return state


async def test_process_reports_start_state_and_end(service: Child, notify_socket: socket.socket) -> None:
    assert notify_socket.recv(4096).startswith(b"EXTEND_TIMEOUT_USEC=")
    until(notify_socket, "READY=1")
    assert "homeserver away" in until(notify_socket, "STATUS=Not ready")
    until(notify_socket, "WATCHDOG=1")
    await service.stop(WAIT_S)
    until(notify_socket, "STOPPING=1")
    assert service.exit_code == ExitCode.OK


async def test_abort_by_watchdog_prints_the_stack(service: Child, notify_socket: socket.socket) -> None:
    until(notify_socket, "WATCHDOG=1")
    assert service.pid is not None
    os.kill(service.pid, signal.SIGABRT)
    assert await service.ended() == -signal.SIGABRT
    assert "most recent call first" in service.log.read_text()
