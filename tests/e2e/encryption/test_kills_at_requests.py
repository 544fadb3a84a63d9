"""SIGKILL of the service at each request of an encrypted conversation, before and after the homeserver carried it out.

Each request follows the commit of what it is about and precedes the commit of its result, so a kill there is one between two
commits. Kills inside of transactions are in ``test_kills_at_commits``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.parts.agents_core import answer_to
from tests.parts.city import eventually
from tests.parts.encrypted_city import DAARWIZZ, SCRIBE, EncryptedCity, encrypted_city
from tests.parts.http_proxy import Passed

pytestmark = pytest.mark.asyncio(loop_scope="package")


@dataclass(frozen=True)
class Request:
    """A request of the service; ``path`` is a part of its path."""

    method: str
    path: str

    def __call__(self, passed: Passed) -> bool:
        return passed.method == self.method and self.path in passed.path

    def __str__(self) -> str:
        return self.path.strip("/").rpartition("/")[2]


PULL: Final = Request("GET", "/v3/sync")
QUERY: Final = Request("POST", "/keys/query")
CLAIM: Final = Request("POST", "/keys/claim")
UPLOAD: Final = Request("POST", "/keys/upload")
SHARE: Final = Request("PUT", "/sendToDevice/m.room.encrypted")
SEND: Final = Request("PUT", "/send/m.room.encrypted")
DEVICE: Final = Request("PUT", "/v3/devices")
SIGNING: Final = Request("POST", "/keys/device_signing/upload")
SIGNATURES: Final = Request("POST", "/keys/signatures/upload")

BOTH: Final = (False, True)
OF_AN_ANSWER: Final = [
    (request, is_after) for request in (PULL, QUERY, CLAIM, UPLOAD, SHARE, SEND) for is_after in BOTH
]
SHORT_OF_AN_ANSWER: Final = {(PULL, True), (CLAIM, True), (SHARE, False), (SHARE, True), (SEND, False), (SEND, True)}
OF_KEYS: Final = [(request, is_after) for request in (DEVICE, UPLOAD, SIGNING, SIGNATURES) for is_after in BOTH]
SHORT_OF_KEYS: Final = [(DEVICE, True), (UPLOAD, True), (SIGNING, True), (SIGNATURES, True)]


async def kill_at(city: EncryptedCity) -> None:
    """Kill the service once the proxy holds a request or its response."""

    async def is_reached() -> bool:
        return bool(city.to_synapse.held or city.to_synapse.lost)

    await eventually(is_reached, 60, lambda: "\n".join(city.city.service.last_lines(40)))
    city.city.service.kill()
    city.to_synapse.pass_everything()


def stop_at(city: EncryptedCity, request: Request, *, is_after: bool) -> None:
    """Hold the next requests of a kind, or the responses to them."""
    city.to_synapse.held.clear()
    city.to_synapse.lost.clear()
    (city.to_synapse.lose_answers if is_after else city.to_synapse.hold)(request)


def _moment(moment: tuple[Request, bool]) -> Any:
    """Return the parameter for a kill at a request: before it, or after the homeserver carried it out."""
    request, is_after = moment
    marks = [] if moment in SHORT_OF_AN_ANSWER else [pytest.mark.soak]
    return pytest.param(request, is_after, marks=marks, id=f"{'after' if is_after else 'before'}-{request}")


@pytest.mark.parametrize(("request_", "is_after"), [_moment(moment) for moment in OF_AN_ANSWER])
async def test_kill_at_a_request_loses_nothing(city: EncryptedCity, request_: Request, is_after: bool) -> None:
    person = await city.arrive(city.city, f"k{OF_AN_ANSWER.index((request_, is_after))}")
    room = await person.open_chat(DAARWIZZ)
    questions = ["раніше", "під час", "після"]
    if request_ is CLAIM:
        # The service encrypts with no Olm session of an earlier run.
        await city.ask(person, room, questions[0])
        city.city.service.kill()
        await city.start()
    else:
        del questions[0]
    stop_at(city, request_, is_after=is_after)
    await person.send_text(room, "під час")
    await kill_at(city)
    await city.start()
    await city.answer(person, room, "під час")
    await city.ask(person, room, "після")
    city.check_answers(person, room, questions)
    assert await city.bodies(room) == [text for each in questions for text in (each, answer_to(each))]
    city.check_encrypted(room, texts=questions)


@pytest.mark.parametrize(
    "moments",
    [pytest.param(SHORT_OF_KEYS, id="short"), pytest.param(OF_KEYS, id="soak", marks=pytest.mark.soak)],
)
async def test_kills_while_agents_get_their_keys(
    tmp_path: Path, sqlite_template: Path, moments: Sequence[tuple[Request, bool]]
) -> None:
    url = f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'city.db')}"
    async with encrypted_city(tmp_path, url, is_started=False) as city:
        for request, is_after in moments:
            stop_at(city, request, is_after=is_after)
            city.city.service.start()
            await kill_at(city)
        await city.start()
        olena = await city.arrive_by_js_sdk(city.city, "olena", encryption=True)
        for agent in (DAARWIZZ, SCRIBE):
            room = await olena.create_room(direct_with=agent, encrypted=True)
            await city.ask_by_js_sdk(olena, room, f"Це {agent}?")
            identity = await olena.identity(agent)
            assert list(identity["devices"].values()) == [True], "one device, signed"
            assert not identity["needs_approval"]
