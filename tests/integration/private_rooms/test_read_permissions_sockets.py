"""WebSockets of rooms that are private on Matrix: who may open them, and when they are closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from daarion_appservice.city.linked_accounts import LinkedAccount
from daarion_appservice.city.types import CitizenId, UserId
from daarion_appservice.realtime import room_streams
from tests.parts.frames import next_frame, next_message
from tests.parts.in_process_city import SERVICE_TOKEN
from tests.parts.ports import HOST
from tests.parts.private_room import (
    ALICE,
    GENERAL,
    OKSANA,
    OKSANA_GHOST,
    TARAS,
    TARAS_GHOST,
    PrivateRoom,
)
from tests.parts.waiting import WAIT_S

AGENTS = ("daarwizz", "scribe")


@asynccontextmanager
async def socket(
    harness: PrivateRoom, token: str | None = None, query: str = ""
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    port = harness.city.city.settings.api.port
    query = f"?token={token or ''}{query}" if token else f"?{query}"
    async with harness.city.session.ws_connect(f"http://{HOST}:{port}/ws/city/rooms/general{query}") as opened:
        yield opened


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.005)


async def is_looked_on(harness: PrivateRoom, count: int = 1) -> None:
    streams = harness.city.city.room_streams
    await until(lambda: sum(len(room.listeners) for room in streams._streams.values()) == count)


async def frames(opened: aiohttp.ClientWebSocketResponse) -> tuple[list[dict[str, Any]], int | None]:
    """All events until the close, and the close code."""
    received = []
    while (message := await next_message(opened)).type is aiohttp.WSMsgType.TEXT:
        received.append(message.json())
    return received, message.data


async def until_message(opened: aiohttp.ClientWebSocketResponse, body: str) -> None:
    """Receive frames until this message; the join before it may be published after the socket is opened."""
    async with asyncio.timeout(WAIT_S):
        while (await next_frame(opened)).get("message", {}).get("body") != body:
            pass


async def test_private_room_closes_sockets_of_outsiders(harness: PrivateRoom) -> None:
    await harness.member(OKSANA_GHOST, "join")
    async with socket(harness) as outside, socket(harness, OKSANA) as inside:
        await is_looked_on(harness, 2)
        await harness.receive_text("для всіх")
        await until_message(outside, "для всіх")
        await harness.set_visibility("joined")
        await harness.receive_text("для своїх")
        received, code = await frames(outside)
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert "для своїх" not in str(received)
        assert received[-1]["code"] == "members_only"
        bodies: list[str] = []
        while len(bodies) < 2:
            frame = await next_frame(inside)
            bodies += [frame["message"]["body"]] if frame["event"] == "city.room.message" else []
        assert bodies == ["для всіх", "для своїх"]


async def test_leave_closes_socket_of_member(harness: PrivateRoom) -> None:
    await harness.set_visibility("shared", "public")
    await harness.member(OKSANA_GHOST, "join")
    async with socket(harness, OKSANA) as opened:
        await is_looked_on(harness)
        await harness.member(OKSANA_GHOST, "leave")
        await harness.receive_text("без неї")
        received, code = await frames(opened)
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert [frame["event"] for frame in received if "seq" in frame] == ["city.room.leave"]
        assert received[-1]["code"] == "members_only"


async def test_presence_before_leave_is_not_sent_after_it(
    harness: PrivateRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oksana leaves within the tick in which presence is collected."""
    monkeypatch.setattr(room_streams, "_PRESENCE_INTERVAL_S", 0.5)
    await harness.set_visibility("shared", "public")
    for user in (OKSANA_GHOST, TARAS_GHOST, *(f"@agent_{agent}:city.localhost" for agent in AGENTS)):
        await harness.member(user, "join")
    async with socket(harness, OKSANA, "&batch=1") as left, socket(harness, TARAS, "&batch=1") as inside:
        await is_looked_on(harness, 2)
        heartbeats = {"heartbeats": [{"agent_id": agent} for agent in AGENTS]}
        await harness.city.call("POST", "/api/v1/agents/heartbeats", heartbeats, token=SERVICE_TOKEN)
        assert len(harness.city.city.room_streams._presence_changes) == len(AGENTS), "the tick has not ended"
        await harness.member(OKSANA_GHOST, "leave")
        received, code = await frames(left)
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert not [frame for frame in received if frame["event"].startswith("city.room.presence")]
        events = []
        while "city.room.presences" not in events:
            events.append((await next_frame(inside))["event"])
        assert "city.room.presence" not in events


