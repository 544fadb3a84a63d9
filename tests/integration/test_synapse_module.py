"""The Synapse module, in a real Synapse: many ghosts' presence in one request, and what becomes of it."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.errors import StartError
from tests.parts.city import eventually
from tests.parts.matrix_user import MatrixUser
from tests.parts.synapse import SERVER_NAME, boot

PACKAGE = Path(__file__).parents[2] / "synapse_module"
PATH = "/_synapse/client/daarion/presence"
CLIENT = "/_matrix/client/v3"

OURS = "the-city"
THEIRS = "somebody-else"
REGISTRATION = """
id: {id}
url: null
as_token: as-token-of-{id}
hs_token: hs-token-of-{id}
sender_localpart: bot_{id}
rate_limited: false
namespaces:
  users:
    - exclusive: true
      regex: '^@{prefix}_[^:]+:city\\.localhost$'
    - exclusive: false
      regex: '^@alice:city\\.localhost$'
"""

# Synapse looks at its timeouts for the first time 30 s after it started; shorter ones only make what follows quicker.
QUICK = {"enabled": True, "sync_online_timeout": "3s", "last_active_granularity": "3s", "idle_timeout": "6s"}
LONG_S = 90.0

PEOPLE = itertools.count()
"""Who looks in one test is not known in the next."""


def ghost(name: str) -> str:
    return f"@agent_{name}:{SERVER_NAME}"


def presence_update(user: str, presence: str, status_msg: str | None = None) -> dict[str, Any]:
    return {"user_id": user, "presence": presence, "status_msg": status_msg}


class Service:
    """An application service that sends requests to the module."""

    def __init__(self, homeserver: LocalSynapse, token: str = f"as-token-of-{OURS}") -> None:
        self.homeserver = homeserver
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"} if token else {})

    async def close(self) -> None:
        await self._session.close()

    async def request(
        self, method: str, path: str = PATH, body: object = None, **query: str
    ) -> tuple[int, dict[str, Any]]:
        url = self.homeserver.url + path
        async with self._session.request(method, url, json=body, params=query) as response:
            return response.status, await response.json()

    async def call(self, method: str, path: str = PATH, body: object = None, **query: str) -> dict[str, Any]:
        status, answer = await self.request(method, path, body, **query)
        assert status == 200, (status, answer)
        return answer

    async def show(self, *wishes: dict[str, Any]) -> dict[str, Any]:
        return await self.call("POST", PATH, {"users": wishes})

    async def put(self, user: str, presence: str) -> None:
        await self.call("PUT", f"{CLIENT}/presence/{user}/status", {"presence": presence}, user_id=user)

    async def presence_of(self, user: str) -> tuple[str, str | None]:
        answer = await self.call("GET", f"{CLIENT}/presence/{user}/status", user_id=user)
        return answer["presence"], answer.get("status_msg")

    async def create_ghosts(self, *names: str) -> list[str]:
        for name in names:
            body = {"type": "m.login.application_service", "username": f"agent_{name}", "inhibit_login": True}
            status, answer = await self.request("POST", f"{CLIENT}/register", body)
            assert status == 200 or answer["errcode"] == "M_USER_IN_USE", answer  # made by a test before
        return [ghost(name) for name in names]

    async def open_room(self, *members: str) -> str:
        """Create a public room of the bot that these ghosts join."""
        room: str = (await self.call("POST", f"{CLIENT}/createRoom", {"preset": "public_chat"}))["room_id"]
        for member in members:
            await self.call("POST", f"{CLIENT}/join/{room}", {}, user_id=member)
        return room


class City:
    """A homeserver with the module, an application service, and Matrix users who receive presence."""

    def __init__(self, homeserver: LocalSynapse, people: list[MatrixUser]) -> None:
        self.homeserver = homeserver
        self.service = Service(homeserver)
        self._people = people

    async def person_in(self, *rooms: str) -> MatrixUser:
        """Return a Matrix user who joins the rooms; presences from before the join are not recorded."""
        person = await MatrixUser.arrive(self.homeserver, f"somebody-{next(PEOPLE)}")
        self._people.append(person)
        members: set[str] = set()
        for room in rooms:
            await person.join(room)
            members |= set(person.client.rooms[room].users)
        await person.wait_for(lambda: members <= {who for who, *_ in person.presences})
        person.presences.clear()
        return person


StartCity = Callable[..., Awaitable[City]]


async def boot_with_module(
    directory: Path, config: Mapping[str, object] | None = None, presence: Mapping[str, object] = QUICK
) -> LocalSynapse:
    """Boot a Synapse with the module and two application services."""
    directory.mkdir(exist_ok=True)
    files = []
    for name, prefix in ((OURS, "agent"), (THEIRS, "robot")):
        files.append(directory / f"{name}.yaml")
        files[-1].write_text(REGISTRATION.format(id=name, prefix=prefix))
    overrides = {
        "app_service_config_files": [str(file) for file in files],
        "modules": [{"module": "daarion_synapse_module.DaarionPresence", "config": dict(config or {})}],
        "presence": presence,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]))
        return await boot(directory / "synapse", overrides=overrides)


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSynapse]:
    """A Synapse with the module's default settings, shared by the tests of this file."""
    homeserver = asyncio.run(boot_with_module(tmp_path_factory.mktemp("ordinary")))
    yield homeserver
    homeserver.kill()


