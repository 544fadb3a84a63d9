"""Heartbeats of Second Me, an agent without a process of its own: it is online while an agents core is configured."""

from __future__ import annotations

import asyncio

from ..city.ports import PresenceStore
from ..city.presence import Heartbeat
from ..city.second_me import SECOND_ME
from ..city.types import agent_subject
from .second_me import SecondMe


class SecondMeAvailability:
    """Sends the heartbeats of Second Me."""

    def __init__(self, second_me: SecondMe, presence: PresenceStore, *, heartbeat_s: float) -> None:
        self._second_me = second_me
        self._presence = presence
        self._heartbeat_s = heartbeat_s

    async def run(self) -> None:
        """Send heartbeats until cancelled. Can be run again."""
        beat = Heartbeat(agent_subject(SECOND_ME.slug), session="city")
        while True:
            if self._second_me.is_configured:
                await self._presence.record_heartbeat([beat])
            await asyncio.sleep(self._heartbeat_s)