async def link(harness: PrivateRoom, *, linked: bool = True) -> None:
    """Link Oksana with Alice's account, or unlink her, as another process of the city would."""
    async with harness.city.city.database.transaction() as tx:
        if linked:
            await tx.accounts.link(LinkedAccount(CitizenId("u_1"), UserId(ALICE)), now_ms=1)
        else:
            await tx.accounts.unlink(CitizenId("u_1"))
    await harness.city.city.account_cache.load()


async def until_readable(harness: PrivateRoom, opened: aiohttp.ClientWebSocketResponse) -> None:
    """Write messages until the socket gets one.

    A link identifies open sockets again, perhaps after the socket was opened; a message that comes meanwhile is a resync.
    """
    event = None
    while event != "city.room.message":
        await harness.receive_text("разом")
        event = None
        while event not in {"city.room.message", "city.room.resync"}:
            event = (await next_frame(opened))["event"]


async def test_unlink_closes_socket_of_account(harness: PrivateRoom) -> None:
    """The linked account is a member of the room, the citizen is not."""
    await harness.set_visibility("shared", "public")
    await harness.member(ALICE, "join")
    await link(harness)
    async with socket(harness, OKSANA) as opened:
        await is_looked_on(harness)
        await until_readable(harness, opened)
        await link(harness, linked=False)
        await harness.receive_text("без неї")
        received, code = await frames(opened)
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert "без неї" not in str(received)
        assert received[-1]["code"] == "members_only"


async def test_socket_of_other_principal_ends(harness: PrivateRoom) -> None:
    """A socket of a member that authenticates again, as a citizen who may not read the room."""
    await harness.set_visibility("shared", "public")
    await harness.member(OKSANA_GHOST, "join")
    async with socket(harness, OKSANA) as opened:
        await is_looked_on(harness)
        await opened.send_json({"event": "auth", "token": TARAS})
        received, code = await frames(opened)
        assert ([frame["code"] for frame in received], code) == (["members_only"], aiohttp.WSCloseCode.POLICY_VIOLATION)


async def test_socket_of_outsider_is_refused(harness: PrivateRoom) -> None:
    await harness.set_visibility("shared", "public")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with socket(harness, TARAS):
            pass
    assert refused.value.status == 403


async def test_socket_of_secret_room_is_404(secret: PrivateRoom) -> None:
    for token in (None, TARAS):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with socket(secret, token):
                pass
        assert refused.value.status == 404


async def test_member_may_authenticate_by_first_frame(harness: PrivateRoom) -> None:
    await harness.set_visibility("shared", "public")
    await harness.member(OKSANA_GHOST, "join")
    async with socket(harness) as opened:
        await opened.send_json({"event": "auth", "token": OKSANA})
        await is_looked_on(harness)
        await harness.receive_text("для своїх")
        assert (await next_frame(opened))["message"]["body"] == "для своїх"
    async with socket(harness) as opened:
        await opened.send_json({"event": "auth", "token": TARAS})
        received, code = await frames(opened)
        assert ([frame["code"] for frame in received], code) == (["members_only"], aiohttp.WSCloseCode.POLICY_VIOLATION)


async def test_replay_with_unreadable_event_is_resync(harness: PrivateRoom) -> None:
    await harness.set_visibility("joined", "public")
    await harness.receive_text("до неї")
    await harness.member(OKSANA_GHOST, "join")
    async with harness.city.city.database.read_only() as tx:
        room = await tx.rooms.get(GENERAL)
    assert room is not None
    async with socket(harness, OKSANA, "&since=0") as opened:
        frame = await next_frame(opened)
        assert (frame["event"], frame["seq"]) == ("city.room.resync", room.last_seq)
    async with socket(harness, OKSANA, f"&since={room.last_seq - 1}") as opened:
        assert (await next_frame(opened))["event"] == "city.room.join"


async def test_change_of_unreadable_message_is_resync(harness: PrivateRoom) -> None:
    await harness.set_visibility("joined", "public")
    original = await harness.receive_text("до неї")
    await harness.member(OKSANA_GHOST, "join")
    async with socket(harness, OKSANA) as opened:
        await is_looked_on(harness)
        edit = {"rel_type": "m.replace", "event_id": original}
        new = {"msgtype": "m.text", "body": "досі не для неї"}
        await harness.receive("m.room.message", {**new, "m.new_content": new, "m.relates_to": edit})
        await harness.receive_text("для неї")
        first, second = await next_frame(opened), await next_frame(opened)
        assert first["event"] == "city.room.resync"
        assert (second["message"]["body"], second["seq"]) == ("для неї", first["seq"] + 1)
