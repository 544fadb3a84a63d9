"""Encrypted chats while Synapse or the service is killed again and again: no message is lost or doubled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from tests.parts.encrypted_city import SCRIBE, EncryptedCity
from tests.parts.encrypted_user import EncryptedUser, arrive_many

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_synapse_kill_loses_nothing(city: EncryptedCity) -> None:
    anton = await city.arrive(city.city, "anton")
    room = await anton.open_chat(SCRIBE)
    await city.ask(anton, room, "початок")
    questions = [f"питання {number}" for number in range(6)]

    async def talk() -> None:
        for question in questions:
            await anton.send_text(room, question)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(talk())
        for _ in range(2):
            await asyncio.sleep(0.3)
            city.city.homeserver.kill()
            await asyncio.sleep(0.3)
            await city.city.homeserver.start()
    await _all_answered(city, anton, room, ["початок", *questions])


@pytest.mark.parametrize(
    ("kills", "people"), [(2, 1), pytest.param(25, 12, marks=pytest.mark.soak)], ids=["short", "soak"]
)
async def test_repeated_kills_lose_nothing(city: EncryptedCity, kills: int, people: int) -> None:
    persons = await arrive_many(city.arrive, city.city, f"borys{people}", people)
    rooms = [await person.open_chat(SCRIBE) for person in persons]
    questions = [f"питання {number}" for number in range(8)]
    pauses = random.Random()

    async def talk(person: EncryptedUser, room: str) -> None:
        for question in questions:
            await person.send_text(room, question)
            await asyncio.sleep(0.1 * people)

    async with asyncio.TaskGroup() as tasks:
        for person, room in zip(persons, rooms, strict=True):
            tasks.create_task(talk(person, room))
        for _ in range(kills):
            await asyncio.sleep(pauses.uniform(0.2, 1))
            city.city.service.kill()
            await asyncio.sleep(pauses.uniform(0, 0.5))
            await city.start()
    for person, room in zip(persons, rooms, strict=True):
        await _all_answered(city, person, room, questions)
    print(f"{kills} kills: {people * len(questions)} questions, as many answers, 0 lost, 0 doubled")  # noqa: T201 -- for soak


async def _all_answered(city: EncryptedCity, person: EncryptedUser, room: str, questions: Sequence[str]) -> None:
    for question in questions:
        await city.answer(person, room, question)
    # What came twice would have come before this.
    await city.ask(person, room, "кінець")
    city.check_answers(person, room, [*questions, "кінець"])
    bodies = await city.bodies(room)
    assert [body for body in bodies if body in set(questions)] == list(questions)
    city.check_encrypted(room, texts=["питання"])