@pytest.fixture
async def start(tmp_path: Path, ordinary: LocalSynapse) -> AsyncIterator[StartCity]:
    """Returns a city without presence, on its own homeserver if it has settings or ``is_killed``."""
    people: list[MatrixUser] = []
    cities: list[City] = []
    booted: list[LocalSynapse] = []

    async def start(*, is_killed: bool = False, **config: object) -> City:
        if config or is_killed:
            booted.append(await boot_with_module(tmp_path, config))
            homeserver = booted[-1]
        else:
            homeserver = ordinary
        cities.append(City(homeserver, people))
        await cities[-1].service.call("DELETE")
        return cities[-1]

    yield start
    for person in people:
        await person.leave()
    for city in cities:
        await city.service.close()
    for homeserver in booted:
        homeserver.kill()


def seen(person: MatrixUser, user: str) -> list[tuple[str, str | None]]:
    """Return the presences of a user that a Matrix user received, in order."""
    return [(presence, status_msg) for who, presence, status_msg, _ in person.presences if who == user]


# --- what is shown ------------------------------------------------------------------------------------


async def test_room_members_see_each_ghost_change_once(start: StartCity) -> None:
    city = await start()
    scribe, guard = await city.service.create_ghosts("scribe", "guard")
    person = await city.person_in(await city.service.open_room(scribe, guard))

    await city.service.show(presence_update(scribe, "online", "пишу"), presence_update(guard, "unavailable"))
    await person.wait_for(lambda: len(seen(person, scribe)) == len(seen(person, guard)) == 1)
    await city.service.show(presence_update(scribe, "online", "пишу"), presence_update(guard, "online"))
    await person.wait_for(lambda: len(seen(person, guard)) == 2)
    await city.service.show(presence_update(scribe, "offline"), presence_update(guard, "offline", "до завтра"))
    await person.wait_for(lambda: len(seen(person, guard)) == 3 and len(seen(person, scribe)) == 2)

    assert seen(person, scribe) == [("online", "пишу"), ("offline", None)]
    assert seen(person, guard) == [("unavailable", None), ("online", None), ("offline", "до завтра")]


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.soak)])
async def test_batch_of_ghosts_costs_one_event_each(start: StartCity, count: int) -> None:
    city = await start()
    ghosts = await city.service.create_ghosts(*(f"g{number}" for number in range(count)))
    # Many small rooms, because joining a large one is slow.
    rooms = await asyncio.gather(*(city.service.open_room(*ghosts[at : at + 20]) for at in range(0, count, 20)))
    person = await city.person_in(*rooms)
    are_ghosts = set(ghosts)

    def news() -> list[tuple[str, str]]:
        return [(who, presence) for who, presence, _, _ in person.presences if who in are_ghosts]

    answer = await city.service.show(*(presence_update(user, "online", "here") for user in ghosts))
    assert (answer["ok"], answer["refused"], answer["up"]) == (count, [], count)
    await person.wait_for(lambda: len(news()) >= count, LONG_S)
    await city.service.show(*(presence_update(user, "offline") for user in ghosts))
    await person.wait_for(lambda: len(news()) >= 2 * count, LONG_S)

    assert sorted(news()) == sorted((user, presence) for user in ghosts for presence in ("online", "offline"))


async def test_last_of_several_updates_is_shown(start: StartCity) -> None:
    city = await start()
    (scribe,) = await city.service.create_ghosts("scribe")
    answer = await city.service.show(
        presence_update(scribe, "online", "first"), presence_update(scribe, "unavailable", "last")
    )
    assert (answer["ok"], answer["up"]) == (2, 1)
    assert await city.service.presence_of(scribe) == ("unavailable", "last")


# --- who stays up, and how long -----------------------------------------------------------------------


