"""A real Synapse on this machine, for the demo and for the tests.

    async with LocalSynapse(SynapseSetup(directory, "city.localhost", port)) as synapse:
        alice = await synapse.register("alice", "secret")

All its data is in its directory: a second start has the same users, rooms and messages.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

from ..errors import ExitCode, HomeserverRefused, HomeserverUnavailable, StartError
from . import synapse_config
from .child_processes import Child, python
from .synapse_config import SynapseSetup

START_TIMEOUT_S: Final = 60.0
"""How long Synapse may take to answer, in seconds; it needs 1 to 3 s with a processor of its own."""

_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Account:
    """An account on the homeserver with an access token."""

    user_id: str
    password: str
    access_token: str
    device_id: str


def check_installed() -> None:
    """Raise StartError if Synapse is not installed."""
    if importlib.util.find_spec("synapse") is None:
        raise StartError(
            "Synapse, the homeserver, is not installed here",
            "Install it with: pip install 'daarion-appservice[demo]'",
            ExitCode.FAILED,
        )


class LocalSynapse:
    """One homeserver; not bound to an event loop, so that a fixture may outlive the loop that started it."""

    def __init__(self, setup: SynapseSetup, *, log: Path | None = None) -> None:
        self.setup = setup
        self._secrets: synapse_config.SynapseSecrets | None = None
        self._child = Child(
            name="Synapse",
            command=python("synapse.app.homeserver", "-c", str(setup.config.resolve())),
            log=log or setup.directory / "homeserver.log",
        )

    @property
    def url(self) -> str:
        return f"http://{synapse_config.HOST}:{self.setup.port}"

    @property
    def server_name(self) -> str:
        return self.setup.server_name

    @property
    def child(self) -> Child:
        """The child process, for code that watches it."""
        return self._child

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start Synapse and wait until it answers."""
        self.launch()
        try:
            await self.answers(timeout_s)
        except BaseException:
            # The caller gets no object that it could stop.
            self._child.kill()
            raise

    def launch(self) -> None:
        """Start Synapse without waiting."""
        check_installed()
        self._secrets = synapse_config.write(self.setup)
        self._child.start()

    async def answers(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until Synapse answers. Raise StartError if it ends or takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._is_healthy():
                    if not self._child.running:
                        raise self._failed(f"Synapse ended while starting (exit code {self._child.exit_code})")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise self._failed(f"Synapse did not answer within {timeout_s:g} s") from None

    async def stop(self, grace_s: float = 10.0) -> None:
        """Stop Synapse cleanly, or kill it if it takes longer than ``grace_s`` seconds."""
        await self._child.stop(grace_s)

    def kill(self) -> None:
        """Kill Synapse at once, as a power failure would."""
        self._child.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def register(self, localpart: str, password: str, *, admin: bool = False, display_name: str = "") -> Account:
        """Register an account and sign in.

        Raises:
            HomeserverRefused: with ``M_USER_IN_USE`` if the name is taken.
        """
        path = "/_synapse/admin/v1/register"
        nonce = (await self._call("GET", path))["nonce"]
        body = {"nonce": nonce, "username": localpart, "password": password, "admin": admin}
        body["mac"] = self._mac(nonce, localpart, password, admin=admin)
        if display_name:
            body["displayname"] = display_name
        answer = await self._call("POST", path, body)
        return Account(answer["user_id"], password, answer["access_token"], answer["device_id"])

    def _mac(self, nonce: str, localpart: str, password: str, *, admin: bool) -> str:
        if self._secrets is None:
            raise RuntimeError("not started")
        fields = (nonce, localpart, password, "admin" if admin else "notadmin")
        secret = self._secrets.registration_shared_secret
        return hmac.new(secret.encode(), "\0".join(fields).encode(), hashlib.sha1).hexdigest()

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            async with aiohttp.request(method, self.url + path, json=body) as response:
                answer: dict[str, Any] = await response.json()
        except aiohttp.ClientError as error:
            raise HomeserverUnavailable(f"Synapse at {self.url}: {error}") from error
        if response.status != 200:
            raise HomeserverRefused(response.status, answer.get("errcode", "M_UNKNOWN"), answer.get("error", ""))
        return answer

    async def _is_healthy(self) -> bool:
        try:
            async with aiohttp.request("GET", f"{self.url}/health") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def _failed(self, what: str) -> StartError:
        lines = "\n".join(f"    {line}" for line in self._child.last_lines())
        return StartError(
            f"{what}; the last lines of its log:\n{lines}", f"The whole log: {self._child.log}", ExitCode.FAILED
        )
