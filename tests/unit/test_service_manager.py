"""The datagrams to systemd, received by a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daarion_appservice.ops.service_manager import ServiceManager
from tests.parts.waiting import WAIT_S


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(0)
        yield bound


def received(receiver: socket.socket) -> list[str]:
    """Return all datagrams that have arrived."""
    found = []
    while True:
        try:
            found.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return found


def manager(receiver: socket.socket, **environ: str) -> ServiceManager:
    return ServiceManager.from_environment({"NOTIFY_SOCKET": receiver.getsockname(), **environ})


def test_states_are_sent_as_sd_notify_defines_them(receiver: socket.socket) -> None:
    systemd = manager(receiver)
    systemd.ready()
    systemd.status("Not ready:\n homeserver away")
    systemd.stopping()
    assert received(receiver) == ["READY=1", "STATUS=Not ready: homeserver away", "STOPPING=1\nSTATUS=Stopping"]


def test_status_is_sent_when_it_changes(receiver: socket.socket) -> None:
    systemd = manager(receiver)
    for text in ("Ready", "Ready", "x" * 5000, "Ready"):
        systemd.status(text)
    assert received(receiver) == ["STATUS=Ready", f"STATUS={'x' * 500}", "STATUS=Ready"]


async def test_event_loop_extends_start_and_feeds_watchdog(receiver: socket.socket) -> None:
    systemd = manager(receiver, WATCHDOG_USEC="30000", WATCHDOG_PID=str(os.getpid()))
    feeding = asyncio.create_task(systemd.keep_alive())
    loop = asyncio.get_running_loop()
    receiver.setblocking(False)
    assert await loop.sock_recv(receiver, 4096) == b"EXTEND_TIMEOUT_USEC=60000000"
    systemd.ready()
    received(receiver)
    began_s = time.monotonic()
    async with asyncio.timeout(WAIT_S):
        for _ in range(3):
            assert await loop.sock_recv(receiver, 4096) == b"WATCHDOG=1"
    assert time.monotonic() - began_s > 0.015, "three datagrams in one interval of 30 ms"
    time.sleep(0.05)  # noqa: ASYNC251 -- the event loop is blocked, as the watchdog must see
    assert len(received(receiver)) <= 1
    feeding.cancel()


def fill_queue(receiver: socket.socket) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other,
        contextlib.suppress(BlockingIOError),
    ):
        while True:
            other.sendto(b"STATUS=of another service", receiver.getsockname())


async def test_states_lost_in_full_queue_are_sent_later(receiver: socket.socket) -> None:
    systemd = manager(receiver)
    fill_queue(receiver)
    systemd.ready()
    systemd.status("Ready")
    assert set(received(receiver)) == {"STATUS=of another service"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await systemd.keep_alive()
    systemd.status("Ready")
    assert received(receiver) == ["READY=1", "WATCHDOG=1", "STATUS=Ready"]


async def test_watchdog_of_another_process_is_not_fed_faster(receiver: socket.socket) -> None:
    systemd = manager(receiver, WATCHDOG_USEC="30000", WATCHDOG_PID="1")
    systemd.ready()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await systemd.keep_alive()
    assert received(receiver) == ["READY=1", "WATCHDOG=1"]


async def test_process_without_service_manager_sends_nothing() -> None:
    systemd = ServiceManager.from_environment({})
    systemd.ready()
    systemd.status("Ready")
    await systemd.keep_alive()


def test_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind("")  # the kernel chooses an abstract name
        bound.settimeout(0)
        ServiceManager(f"@{bound.getsockname()[1:].decode()}").ready()
        assert received(bound) == ["READY=1"]


def test_service_manager_that_is_gone_disturbs_nothing(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "nobody")).ready()
