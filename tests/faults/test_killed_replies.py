"""The agents core or the service ends during a reply: each request gets one reply, or a notice with the reason."""

from __future__ import annotations

import asyncio
from typing import Any

from daarion_appservice.storage.database import Database
from tests.parts.agents_core import DONE, ScriptedCore, begins_slowly, delta, pauses, says
from tests.parts.city import LONG_PRESENCE, RunningCity, StartCity, eventually
from tests.parts.matrix_user import Arrive

DAARWIZZ = "@agent_daarwizz:city.localhost"


async def test_interrupted_reply_ends_once(start_city: StartCity, arrive: Arrive) -> None:
    async with ScriptedCore().serving() as core:
        city = await start_city(settings=LONG_PRESENCE | {"agents_core.url": core.url})
        alice = await arrive(city, "alice")
        room = await alice.join("#city_general:city.localhost")
        token = await city.agent_token("daarwizz")
        await city.post("/api/v1/agents/daarwizz/heartbeat", token=token)

        # The core ends: what was shown goes, and a notice says why.
        core_ends = asyncio.Event()
        core.next(begins_slowly(core_ends, "Отже, "))
        await alice.send_text(room, "DAARWIZZ, розкажи казку")
        await alice.wait_for_event(_begins("Отже, "))
        await alice.wait_for(lambda: [DAARWIZZ] in alice.typing)
        core_ends.set()
        notice = await alice.wait_for_event(lambda event: event["content"].get("msgtype") == "m.notice")
        assert "помилка ядра агентів" in notice["content"]["body"]

        # The service ends; after its restart the same message is completed.
        never = asyncio.Event()
        core.next(begins_slowly(never, "Жили "), pauses(after := asyncio.Event(), delta("Жили-були"), DONE))
        question = await alice.send_text(room, "DAARWIZZ, ще раз")
        begun = await alice.wait_for_event(_begins("Жили "))
        city.service.kill()
        never.set()
        assert await _owed(city) == 1
        await city.start()
        await city.post("/api/v1/agents/daarwizz/heartbeat", token=token)
        after.set()
        edit = await alice.wait_for_event(_edits(begun["event_id"], "Жили-були"))
        assert edit["sender"] == DAARWIZZ
        await eventually(lambda: _none_owed(city))
        assert [received.content["input"] for received in core.requests] == [
            "DAARWIZZ, розкажи казку",
            "DAARWIZZ, ще раз",
            "DAARWIZZ, ще раз",
        ]

        core.next(says("Кінець"))
        await alice.send_text(room, "DAARWIZZ, а далі?")
        await alice.wait_for_event(_begins("Кінець"))
        bodies = [
            (message["body"], message["msgtype"], message["deleted"])
            for message in await city.get("/city/rooms/general/messages")
            if message["author"]["id"] == "daarwizz"
        ]
        assert bodies == [
            ("", "m.text", True),
            (notice["content"]["body"], "m.notice", False),
            ("Жили-були", "m.text", False),
            ("Кінець", "m.text", False),
        ]
        replies = [event for event in alice.events if _answers(event, question)]
        assert [event["event_id"] for event in replies] == [begun["event_id"]], "nothing stands there twice"


def _begins(body: str) -> Any:
    return lambda event: event["sender"] == DAARWIZZ and str(event["content"].get("body", "")).startswith(body)


def _edits(original: str, body: str) -> Any:
    def is_it(event: dict[str, Any]) -> bool:
        relation = event["content"].get("m.relates_to", {})
        new = event["content"].get("m.new_content", {})
        return bool(relation.get("event_id") == original and new.get("body") == body)

    return is_it


def _answers(event: dict[str, Any], question: str) -> bool:
    relation = event["content"].get("m.relates_to", {})
    return bool(relation.get("m.in_reply_to", {}).get("event_id") == question and event["sender"] == DAARWIZZ)


async def _owed(city: RunningCity) -> int:
    database = Database(city.database_url)
    try:
        async with database.read_only() as tx:
            return len(await tx.agent_replies.due(now_ms=1 << 60, limit=9))
    finally:
        await database.close()


async def _none_owed(city: RunningCity) -> bool:
    return await _owed(city) == 0
