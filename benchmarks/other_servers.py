"""Servers in other languages that fan out to WebSockets: nginx with nchan (C) and Node's ``ws``; only where installed.

nchan      Debian's packages ``nginx`` and ``libnginx-mod-nchan``, or the same unpacked below ``NCHAN_ROOT``; one process
``ws``     from the packages of the pages (``make web``), with the ``node`` of the path
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from daarion_appservice.demo.child_processes import Child
from tests.parts.ports import HOST, free_port

from . import wire
from .contenders import SOCKET_PATH, Contender, update
from .processes import ROOT

_NODE_PACKAGES: Final = ROOT / "web" / "node_modules"
_NGINX_ROOT: Final = Path(os.environ.get("NCHAN_ROOT", "/"))
_MODULE: Final = _NGINX_ROOT / "usr/lib/nginx/modules/ngx_nchan_module.so"
_CONFIGURATION: Final = """
load_module {module};
master_process off;
daemon off;
pid {directory}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen {host}:{port} backlog=1024;
    keepalive_requests 10000000;
    location = /publish {{ nchan_publisher http; nchan_channel_id city; }}
    location = {path} {{ nchan_subscriber websocket; nchan_channel_id city; nchan_subscriber_first_message newest; }}
  }}
}}
"""


class Nchan(Contender):
    """nginx with nchan: each change is a POST, which nginx sends to every WebSocket of the channel."""

    key = "nchan"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        home = directory / "nchan"
        home.mkdir()
        configuration = home / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(module=_MODULE, directory=home, host=HOST, port=self.port, path=SOCKET_PATH)
        )
        command = [str(_nginx()), "-p", str(home), "-c", str(configuration)]
        self.child = Child(self.key, command, home / "log.txt")

    @staticmethod
    def missing() -> str | None:
        """Return what is not installed; None if the server can be measured."""
        return None if _nginx() and _MODULE.exists() else "nginx with libnginx-mod-nchan"

    async def be_ready(self) -> None:
        self._publisher = await wire.HttpConnection.open(self.port)
        self._said_by = self._publisher.transport

    def change(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self._publisher.post("/publish", update(number), "")


class NodeWs(Contender):
    """Node's ``ws``, which sends each change to every client."""

    key = "ws"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._control_port = free_port()
        program = str(ROOT / "benchmarks" / "peers" / "ws_city.mjs")
        ports = [str(self.port), str(self._control_port)]
        self.child = Child(self.key, ["node", program, *ports, str(_NODE_PACKAGES) + "/"], directory / "ws.log")

    @staticmethod
    def missing() -> str | None:
        """Return what is not installed; None if the server can be measured."""
        return None if shutil.which("node") and (_NODE_PACKAGES / "ws").is_dir() else "node and its package ws"

    async def be_ready(self) -> None:
        loop = asyncio.get_running_loop()
        self._said_by, _ = await loop.create_connection(asyncio.Protocol, HOST, self._control_port)

    def change(self, first: int, count: int) -> None:
        assert self._said_by is not None
        self._said_by.write(b"".join(update(number) + b"\n" for number in range(first, first + count)))


def installed(directory: Path) -> list[Contender]:
    """Return the servers that are installed; print a line for each other one."""
    servers: list[tuple[Callable[[], str | None], type[Nchan] | type[NodeWs]]] = [
        (Nchan.missing, Nchan),
        (NodeWs.missing, NodeWs),
    ]
    found: list[Contender] = []
    for missing, server in servers:
        if (what := missing()) is None:
            found.append(server(directory))
        else:
            sys.stdout.write(f"{server.key} is not measured: {what} is not installed\n")
    return found


def _nginx() -> Path | None:
    unpacked = _NGINX_ROOT / "usr/sbin/nginx"
    return unpacked if unpacked.exists() else None
