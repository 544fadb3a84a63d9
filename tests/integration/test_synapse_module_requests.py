"""Tests of requests to the Synapse module: who may send them, which are refused, and where the module does not load."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from daarion_appservice.demo.local_synapse import LocalSynapse
from daarion_appservice.errors import StartError
from tests.parts.presence_module import (
    OURS,
    PACKAGE,
    PATH,
    QUICK,
    Service,
    StartCity,
    boot_with_module,
    ghost,
    presence_update,
    starting_cities,
)
from tests.parts.synapse import SERVER_NAME


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSynapse]:
    """A Synapse with the module's default settings, shared by the tests of this file."""
    homeserver = asyncio.run(boot_with_module(tmp_path_factory.mktemp("ordinary")))
    yield homeserver
    homeserver.kill()


@pytest.fixture
async def start(tmp_path: Path, ordinary: LocalSynapse) -> AsyncIterator[StartCity]:
    async with starting_cities(tmp_path, ordinary) as start:
        yield start


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


async def test_unstorable_status_text_is_refused_alone(start: StartCity) -> None:
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
