"""Cost of a question and its answer in an encrypted direct chat, beside the same in a clear one.

    nio ──PUT──► Synapse ──transaction──► service ──► agents core (echo) ──► service ──PUT──► Synapse ──sync──► nio

Each person opens one chat of each kind with the same agent, and asks in turns: one exchange at a time, so that the processor
time of the service and of Synapse belongs to it. The client's own processor time is not counted, but it is in the latency.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import nio

from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.demo.synapse_config import SynapseSetup
from tests.parts.agents_core import EchoingCore, answer_to
from tests.parts.encrypted_user import EncryptedUser, encrypted_users
from tests.parts.ports import free_port
from tests.parts.synapse import SERVER_NAME

from .contenders import City, slug
from .figures import percentile
from .processes import CpuClock
from .readiness import ready

_SEEN_S: Final = 60.0
_SETTLE_S: Final = 0.3
"""Seconds after an answer in which the rest of its work is done: receipts, and the echo of the answer."""
_CHATS: Final = ("clear", "encrypted")


@dataclass(frozen=True)
class Plan:
    people: int = 10
    following: int = 8
    """Exchanges in each chat after the first: an author may ask agents twenty times a minute."""


QUICK: Final = Plan(people=3, following=4)


@dataclass
class _Samples:
    ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    synapse_cpu_s: float = 0.0

    def row(self, turn: str, chat: str) -> dict[str, Any]:
        exchanges = len(self.ms)
        return {
            "turn": turn,
            "chat": chat,
            "exchanges": exchanges,
            "p50_ms": percentile(self.ms, 50),
            "p95_ms": percentile(self.ms, 95),
            "cpu_ms": self.cpu_s / exchanges * 1000,
            "synapse_cpu_ms": self.synapse_cpu_s / exchanges * 1000,
        }


async def measure(plan: Plan, directory: Path) -> list[dict[str, Any]]:
    """Return a row for first and following exchanges in each kind of chat."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(EchoingCore().serving())
        port = free_port()
        city = City(directory, agents=1, homeserver=port, core_url=core.url)
        await city.prepare()
        setup = SynapseSetup(directory / "synapse", SERVER_NAME, port, registrations=[city.registration])
        synapse = await stack.enter_async_context(LocalSynapse(setup))
        stack.callback(city.stop)
        await city.start()
        await ready(city)
        await city.be_ready()
        city.change(0, 1)
        arrive = await stack.enter_async_context(encrypted_users(directory / "keys"))
        samples: defaultdict[tuple[str, str], _Samples] = defaultdict(_Samples)
        for number in range(plan.people):
            person = await arrive(synapse, f"person{number}")
            await _ask_in_turns(person, plan, city, synapse, samples)
        return [samples[turn, chat].row(turn, chat) for turn in ("first", "following") for chat in _CHATS]


async def _ask_in_turns(
    person: EncryptedUser, plan: Plan, city: City, synapse: LocalSynapse, samples: Mapping[tuple[str, str], _Samples]
) -> None:
    agent = f"@agent_{slug(0)}:{SERVER_NAME}"
    rooms = {"clear": await _open_clear_chat(person, agent), "encrypted": await person.open_chat(agent)}
    for room in rooms.values():
        await person.wait_for(lambda room=room: _has_joined(person, room, agent))  # type: ignore[misc]
    for turn in range(1 + plan.following):
        for chat, room in rooms.items():
            kind = samples["following" if turn else "first", chat]
            cpu, synapse_cpu = CpuClock.of(city.child), CpuClock.of(synapse.child)
            kind.ms.append(await _ask(person, room, f"{chat} {turn}"))
            await asyncio.sleep(_SETTLE_S)
            kind.cpu_s += cpu.used_s
            kind.synapse_cpu_s += synapse_cpu.used_s


async def _open_clear_chat(person: EncryptedUser, agent: str) -> str:
    answer = await person.client.room_create(is_direct=True, invite=[agent], preset=nio.RoomPreset.trusted_private_chat)
    if not isinstance(answer, nio.RoomCreateResponse):
        raise TypeError(f"creating a room returned {answer}")
    return str(answer.room_id)


def _has_joined(person: EncryptedUser, room_id: str, agent: str) -> bool:
    room = person.client.rooms.get(room_id)
    return room is not None and agent in room.users and not room.users[agent].invited


async def _ask(person: EncryptedUser, room_id: str, question: str) -> float:
    """Ask the agent; return the time until the person reads its answer, in milliseconds."""
    began_s = time.perf_counter()
    await person.send_text(room_id, question)
    wanted = (room_id, answer_to(question))
    async with asyncio.timeout(_SEEN_S):
        while wanted not in ((event["room_id"], event["content"].get("body")) for event in person.events):
            await asyncio.sleep(0.002)
    return (time.perf_counter() - began_s) * 1000