@pytest.mark.soak
async def test_lease_keeps_presence_while_renewed(start: StartCity) -> None:
    city = await start(timeout_s=30)
    kept, away, control = await city.service.create_ghosts("kept", "away", "control")
    person = await city.person_in(await city.service.open_room(kept, away, control))
    first = await city.service.show(presence_update(kept, "online", "here"), presence_update(away, "unavailable"))

    # Synapse's own timeouts are at work: the one who was only PUT goes offline, two times.
    for times in (1, 2):
        await city.service.put(control, "online")

        async def timed_out(times: int = times) -> bool:
            assert await city.service.show() == first | {"ok": 0}, "the lease is the same all the time"
            return seen(person, control).count(("offline", None)) == times

        await eventually(timed_out, LONG_S)

    assert seen(person, kept) == [("online", "here")]
    assert seen(person, away) == [("unavailable", None)]


async def test_messages_and_typing_keep_presence(start: StartCity) -> None:
    city = await start()
    talker, typist, away = await city.service.create_ghosts("talker", "typist", "away")
    room = await city.service.open_room(talker, typist, away)
    person = await city.person_in(room)
    await city.service.show(
        presence_update(talker, "online"),
        presence_update(typist, "online", "typing"),
        presence_update(away, "unavailable", "out"),
    )
    await person.wait_for(lambda: seen(person, away))

    await city.service.call(
        "PUT", f"{CLIENT}/rooms/{room}/typing/{typist}", {"typing": True, "timeout": 9000}, user_id=typist
    )
    message = {"msgtype": "m.text", "body": "Добрий вечір"}
    await city.service.call("PUT", f"{CLIENT}/rooms/{room}/send/m.room.message/talker", message, user_id=talker)
    # Synapse takes who speaks for online, which the module corrects. A sync on a busy machine may have the correction only.
    for attempt in range(10):
        await city.service.call("PUT", f"{CLIENT}/rooms/{room}/send/m.room.message/{attempt}", message, user_id=away)
        if ("online", "out") in seen(person, away):
            break
        await asyncio.sleep(0.5)
    await person.wait_for(lambda: seen(person, away)[-1] == ("unavailable", "out"))

    assert set(seen(person, away)) <= {("unavailable", "out"), ("online", "out")}
    assert seen(person, talker) == [("online", None)]
    assert seen(person, typist) == [("online", "typing")]


async def test_module_overrides_put_presence(start: StartCity) -> None:
    city = await start()
    (scribe,) = await city.service.create_ghosts("scribe")
    person = await city.person_in(await city.service.open_room(scribe))
    await city.service.show(presence_update(scribe, "online", "here"))
    await person.wait_for(lambda: seen(person, scribe))

    await city.service.put(scribe, "offline")

    async def is_overridden() -> bool:
        return await city.service.presence_of(scribe) == ("online", "here")

    await eventually(is_overridden)
    # A sync on a busy machine may have the last of both changes only.
    await person.wait_for(lambda: seen(person, scribe)[-1] == ("online", "here"))
    assert set(seen(person, scribe)) <= {("online", "here"), ("offline", None)}


async def test_lease_without_requests_expires(start: StartCity) -> None:
    city = await start(timeout_s=5)
    scribe, guard = await city.service.create_ghosts("scribe", "guard")
    person = await city.person_in(await city.service.open_room(scribe, guard))
    first = await city.service.show(presence_update(scribe, "online", "here"), presence_update(guard, "unavailable"))

    await person.wait_for(lambda: person.presence_of(scribe) == person.presence_of(guard) == "offline", LONG_S)
    assert seen(person, scribe) == [("online", "here"), ("offline", None)]

    # Who comes back later sees by the lease that everybody must be shown anew.
    again = await city.service.show(presence_update(scribe, "online"))
    assert again["lease"] != first["lease"]
    assert again["up"] == 1


async def test_delete_sets_all_ghosts_offline(start: StartCity) -> None:
    city = await start()
    scribe, guard = await city.service.create_ghosts("scribe", "guard")
    await city.service.show(presence_update(scribe, "online", "here"), presence_update(guard, "unavailable"))

    assert await city.service.call("DELETE") == {"ok": 2}
    assert [await city.service.presence_of(user) for user in (scribe, guard)] == [("offline", None)] * 2
    assert await city.service.call("DELETE") == {"ok": 0}


