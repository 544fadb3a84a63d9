"""Hostile events, frames and bodies, made by a machine: the city goes on as if there had been none."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import strategies as st

from daarion_appservice.config import loading as config_file
from daarion_appservice.matrix.inbound.transactions import MAX_BODY_BYTES
from tests.parts.city import RunningCity, citizen_token, shared_city
from tests.parts.hostile import TEXTS, VALUES, events, some, unharmed
from tests.parts.matrix_user import MatrixUser, arriving
from tests.parts.ports import HOST

NO_LIMITS: dict[str, str | float] = {
    f"limits.{name}": "" for name in ("reads", "messages", "changes", "rooms", "typing", "heartbeats", "socket_events")
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RunningCity, MatrixUser, str]]:
    directory: Path = tmp_path_factory.mktemp("hostile")
    async with shared_city(directory, settings=NO_LIMITS) as city, arriving() as arrive:
        alice = await arrive(city, "alice")
        yield city, alice, await alice.join("#city_general:city.localhost")


Town = tuple[RunningCity, MatrixUser, str]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_hostile_transactions_leave_the_city_unharmed(town: Town, count: int) -> None:
    city, alice, room_id = town
    token = config_file.load(city.config).appservice.hs_token.get_secret_value()
    async with unharmed(city, alice, room_id):
        for number, batch in enumerate(some(events(room_id), count)):
            body: dict[str, Any] = {"events": batch, "ephemeral": batch[:3]}
            url = f"{city.matrix_url}/_matrix/app/v1/transactions/hostile-{count}-{number}"
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            content = json.dumps(body).encode()
            # Events larger than 64 KiB, which no homeserver sends, may make a transaction too large.
            expected = {413} if len(content) > MAX_BODY_BYTES else {200, 400}
            async with city.session.put(url, data=io.BytesIO(content), headers=headers) as answer:
                assert answer.status in expected, (await answer.text(), len(content))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", ["/ws/city/presence", "/ws/city/rooms/general"])
@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.soak)])
async def test_hostile_frames_leave_the_city_unharmed(town: Town, path: str, count: int) -> None:
    city, alice, room_id = town
    names = [
        *(
            "presence.heartbeat",
            "presence.offline",
            "city.room.send",
            "city.room.typing",
            "city.room.read",
            "auth",
            "nonsense",
        ),
    ]
    keys = [
        "user_id",
        "status",
        "session_id",
        "status_msg",
        "body",
        "client_id",
        "reply_to",
        "typing",
        "message_id",
        "media",
    ]
    fields = dict.fromkeys(keys, VALUES)
    frames = st.fixed_dictionaries({"event": st.sampled_from(names) | VALUES}, optional=fields | {"token": TEXTS}).map(
        json.dumps
    )
    text = st.one_of(frames, TEXTS.map(lambda each: each.encode("utf-8", "replace").decode()), st.just("[" * 1000))
    url = f"ws://{HOST}:{city.api_port}{path}?token={citizen_token('u_hostile', 'Х')}"
    async with unharmed(city, alice, room_id):
        for batch in some(text, count, at_once=20):
            async with city.session.ws_connect(url) as socket:
                for frame in batch:
                    try:
                        await socket.send_str(frame)
                    except (ConnectionError, aiohttp.ClientError):
                        break  # it was sent away
                await socket.close()
                assert socket.close_code != aiohttp.WSCloseCode.INTERNAL_ERROR, batch
