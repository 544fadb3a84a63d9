"""Which principals may call which routes, and which tokens are valid."""

from __future__ import annotations

import time
from typing import Any

from tests.parts.api import (
    HEARTBEAT,
    MESSAGES,
    OKSANA,
    problem_of,
)
from tests.parts.city import ADMIN_TOKEN, citizen_token
from tests.parts.in_process_city import SERVICE_TOKEN, InProcessCity, in_process_city

WHO = ("anonymous", "citizen", "admin citizen", "scribe", "daarwizz", "service", "admin")


READ = dict.fromkeys(WHO, 200)


MAY: dict[tuple[str, str], dict[str, int]] = {
    ("GET", "/city/rooms"): READ,
    ("GET", "/city/rooms/general"): READ,
    ("GET", MESSAGES): READ,
    ("GET", "/api/v1/agents"): READ,
    ("GET", "/api/v1/agents/scribe"): READ,
    ("GET", "/api/v1/agents/scribe/presence"): READ,
    ("POST", "/city/rooms"): {
        "anonymous": 401,
        "citizen": 201,
        "admin citizen": 201,
        "scribe": 403,
        "daarwizz": 403,
        "service": 403,
        "admin": 201,
    },
    ("POST", MESSAGES): {
        "anonymous": 401,
        "citizen": 201,
        "admin citizen": 201,
        "scribe": 201,
        "daarwizz": 201,
        "service": 403,
        "admin": 403,
    },
    ("POST", "/city/markdown"): {
        "anonymous": 401,
        "citizen": 200,
        "admin citizen": 200,
        "scribe": 200,
        "daarwizz": 200,
        "service": 403,
        "admin": 403,
    },
    ("POST", HEARTBEAT): {
        "anonymous": 401,
        "citizen": 403,
        "admin citizen": 403,
        "scribe": 200,
        "daarwizz": 403,
        "service": 200,
        "admin": 403,
    },
}


async def tokens_of(city: InProcessCity) -> dict[str, str | None]:
    return {
        "anonymous": None,
        "citizen": OKSANA,
        "admin citizen": citizen_token("u_1", role="admin"),
        "scribe": await city.agent_token("scribe"),
        "daarwizz": await city.agent_token("daarwizz"),
        "service": SERVICE_TOKEN,
        "admin": ADMIN_TOKEN,
    }


def a_body_for(path: str, who: str) -> Any:
    bodies = {
        "/city/rooms": {"name": f"Room of {who}"},
        MESSAGES: {"body": "hello"},
        "/city/markdown": {"body": "*hello*"},
        HEARTBEAT: {},
    }
    return bodies[path]


async def test_route_allows_only_its_principals(city: InProcessCity) -> None:
    tokens = await tokens_of(city)
    for (method, path), expected in MAY.items():
        for who in WHO:
            content = a_body_for(path, who) if method == "POST" else ...
            answer = await city.call(method, path, content, token=tokens[who])
            assert answer.status == expected[who], (method, path, who, answer)
            if answer.status in {401, 403}:
                assert problem_of(answer)[1] in {"sign_in", "not_allowed", "not_this_agent"}
                assert ("WWW-Authenticate" in answer.headers) == (answer.status == 401)


async def test_anonymous_read_off_requires_token(sqlite_url: str) -> None:
    async with in_process_city(sqlite_url, api={"anonymous_read": False, "jwt": {"secret": "another " * 8}}) as city:
        for (method, path), expected in MAY.items():
            if expected is READ:
                assert problem_of(await city.call(method, path)) == (401, "sign_in")
        assert await city.get("/city/rooms", token=await city.agent_token("scribe"))


NO_TOKENS = [
    "Bearer",
    "Bearer ",
    "Basic dTox",
    "Bearer nonsense",
    "Bearer agt_",
    "Bearer agt_01_secret",
    f"Bearer {citizen_token('u_1', exp=int(time.time()) - 1)}",
    f"Bearer {citizen_token('agent:scribe')}",
    f"Bearer {citizen_token('@alice:city.localhost')}",
    "Bearer \udcff\udcfe",
    "Bearer ключ",
]


async def test_invalid_token_is_401_on_public_routes(sqlite_city: InProcessCity) -> None:
    for authorization in NO_TOKENS:
        for method, path in MAY:
            answer = await sqlite_city.call(method, path, headers={"Authorization": authorization})
            assert problem_of(answer) == (401, "token_invalid"), (method, path, authorization)


async def test_revoked_agent_token_is_refused(city: InProcessCity) -> None:
    old = await city.agent_token("scribe")
    assert (await city.call("POST", HEARTBEAT, {}, token=old)).status == 200
    async with city.city.database.transaction() as tx:
        scribe = await tx.agents.by_slug("scribe")
        assert scribe is not None
        await tx.agents.revoke_tokens(scribe, None, now_ms=1)
    await city.city.registry.load()

    assert problem_of(await city.call("POST", HEARTBEAT, {}, token=old)) == (401, "token_invalid")
    assert (await city.call("POST", HEARTBEAT, {}, token=await city.agent_token("scribe"))).status == 200


async def test_agent_token_of_another_agent_is_403(sqlite_city: InProcessCity) -> None:
    answer = await sqlite_city.call("POST", HEARTBEAT, {}, token=await sqlite_city.agent_token("daarwizz"))
    assert problem_of(answer) == (403, "not_this_agent")
    assert (await sqlite_city.get("/api/v1/agents/scribe/presence"))["presence"] == "offline"


async def test_citizen_id_too_long_for_ghost_is_422(sqlite_city: InProcessCity) -> None:
    answer = await sqlite_city.call("POST", MESSAGES, {"body": "hi"}, token=citizen_token("Ю" * 100))
    assert problem_of(answer) == (422, "citizen_id_too_long")
