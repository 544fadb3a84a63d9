"""Runs the whole city on one machine: a homeserver, this service, and the agents.

    ports free? ──▶ files ──▶ Synapse ──▶ tokens, accounts ──▶ service ──▶ agents ──▶ open
                                                                                       │ a signal, or the exit of a child
                                            agents, service, Synapse end, in this order ◀

In this order the agents can send their last heartbeat to the service, and the service can set its ghosts offline on the
homeserver.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import aiohttp

from ..errors import ExitCode, StartError
from . import accounts, local_synapse, tokens
from .child_processes import Child, ChildExited, Children, python
from .console import DemoConsole
from .files import SERVER_NAME, Credentials, DemoFiles, Ports
from .local_synapse import LocalSynapse
from .ports import DemoListener, any_free, check_free
from .sample_data import AGENTS, ROOMS
from .signals import on_signals
from .synapse_config import SynapseSetup

READY_S: Final = 60.0
"""How long the service and the agents may take to answer, in seconds; they need 1 to 3 s. A response that rooms and
ghosts are being set up counts as an answer: hundreds of them take minutes.
"""
_PROGRESS_S: Final = 10.0
"""Period of the messages about a long set-up, in seconds."""

_CHECK_INTERVAL_S: Final = 0.1

_ALIASES: Final = [f"#city:{SERVER_NAME}", *(f"#city_{room}:{SERVER_NAME}" for room in ROOMS)]


def run_demo(
    data: Path = Path(".demo"),
    *,
    port: int = 7001,
    matrix_port: int = 7025,
    homeserver_port: int = 8008,
    agents: bool = True,
    agents_core: str = "",
) -> int:
    """Run the demo until Ctrl-C and return the process's exit code. Raise StartError if it cannot begin."""
    ports = Ports(port, matrix_port, homeserver_port)
    return asyncio.run(demo(data.absolute(), ports, agents=agents, agents_core=agents_core))


async def demo(data: Path, ports: Ports, *, agents: bool = True, agents_core: str = "") -> int:
    """Run the demo in a running event loop; ``data`` is absolute."""
    local_synapse.check_installed()
    check_free(
        [
            DemoListener("city listener", "--port", ports.city),
            DemoListener("matrix listener", "--matrix-port", ports.matrix),
            DemoListener("homeserver", "--homeserver-port", ports.homeserver),
        ]
    )
    ports = replace(ports, agents=any_free()) if agents else ports
    runner = DemoRunner(DemoFiles(data), ports, agents_core)
    running = asyncio.create_task(runner.run())
    with on_signals(first=running.cancel, again=runner.children.kill):
        await asyncio.wait([running])
    if running.cancelled():
        return ExitCode.OK
    if isinstance(error := running.exception(), ChildExited):
        runner.console.print_exit(error)
        return ExitCode.FAILED
    return running.result()


Check = Callable[[aiohttp.ClientResponse], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class DemoRunner:
    """The demo's processes and files."""

    files: DemoFiles
    ports: Ports
    agents_core: str = ""
    """URL of an agents core; empty: that of the sample agents, if there are any."""
    console: DemoConsole = field(default_factory=DemoConsole)
    children: Children = field(default_factory=Children)

    async def run(self) -> int:
        """Start the city and run it until cancelled or a child exits; all children have ended afterwards."""
        with self.files.ours():
            credentials = self.files.prepare(self.ports, self.agents_core)
            try:
                await self._open(credentials)
                while True:
                    self.children.check()
                    await asyncio.sleep(_CHECK_INTERVAL_S)
            finally:
                self.console.print_line("Stopping the city …")
                await self.children.stop()

    async def _open(self, credentials: Credentials) -> None:
        synapse = self._synapse(credentials)
        with self.console.step("Homeserver"):
            synapse.launch()
            self.children.add(synapse.child)
            credentials = await self._with_tokens(credentials)
            # The service waits for the homeserver by itself; starting both at the same time saves a second.
            service = self._start("Service", python("daarion_appservice", "run", "-c", str(self.files.config)))
            await synapse.answers()
            new_accounts = await accounts.register_missing(synapse, credentials.matrix_users)
        with self.console.step("City"):
            await self._wait_until(service, f"{credentials.matrix_url}/readyz", _is_ok, extends=_is_set_up)
            await accounts.join_rooms(synapse, new_accounts, _ALIASES)
        self.files.finish()
        if self.ports.agents:
            with self.console.step("Agents"):
                options = ("--credentials", str(self.files.credentials), "--port", str(self.ports.agents))
                child = self._start("Agents", python("daarion_appservice.demo.agents", *options))
                for agent in AGENTS:
                    url = f"{credentials.city_url}/api/v1/agents/{agent.slug}/presence"
                    await self._wait_until(child, url, _is_online, token=credentials.admin_token)
        self.console.print_summary(credentials, self.files)

    async def _with_tokens(self, credentials: Credentials) -> Credentials:
        missing = [agent.slug for agent in AGENTS if agent.slug not in credentials.agent_tokens]
        if not missing:
            return credentials
        made = await tokens.make(self.files.config, missing)
        credentials = replace(credentials, agent_tokens=credentials.agent_tokens | made)
        self.files.save(credentials)
        return credentials

    def _synapse(self, credentials: Credentials) -> LocalSynapse:
        setup = SynapseSetup(
            directory=self.files.synapse,
            server_name=SERVER_NAME,
            port=self.ports.homeserver,
            registrations=[self.files.registration],
            # Clients use this address after sign-in: it must be the one that the user entered.
            overrides={"public_baseurl": f"{credentials.homeserver_url}/"},
        )
        return LocalSynapse(setup, log=self.files.log("synapse"))

    def _start(self, name: str, command: list[str]) -> Child:
        # The environment of this machine must not change the demo's configuration.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DAARION_")}
        child = Child(name, command, self.files.log(name.lower()), environment)
        child.start()
        self.children.add(child)
        return child

    async def _wait_until(
        self, child: Child, url: str, condition: Check, *, extends: Check | None = None, token: str | None = None
    ) -> None:
        """Wait until the response of ``url`` satisfies ``condition``; without limit while it satisfies ``extends``."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        deadline = time.monotonic() + READY_S
        message_at = time.monotonic() + _PROGRESS_S
        while time.monotonic() < deadline:
            self.children.check()
            try:
                async with aiohttp.request("GET", url, timeout=aiohttp.ClientTimeout(5), headers=headers) as response:
                    if await condition(response):
                        return
                    if extends is not None and await extends(response):
                        deadline = time.monotonic() + READY_S
                        if time.monotonic() >= message_at:
                            message_at = time.monotonic() + _PROGRESS_S
                            self.console.print_line("  [dim]rooms and agents are still being set up …[/dim]")
            except (aiohttp.ClientError, TimeoutError):
                pass  # the process does not listen yet
            await asyncio.sleep(_CHECK_INTERVAL_S)
        raise StartError(f"{child.name}: not ready after {READY_S:g} s", f"See its log: {child.log}", ExitCode.FAILED)


async def _is_ok(response: aiohttp.ClientResponse) -> bool:
    return response.status == 200


async def _is_set_up(response: aiohttp.ClientResponse) -> bool:
    """Return whether ``/readyz`` waits only for rooms and ghosts to be set up."""
    if response.status != 503:
        return False
    checks = (await response.json())["checks"]
    return all(checks[name] == "ok" for name in ("database", "homeserver"))


async def _is_online(response: aiohttp.ClientResponse) -> bool:
    return response.status == 200 and (await response.json())["presence"] == "online"