@pytest.mark.soak
async def test_crash_keeps_renewed_presence_only(start: StartCity) -> None:
    city = await start(is_killed=True)
    kept, forgotten = await city.service.create_ghosts("kept", "forgotten")
    await city.service.open_room(kept, forgotten)
    before = await city.service.show(
        presence_update(kept, "online", "here"), presence_update(forgotten, "online", "here")
    )

    city.homeserver.kill()
    await city.homeserver.start()
    assert await city.service.presence_of(kept) == ("online", "here"), "Synapse remembers"
    after = await city.service.show(presence_update(kept, "online", "here"))
    assert after["lease"] != before["lease"]

    async def has_gone() -> bool:
        await city.service.show()
        return (await city.service.presence_of(forgotten))[0] == "offline"

    await eventually(has_gone, LONG_S)
    assert await city.service.presence_of(kept) == ("online", "here")


@pytest.mark.soak
async def test_failed_database_write_is_repeated(start: StartCity) -> None:
    city = await start(timeout_s=120)
    (scribe,) = await city.service.create_ghosts("scribe")
    person = await city.person_in(await city.service.open_room(scribe))

    with closing(sqlite3.connect(city.homeserver.setup.directory / "homeserver.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        status, answer = await city.service.request("POST", body={"users": [presence_update(scribe, "online", "here")]})
        assert (status, answer["errcode"]) == (500, "M_UNKNOWN")
        assert seen(person, scribe) == []

    await person.wait_for(lambda: seen(person, scribe) == [("online", "here")], LONG_S)


# --- who may do it ------------------------------------------------------------------------------------


async def test_only_tokens_of_application_services_are_taken(start: StartCity) -> None:
    city = await start()
    (scribe,) = await city.service.create_ghosts("scribe")
    olena = await city.homeserver.register("olena", "secret", admin=True)
    body = {"users": [presence_update(scribe, "online")]}
    answers = {}
    for token in ("", "wrong", f"as-token-of-{OURS}x", f"hs-token-of-{OURS}", olena.access_token, "слово"):
        stranger = Service(city.homeserver, token)
        answers[token] = [(await stranger.request(method, body=body)) for method in ("GET", "POST", "DELETE")]
        await stranger.close()
    in_the_url = Service(city.homeserver, "")
    answers["in the URL"] = [await in_the_url.request("POST", body=body, access_token=f"as-token-of-{OURS}")]
    await in_the_url.close()

    codes = {token: {(status, answer["errcode"]) for status, answer in each} for token, each in answers.items()}
    missing = {"", "in the URL"}
    assert codes == {token: {(401, "M_MISSING_TOKEN" if token in missing else "M_UNKNOWN_TOKEN")} for token in answers}
    assert await city.service.presence_of(scribe) == ("offline", None)


async def test_foreign_users_are_refused_individually(start: StartCity) -> None:
    city = await start()
    (scribe,) = await city.service.create_ghosts("scribe")
    await city.homeserver.register("alice", "secret")
    refusals = {
        f"@alice:{SERVER_NAME}": "M_FORBIDDEN",  # in a namespace of ours, but not exclusively
        f"@robot_r2:{SERVER_NAME}": "M_FORBIDDEN",
        "@agent_scribe:elsewhere.example": "M_FORBIDDEN",
        f"@agent_scribe:{SERVER_NAME}:8448": "M_FORBIDDEN",
        f"@agent_{'x' * 255}:{SERVER_NAME}": "M_INVALID_PARAM",
        f"@agent_\u0456:{SERVER_NAME}": "M_INVALID_PARAM",
        f"@agent_scribe:{SERVER_NAME}\n": "M_INVALID_PARAM",
        f"@agent_\0:{SERVER_NAME}": "M_INVALID_PARAM",
        f"@agent_\ud800:{SERVER_NAME}": "M_INVALID_PARAM",
        f"agent_scribe:{SERVER_NAME}": "M_INVALID_PARAM",
        "@agent_scribe": "M_INVALID_PARAM",
        "": "M_INVALID_PARAM",
    }
    answer = await city.service.show(*(presence_update(user, "online") for user in [*refusals, scribe]))

    assert {each["user_id"]: each["errcode"] for each in answer["refused"]} == refusals
    assert all(each["error"] for each in answer["refused"])
    assert (answer["ok"], answer["up"]) == (1, 1)
    assert await city.service.presence_of(scribe) == ("online", None)


async def test_unstorable_status_text_is_refused_individually(start: StartCity) -> None:
    city = await start()
    ghosts = await city.service.create_ghosts("a", "b", "c", "d")
    texts = ["\0", "\ud800", "ї" * 1025, "ї" * 1024]
    answer = await city.service.show(
        *(presence_update(*each) for each in zip(ghosts, ["online"] * 4, texts, strict=True))
    )

    refused = [(each["user_id"], each["errcode"]) for each in answer["refused"]]
    codes = ["M_INVALID_PARAM", "M_INVALID_PARAM", "M_TOO_LARGE"]
    assert refused == list(zip(ghosts[:3], codes, strict=True))
    assert [(await city.service.presence_of(user))[0] for user in ghosts] == ["offline"] * 3 + ["online"]


# --- what is not understood ---------------------------------------------------------------------------

RIGHT = presence_update(ghost("scribe"), "online")


@pytest.mark.parametrize("crowd", [3])
async def test_invalid_request_changes_nothing(start: StartCity, crowd: int) -> None:
    city = await start(max_users=crowd)
    (scribe,) = await city.service.create_ghosts("scribe")
    bodies: list[tuple[object, str]] = [
        ([], "M_BAD_JSON"),
        ("users", "M_BAD_JSON"),
        (None, "M_NOT_JSON"),
        ({}, "M_BAD_JSON"),
        ({"users": None}, "M_BAD_JSON"),
        ({"users": {}}, "M_BAD_JSON"),
        ({"users": [RIGHT] * (crowd + 1)}, "M_TOO_LARGE"),
        *(
            ({"users": [RIGHT, wrong]}, "M_BAD_JSON")
            for wrong in [
                None,
                scribe,
                [scribe, "online"],
                {},
                {"user_id": scribe},
                {"presence": "online"},
                RIGHT | {"user_id": None},
                RIGHT | {"user_id": 1},
                RIGHT | {"presence": "away"},
                RIGHT | {"presence": "busy"},
                RIGHT | {"presence": None},
                RIGHT | {"presence": ["online"]},
                RIGHT | {"presence": {}},
                RIGHT | {"status_msg": 1},
                RIGHT | {"status_msg": {"text": "x"}},
            ]
        ),
    ]
    answers = [(body, await city.service.request("POST", body=body)) for body, _ in bodies]
    got = [(body, status, answer["errcode"]) for body, (status, answer) in answers]
    assert got == [(body, 400, errcode) for body, errcode in bodies]
    assert await city.service.presence_of(scribe) == ("offline", None)


async def test_a_body_that_is_no_json_is_refused(start: StartCity) -> None:
    city = await start()
    headers = {"Authorization": f"Bearer as-token-of-{OURS}"}
    deep, long = b"[" * 100_000, b'{"users": [' + b'{"user_id":' * 50_000
    for body in (b"", b"{", b"\xff\xfe", b'{"users": NaN}', deep, long):
        async with aiohttp.request("POST", city.homeserver.url + PATH, data=body, headers=headers) as response:
            assert (response.status, (await response.json())["errcode"]) == (400, "M_NOT_JSON"), body[:20]


async def test_get_returns_version_and_limits(start: StartCity) -> None:
    city = await start(timeout_s=45, max_users=7)
    answer = await city.service.call("GET")
    assert answer.pop("version")
    assert answer == {"module": "daarion_presence", "max_users": 7, "timeout_s": 45}
    status, answer = await city.service.request("PUT", body={})
    assert (status, answer["errcode"]) == (405, "M_UNRECOGNIZED")


# --- where it does not load ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "presence", "why"),
    [
        ({"timeout": 60}, QUICK, "'timeout' is not a setting"),
        pytest.param(
            {"timeout_s": 4}, QUICK, "'timeout_s' must be a whole number from 5 to 3600", marks=pytest.mark.soak
        ),
        pytest.param({"timeout_s": True}, QUICK, "'timeout_s' must be", marks=pytest.mark.soak),
        pytest.param({"max_users": "many"}, QUICK, "'max_users' must be", marks=pytest.mark.soak),
        ({}, {"enabled": False}, "needs presence, which homeserver.yaml disables"),
    ],
)
async def test_invalid_module_settings_prevent_start(
    tmp_path: Path, config: dict[str, object], presence: dict[str, object], why: str
) -> None:
    with pytest.raises(StartError, match=why):
        await boot_with_module(tmp_path, config, presence)


def test_older_synapse_is_refused() -> None:
    pretend = "import synapse; synapse.__version__ = '1.119.0'; from daarion_synapse_module import DaarionPresence; "
    ended = subprocess.run(
        [sys.executable, "-c", pretend + "DaarionPresence.parse_config({})"],
        env=os.environ | {"PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "needs Synapse 1.120 or newer, and this is 1.119.0" in ended.stderr
