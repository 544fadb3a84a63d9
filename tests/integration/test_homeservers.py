"""The harnesses of Synapse with workers and of two federating homeservers work."""

from __future__ import annotations

import nio
import pytest

from tests.parts.city import StartCity, eventually
from tests.parts.federation import StartFederation
from tests.parts.matrix_user import Arrive, MatrixUser
from tests.parts.synapse_workers import PROCESSES, BootWorkers

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


async def test_synapse_with_workers_recovers_from_each_kill(synapse_workers: BootWorkers, arrive: Arrive) -> None:
    homeserver = await synapse_workers()
    alice = await arrive(homeserver, "alice")
    room = await alice.client.room_create()
    assert isinstance(room, nio.RoomCreateResponse)
    homeserver.kill_processes("generic2")
    await alice.send_text(room.room_id, "by the other generic worker")
    await homeserver.start_processes("generic2")
    homeserver.kill_processes(*PROCESSES)
    assert not any(process.running for process in homeserver.processes.values())
    await homeserver.start_processes(*PROCESSES)
    await alice.send_text(room.room_id, "after all were killed")

    await alice.wait_for(
        lambda: [body for _, body in alice.messages] == ["by the other generic worker", "after all were killed"]
    )


# With the workers of a city, tests/faults/test_kill_shapes.py and test_missed_events.py do more.
@ON_POSTGRESQL
@pytest.mark.soak
async def test_a_city_talks_through_a_synapse_with_workers(
    start_city: StartCity, synapse_workers: BootWorkers, arrive: Arrive
) -> None:
    city = await start_city(boot=synapse_workers)
    alice = await arrive(city, "alice")
    general = await alice.join("#city_general:city.localhost")
    await alice.send_text(general, "hello")

    async def is_received() -> bool:
        return "hello" in await city.bodies()

    await eventually(is_received)


@ON_SQLITE
async def test_federated_users_chat_until_link_is_cut(start_federation: StartFederation, arrive: Arrive) -> None:
    federation = await start_federation()
    alice, fay = await arrive(federation.city, "alice"), await arrive(federation.other, "fay")
    general = await alice.join(federation.alias("general"))
    await fay.join(federation.alias("general"))
    await fay.send_text(general, "from there")
    await alice.wait_for(lambda: "from there" in _bodies(alice))
    await alice.send_text(general, "from here")
    await fay.wait_for(lambda: "from here" in _bodies(fay))

    federation.link.cut(from_there=False)
    await fay.send_text(general, "still heard")
    await alice.wait_for(lambda: "still heard" in _bodies(alice))
    await alice.send_text(general, "not heard")
    federation.link.cut()
    await fay.send_text(general, "not heard either")
    federation.link.mend()
    await alice.send_text(general, "heard again")
    await fay.send_text(general, "heard again, too")

    await fay.wait_for(lambda: {"not heard", "heard again"} <= set(_bodies(fay)))
    await alice.wait_for(lambda: {"not heard either", "heard again, too"} <= set(_bodies(alice)))


def _bodies(person: MatrixUser) -> list[str]:
    return [body for _, body in person.messages]
