"""Accounts of the demo's users on the homeserver, and their first room joins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import aiohttp

from ..errors import ExitCode, HomeserverRefused, StartError
from .files import MatrixUser
from .local_synapse import Account, LocalSynapse
from .sample_data import ADMIN

JOIN_TIMEOUT_S: Final = 20.0
"""How long the city may take to create its rooms on Matrix, in seconds."""


async def register_missing(synapse: LocalSynapse, users: Iterable[MatrixUser]) -> list[Account]:
    """Register the missing accounts, ``ADMIN`` as an admin of the homeserver; return the new ones."""
    new_accounts = []
    for user in users:
        localpart = user.user_id[1:].partition(":")[0]
        try:
            new_accounts.append(await synapse.register(localpart, user.password, admin=localpart == ADMIN))
        except HomeserverRefused as refused:
            if refused.errcode != "M_USER_IN_USE":
                raise
    return new_accounts


async def join_rooms(synapse: LocalSynapse, accounts: Iterable[Account], aliases: Iterable[str]) -> None:
    """Join each account to the rooms as soon as they exist, so that Element shows them at once; then sign out."""
    for account in accounts:
        headers = {"Authorization": f"Bearer {account.access_token}"}
        async with aiohttp.ClientSession(synapse.url, headers=headers) as session:
            for alias in aliases:
                await _join(session, alias)
            async with session.post("/_matrix/client/v3/logout", json={}):
                pass


async def _join(session: aiohttp.ClientSession, alias: str) -> None:
    deadline = time.monotonic() + JOIN_TIMEOUT_S
    while True:
        async with session.post(f"/_matrix/client/v3/join/{quote(alias)}", json={}) as response:
            if response.status == 200:
                return
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    raise StartError(
        f"{alias} cannot be joined on the homeserver after {JOIN_TIMEOUT_S:g} s (status {response.status})",
        "See the service's log, which says what became of its rooms",
        ExitCode.FAILED,
    )
